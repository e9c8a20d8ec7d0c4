"""What people may write shorter: durations, sizes, octal masks, lists of namespaces, tables of limits.

Turns the plain dict of a TOML card into the shape of the dataclasses. Raises :class:`Unreadable` with the field; it
checks only what it converts, everything else is pydantic's to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from arje.card.nearest import nearest
from arje.card.soma import INFINITY, NOT_YET, RLIMITS, Namespaces

_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_SIZE: Final = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_PRESETS: Final = {
    "all": ("pid", "mount", "net", "uts", "ipc", "cgroup"),
    "minimal": ("pid", "mount", "net", "cgroup"),
}
_ANCESTOR_LIMITS: Final = {"mem_bytes": "as"}


class Unreadable(ValueError):
    """A value that no shorthand explains."""

    def __init__(self, field: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.remedy = remedy


def duration(value: Any, field: str) -> Any:
    """Return seconds of ``"200ms"``, ``"5m"``; numbers are seconds already."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None or (match[2] or "s") not in _UNITS:
        raise Unreadable(field, f"{value!r} is no duration", 'write seconds, or "200ms", "5m", "1h"')
    return float(match[1]) * _UNITS[match[2] or "s"]


def size(value: Any, field: str) -> Any:
    """Return bytes of ``"256M"``; numbers are bytes already."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise Unreadable(field, f"{value!r} is no size", 'write bytes, or "64K", "256M", "2G"')
    return int(match[1]) * _SIZES[match[2].upper()]


def mask(value: Any, field: str) -> Any:
    """Return the number of an octal mask, ``"027"``."""
    if not isinstance(value, str) or not re.fullmatch(r"0?o?[0-7]{1,4}", value):
        raise Unreadable(field, f"{value!r} is no file mode mask", 'write it in octal and quoted: "027"')
    return int(value.replace("o", ""), 8)


def limit(value: Any, field: str) -> int:
    """Return one resource limit: a number, a size, or ``"infinity"``."""
    if value in ("infinity", "unlimited"):
        return INFINITY
    value = size(value, field)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INFINITY:
        raise Unreadable(field, f"{value!r} is no limit", 'write a number, a size, or "infinity"')
    return value


def limits(value: Any, field: str) -> Any:
    """Return (name, soft, hard) of each limit of a table."""
    if not isinstance(value, dict):
        raise Unreadable(field, "not a table", "write {nofile = 1024}")
    found = []
    for name, pair in value.items():
        if pair is None:
            continue
        known = _ANCESTOR_LIMITS.get(name, name)
        if known not in RLIMITS:
            near = nearest(name, RLIMITS)
            raise Unreadable(f"{field}.{name}", "no such limit", f"did you mean {near!r}?" if near else "")
        soft, hard = pair if isinstance(pair, list) and len(pair) == 2 else (pair, pair)
        soft, hard = limit(soft, f"{field}.{name}"), limit(hard, f"{field}.{name}")
        if soft > hard:
            raise Unreadable(f"{field}.{name}", f"the soft limit {soft} is over the hard limit {hard}", "swap them")
        found.append((known, soft, hard))
    return found


def namespaces(value: Any, field: str) -> Any:
    """Return the table of a list of kinds or of a preset; a table stays as it is."""
    if isinstance(value, str):
        if value not in _PRESETS:
            raise Unreadable(field, f"no preset {value!r}", "presets are all and minimal")
        value = list(_PRESETS[value])
    if not isinstance(value, list):
        return value
    for kind in value:
        if kind not in Namespaces.__slots__:
            near = nearest(str(kind), Namespaces.__slots__)
            raise Unreadable(field, f"no namespace {kind!r}", f"did you mean {near!r}?" if near else "")
    return dict.fromkeys(value, True)


def run_as(value: Any, field: str) -> Any:
    """Return user and group of ``"user:group"``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"user": value}
    if not isinstance(value, str):
        return value
    user, colon, group = value.partition(":")
    if not user or (colon and not group):
        raise Unreadable(field, f"{value!r} names no user", 'write "user" or "user:group"')
    return {"user": user, "group": group} if colon else {"user": user}


_SOMA: Final[dict[str, Callable[[Any, str], Any]]] = {
    "namespaces": namespaces,
    "rlimits": limits,
    "umask": mask,
    "run_as": run_as,
}
_SIZED: Final = ("memory_max", "memory_high", "memory_low", "memory_swap_max")
_TIMED: Final = ("initial", "max", "healthy_after", "stop_timeout")


def card(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a card's dict with every shorthand spelled out. Raises Unreadable."""
    raw = dict(raw)
    if "soma" in raw:
        raw["soma"] = _soma(_table(raw["soma"], "soma"))
    if "supervision" in raw:
        kept = dict(_table(raw["supervision"], "supervision"))
        for name in _TIMED:
            if name in kept:
                kept[name] = duration(kept[name], f"supervision.{name}")
        if isinstance(rate := kept.get("rate_limit"), dict) and "interval" in rate:
            kept["rate_limit"] = rate | {"interval": duration(rate["interval"], "supervision.rate_limit.interval")}
        raw["supervision"] = kept
    if raw.get("payload") in ("virtual", "Virtual"):
        del raw["payload"]  # the default
    if "payload" in raw:
        raw["payload"] = _payload(_table(raw["payload"], "payload"))
    return raw


def _table(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(field, "not a table", f"write [{field}]")
    return value


def _soma(raw: dict[str, Any]) -> dict[str, Any]:
    soma = dict(raw)
    for name in soma:
        if name in NOT_YET:
            raise Unreadable(f"soma.{name}", f"not yet: {NOT_YET[name]} is not built", "remove it, or wait for it")
    for name, convert in _SOMA.items():
        if name in soma:
            soma[name] = convert(soma[name], f"soma.{name}")
    if isinstance(group := soma.get("cgroup"), dict):
        soma["cgroup"] = {
            key: size(value, f"soma.cgroup.{key}") if key in _SIZED else value for key, value in group.items()
        }
    if isinstance(overlay := soma.get("overlay"), dict) and isinstance(overlay.get("lower"), str):
        soma["overlay"] = overlay | {"lower": [overlay["lower"]]}
    return soma


def _payload(raw: dict[str, Any]) -> dict[str, Any]:
    payload = dict(raw)
    if "env" in payload:
        env = _table(payload.pop("env"), "payload.env")
        payload["envp"] = [(name, str(value)) for name, value in env.items()]
    return payload
