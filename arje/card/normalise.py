"""What people may write shorter: durations, sizes, octal masks, lists of namespaces, tables of limits.

Turns the plain dict of a TOML card into the shape of the dataclasses. A converter raises :class:`Unreadable`; :func:`card`
collects all of them, so that one wrong field does not hide the next. It checks only what it converts, everything else is
pydantic's to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from arje.card import (
    budget,
    conditions,
    devices,
    edges,
    file_words,
    filters,
    hooks,
    live_conditions,
    log,
    on_change,
    permissions,
    priority,
    privilege_words,
    probes,
)
from arje.card.activation import spelled as activation
from arje.card.files import ITEMISED
from arje.card.nearest import nearest
from arje.card.network_check import problems
from arje.card.path_watch import spelled as paths
from arje.card.payload import variable
from arje.card.rules import text
from arje.card.sizes import size
from arje.card.sockets import spelled as sockets
from arje.card.soma import FEATURES, INFINITY, NOT_YET, RLIMITS, Namespaces
from arje.card.unreadable import Unreadable, shown, together

_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([a-z]*)")
PRESETS: Final = {
    "all": ("pid", "mount", "net", "uts", "ipc", "cgroup"),
    "minimal": ("pid", "mount", "net", "cgroup"),
}
_ANCESTOR_LIMITS: Final = {"mem_bytes": "as"}


def duration(value: Any, field: str) -> Any:
    """Return seconds of ``"200ms"``, ``"5m"``; numbers are seconds already."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None or (match[2] or "s") not in _UNITS:
        raise Unreadable(field, f"{shown(value)} is no duration", 'write seconds, or "200ms", "5m", "1h"')
    return float(match[1]) * _UNITS[match[2] or "s"]


def mask(value: Any, field: str) -> Any:
    """Return the number of an octal mask, ``"027"``."""
    if not isinstance(value, str) or not re.fullmatch(r"0?o?[0-7]{1,4}", value):
        raise Unreadable(field, f"{shown(value)} is no file mode mask", 'write it in octal and quoted: "027"')
    number = int(value.replace("o", ""), 8)
    if number > 0o777:
        raise Unreadable(field, f"{shown(value)} is over 777", "a mask has three octal digits")
    return number


def size_or_max(value: Any, field: str) -> Any:
    """Return bytes, or ``"max"`` for no limit."""
    return value if value == "max" else size(value, field)


def limit(value: Any, field: str) -> int:
    """Return one resource limit: a number, a size, or ``"infinity"``."""
    if value in ("infinity", "unlimited"):
        return INFINITY
    value = size(value, field)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INFINITY:
        raise Unreadable(field, f"{shown(value)} is no limit", 'write a number, a size, or "infinity"')
    return value


def limits(value: Any, field: str) -> Any:
    """Return (name, soft, hard) of each limit of a table."""
    if not isinstance(value, dict):
        raise Unreadable(field, "not a table", "write {nofile = 1024}")
    found, wrong = dict[str, tuple[str, int, int]](), []
    for name, pair in value.items():
        try:
            known, soft, hard = _one_limit(name, pair, f"{field}.{name}")
            if known in found:
                raise Unreadable(f"{field}.{name}", f"{known!r} is there already", "write it once")
            found[known] = (known, soft, hard)
        except Unreadable as error:
            wrong.append(error)
    if wrong:
        raise together(wrong)
    return list(found.values())


def _one_limit(name: str, pair: Any, field: str) -> tuple[str, int, int]:
    known = _ANCESTOR_LIMITS.get(name, name)
    if known not in RLIMITS:
        near = nearest(name, RLIMITS)
        raise Unreadable(field, "no such limit", f"did you mean {near!r}?" if near else "")
    soft, hard = pair if isinstance(pair, list) and len(pair) == 2 else (pair, pair)
    soft, hard = limit(soft, field), limit(hard, field)
    if soft > hard:
        raise Unreadable(field, f"the soft limit {soft} is over the hard limit {hard}", "swap them")
    return known, soft, hard


def namespaces(value: Any, field: str) -> Any:
    """Return the table of a list of kinds or of a preset; a table stays as it is."""
    if isinstance(value, str):
        if value not in PRESETS:
            raise Unreadable(field, f"no preset {shown(value)}", "presets are all and minimal")
        value = list(PRESETS[value])
    if not isinstance(value, list):
        return value
    _known(value, Namespaces.__slots__, field, "namespace")
    return dict.fromkeys(value, True)


def _known(names: list[Any], known: Iterable[str], field: str, what: str) -> None:
    """Raise Unreadable for every name that is not known."""
    known, wrong = tuple(known), []
    for name in names:
        if name not in known:
            near = nearest(str(name), known)
            remedy = f"did you mean {near!r}?" if near else ""
            wrong.append(Unreadable(field, f"no {what} {shown(name)}", remedy))
    if wrong:
        raise together(wrong)


def run_as(value: Any, field: str) -> Any:
    """Return user and group of ``"user:group"``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"user": value}
    if not isinstance(value, str):
        return value
    user, colon, group = value.partition(":")
    if not user or (colon and not group):
        raise Unreadable(field, f"{shown(value)} names no user", 'write "user" or "user:group"')
    return {"user": user, "group": group} if colon else {"user": user}


def features(value: Any, field: str) -> Any:
    """Return the list of features as it is, when each is one, a family of them, or one item: ``binds./srv/data``."""
    if isinstance(value, list):
        plain = [name for name in value if not (isinstance(name, str) and name.partition("./")[0] in ITEMISED)]
        _known(plain, {*FEATURES, *(name.partition(".")[0] for name in FEATURES)}, field, "feature")
    return value


def network(value: Any, field: str) -> Any:
    """Return the table of a word (``"none"``) or of a table whose lists may be single words; all problems at once."""
    table = {"mode": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise Unreadable(field, "no network", 'write "host", "none", "loopback", or a table with veth or pasta')
    table = dict(table)
    for name, lists in _NETWORK_LISTS.items():
        if isinstance(way := table.get(name), dict):
            table[name] = {key: [text] if key in lists and isinstance(text, str) else text for key, text in way.items()}
    if isinstance(routes := table.get("routes"), (list, str)):
        table["routes"] = [
            _route(route, f"{field}.routes") for route in ([routes] if isinstance(routes, str) else routes)
        ]
    wrong = [Unreadable(".".join(filter(None, (field, p.field))), p.detail, p.remedy) for p in problems(table)]
    if wrong:
        raise together(wrong)
    return table


def _route(value: Any, field: str) -> Any:
    if not isinstance(value, str):
        return value
    match value.split():
        case [to]:
            return {"to": to}
        case [to, "via", via]:
            return {"to": to, "via": via}
        case [to, "via", via, "metric", metric] if metric.isascii() and metric.isdecimal():
            return {"to": to, "via": via, "metric": int(metric)}
    raise Unreadable(field, f"{value!r} is no route", 'write "10.1.0.0/16 via 10.0.0.1"')


_NETWORK_LISTS: Final = {
    "veth": ("address", "bridge_address", "gateway"),
    "pasta": ("tcp", "udp", "host_tcp", "host_udp"),
}


def scheduler(value: Any, field: str) -> Any:
    """Return the table of a policy, its times in seconds."""
    table = priority.scheduler(value, field)
    if not isinstance(table, dict):
        return table
    times = ("runtime", "deadline", "period")
    return {name: duration(item, f"{field}.{name}") if name in times else item for name, item in table.items()}


def io_max(value: Any, field: str) -> Any:
    """Return a table per device, its limits as numbers."""
    return [
        {name: item if name == "device" else size_or_max(item, f"{field}.{name}") for name, item in row.items()}
        for row in devices.rows(value, field)
    ]


_SOMA: Final[dict[str, Callable[[Any, str], Any]]] = {
    "namespaces": namespaces,
    "rlimits": limits,
    "umask": mask,
    "run_as": run_as,
    "network": network,
    "require": features,
    "prefer": features,
    **file_words.WORDS,
    "seccomp": filters.spelled_seccomp,
    "landlock": filters.spelled_landlock,
    **privilege_words.WORDS,
    "ioprio": priority.io_priority,
    "scheduler": scheduler,
}
_SUPERVISION: Final[dict[str, Callable[[Any, str], Any]]] = {
    "readiness": probes.readiness,
    "health": probes.health,
    "on_change": on_change.spelled,
    "max_memory": size,
    "budget": budget.spelled,
    "reload": lambda value, field: hooks.reload(value, field, duration),
}
_SIZED: Final = ("memory_max", "memory_high", "memory_low", "memory_min", "memory_swap_max")
_CGROUP: Final[dict[str, Callable[[Any, str], Any]]] = {**dict.fromkeys(_SIZED, size_or_max), "io_max": io_max}
_TIMED: Final = (
    "memory_check",
    "initial",
    "max",
    "healthy_after",
    "stop_timeout",
    "start_timeout",
    "watchdog",
    "max_lifetime",
)
_PROBED: Final = ("interval", "timeout")
_TIMER: Final[dict[str, Callable[[Any, str], Any]]] = {
    **dict.fromkeys(("every", "after_end", "after_boot", "after_start", "jitter"), duration),
    **dict.fromkeys(("calendar", "cron"), lambda value, _field: [value] if isinstance(value, str) else value),
}


def card(raw: dict[str, Any]) -> tuple[dict[str, Any], list[Unreadable]]:
    """Return a card's dict with every shorthand spelled out, and what could not be: those fields are left out."""
    raw, wrong = dict(raw), list[Unreadable]()
    if raw.get("payload") in ("virtual", "Virtual"):
        del raw["payload"]  # the default
    for name, convert in (("soma", _soma), ("supervision", _supervision), ("payload", _payload), ("log", _log)):
        if name not in raw:
            continue
        if isinstance(raw[name], dict):
            raw[name] = convert(raw[name], wrong)
        else:
            virtual = ', or payload = "virtual"' if name == "payload" else ""
            wrong.append(Unreadable(name, f"{shown(raw[name])} is not a table", f"write [{name}]{virtual}"))
            del raw[name]
    if "hooks" in raw:
        raw |= _converted(
            {"hooks": raw.pop("hooks")}, {"hooks": lambda v, f: hooks.hooks(v, "hooks", duration)}, "", wrong
        )
    raw = _converted(raw, dict.fromkeys(("conditions", "asserts"), conditions.spelled), "", wrong)
    raw = edges.spelled(raw, wrong, duration)
    if isinstance(timers := raw.get("timer"), (dict, list)):
        raw["timer"] = _timers(timers, wrong)
    for name in _ACTIVATING.keys() & raw.keys():
        try:
            raw[name] = _ACTIVATING[name](raw[name], name)
        except Unreadable as error:
            wrong += error.all()
            del raw[name]
    return permissions.compiled(raw, wrong), wrong


def _timers(raw: dict[str, Any] | list[Any], wrong: list[Unreadable]) -> list[Any]:
    """A table is a list of one. ``loader`` takes the number of that one out of the paths of its problems."""
    tables = raw if isinstance(raw, list) else [raw]
    return [
        _converted(table, _TIMER, f"timer.{number}", wrong) if isinstance(table, dict) else table
        for number, table in enumerate(tables)
    ]


_ACTIVATING: Final[dict[str, Callable[[Any, str], Any]]] = {
    "sockets": lambda value, field: sockets(value, field, size),
    "activation": lambda value, field: activation(value, field, duration),
    "paths": paths,
    "live_conditions": lambda value, field: live_conditions.spelled(value, field, duration),
}


def _converted(
    table: dict[str, Any], converters: dict[str, Callable[[Any, str], Any]], place: str, wrong: list[Unreadable]
) -> dict[str, Any]:
    """Return the table with each of the fields converted; those that cannot be are left out and told in ``wrong``."""
    done = {}
    for name, value in table.items():
        try:
            done[name] = converters[name](value, f"{place}.{name}".lstrip(".")) if name in converters else value
        except Unreadable as error:
            wrong += error.all()
    return done


def _soma(raw: dict[str, Any], wrong: list[Unreadable]) -> dict[str, Any]:
    raw = privilege_words.with_auto(raw, wrong)
    soma = _converted(raw, dict.fromkeys(NOT_YET, _not_yet) | _SOMA, "soma", wrong)
    if isinstance(group := soma.get("cgroup"), dict):
        soma["cgroup"] = _converted(group, _CGROUP, "soma.cgroup", wrong)
    return soma


def _not_yet(value: Any, field: str) -> Any:
    raise Unreadable(
        field, f"not yet: {NOT_YET[field.removeprefix('soma.')]} is not built", "remove it, or wait for it"
    )


def _supervision(raw: dict[str, Any], wrong: list[Unreadable]) -> dict[str, Any]:
    kept = _converted(raw, dict.fromkeys(_TIMED, duration) | _SUPERVISION, "supervision", wrong)
    for name in ("readiness", "health"):
        if isinstance(probe := kept.get(name), dict):
            kept[name] = _converted(probe, dict.fromkeys(_PROBED, duration), f"supervision.{name}", wrong)
            if isinstance(look := kept[name].get("exec"), dict):
                kept[name]["exec"] = _converted(look, {"timeout": duration}, f"supervision.{name}.exec", wrong)
    for name in ("rate_limit", "budget"):
        if isinstance(rate := kept.get(name), dict):
            kept[name] = _converted(rate, {"interval": duration}, f"supervision.{name}", wrong)
    return kept


def _log(raw: dict[str, Any], wrong: list[Unreadable]) -> dict[str, Any]:
    rules = _converted(raw, {**log.SIZES, "rotate_every": duration}, "log", wrong)
    if isinstance(rate := rules.get("rate_limit"), dict):
        rules["rate_limit"] = _converted(rate, {"interval": duration}, "log.rate_limit", wrong)
    return rules


def _payload(raw: dict[str, Any], wrong: list[Unreadable]) -> dict[str, Any]:
    payload = _converted(raw, {"env": _env, "env_file": privilege_words.words}, "payload", wrong)
    if "env" in payload:
        payload["envp"] = payload.pop("env")
    return payload


def _env(value: Any, field: str) -> Any:
    if not isinstance(value, dict):
        raise Unreadable(field, f"{shown(value)} is not a table", 'write env = {NAME = "value"}')
    found, wrong = [], []
    for name, item in value.items():
        try:
            found.append((variable(name), text(_as_written(item))))
        except Unreadable as error:
            wrong.append(Unreadable(f"{field}.{name}", str(error), error.remedy))
    if wrong:
        raise together(wrong)
    return found


def _as_written(value: Any) -> Any:
    """Return a number or a truth as the text that TOML has for it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value
