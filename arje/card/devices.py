"""How much a service may read and write on one block device (kernel: admin-guide/cgroup-v2, "io.max")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.nearest import nearest
from arje.card.rules import FORBID, Rule, matching, whole
from arje.card.unreadable import Unreadable, shown

LIMITS: Final = ("rbps", "wbps", "riops", "wiops")
_MOST: Final = 2**63 - 1
_EXAMPLE: Final = 'write {"/dev/vda" = {rbps = "1M"}}, or ["/dev/vda rbps=1M wiops=100"]'


def _rate(value: Any) -> int | str:
    return value if isinstance(value, str) and value == "max" else int(whole(1, _MOST)(value))


_DEVICE: Final = matching(r"/[^\x00]+|[0-9]{1,4}:[0-9]{1,7}", "is no device", 'write "/dev/vda" or "254:0"')
_SIZED: Final = {"type": "string", "pattern": r"^(max|[0-9]+([KMGTkmgt]?)([iI]?[bB])?)$"}
_RATE: Final = Rule(_rate, {"anyOf": [{"type": "integer", "minimum": 1}, _SIZED]})
Rate = Annotated[int | str, _RATE]


@dataclass(frozen=True, slots=True, kw_only=True)
class IoMax:
    """Limits for one whole device. None means: not asked for, ``"max"``: no limit."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    device: Annotated[str, _DEVICE]
    """Path of its node (``/dev/vda``), or its number (``254:0``)."""
    rbps: Rate | None = None
    """Bytes read per second."""
    wbps: Rate | None = None
    """Bytes written per second."""
    riops: Rate | None = None
    """Reads per second."""
    wiops: Rate | None = None
    """Writes per second."""

    @property
    def limits(self) -> dict[str, str]:
        """The limits that are asked for, in the kernel's order and words."""
        found = ((name, getattr(self, name)) for name in LIMITS)
        return {name: str(value) for name, value in found if value is not None}

    def __str__(self) -> str:
        return " ".join((self.device, *(f"{name}={value}" for name, value in self.limits.items())))


def rows(value: Any, field: str) -> list[dict[str, Any]]:
    """Return a table per device of a table of tables, or of lines as io.max has them. Raises Unreadable."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, dict):
        found = [_row(field, device, limits) for device, limits in value.items()]
    elif isinstance(value, list):
        found = [row if isinstance(row, dict) else _line(field, row) for row in value]
    else:
        raise Unreadable(field, f"{shown(value)} names no devices", _EXAMPLE)
    for row in found:
        if not row.keys() & set(LIMITS):
            raise Unreadable(field, f"{shown(row.get('device', ''))} has no limit", _EXAMPLE)
    return found


def _row(field: str, device: str, limits: Any) -> dict[str, Any]:
    if not isinstance(limits, dict):
        raise Unreadable(f"{field}.{device}", f"{shown(limits)} is not a table", _EXAMPLE)
    for name in limits:
        if name not in LIMITS:
            near = nearest(name, LIMITS)
            remedy = f"did you mean {near!r}?" if near else f"one of {', '.join(LIMITS)}"
            raise Unreadable(f"{field}.{device}", f"no limit {name!r}", remedy)
    return {"device": device, **limits}


def _line(field: str, line: Any) -> dict[str, Any]:
    if not isinstance(line, str) or not line.split():
        raise Unreadable(field, f"{shown(line)} is no line of io.max", _EXAMPLE)
    device, *words = line.split()
    pairs = [word.partition("=") for word in words]
    return _row(field, device, {name: value for name, _, value in pairs})
