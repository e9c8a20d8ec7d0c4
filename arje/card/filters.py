"""What a service may ask of the kernel: system calls (seccomp(2)), files, ports, signals (landlock(7)). Both only forbid.

The rules are asked when a card file is read, and again when an incarnation is planned (:func:`wrong`), so that a card made
in Python cannot carry a wrong name to the kernel either.
"""

from __future__ import annotations

import errno as errno_module
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.nearest import nearest
from arje.card.rules import FORBID, Flag, Rule, Text, many, text, whole
from arje.card.syscalls import KNOWN, SETS
from arje.card.unreadable import Unreadable, shown, together

ARCHITECTURES: Final = ("native", "x86", "x86_64", "x32", "arm", "aarch64")
SCOPES: Final = ("abstract-unix-socket", "signal")
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}


def _one_of(known: Iterable[str], what: str) -> Any:
    names = tuple(known)

    def check(value: Any) -> str:
        if text(value) not in names:
            near = nearest(value, [name for name in names if (name[:1] == "@") == (value[:1] == "@")])
            few = f"they are {', '.join(names)}" if len(names) < 10 else ""
            raise Unreadable("", f"no {what} {shown(value)}", f"did you mean {near!r}?" if near else few)
        return str(value)

    return check


_call: Final = _one_of([*sorted(KNOWN), *SETS], "system call or set")
_symbol: Final = _one_of(sorted(set(errno_module.errorcode.values())), "errno")


def refusal(value: Any) -> tuple[str, str]:
    """Return a system call (or set) and the errno that it gets. Raises Unreadable."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise Unreadable("", f"{shown(value)} is no call with its errno", 'write {mount = "EPERM"}')
    return _call(value[0]), _symbol(value[1])


def _default(value: Any) -> str:
    kind, _, name = text(value).partition(":")
    if value in ("", "kill", "log", "allow") or (kind == "errno" and name and _symbol(name)):
        return str(value)
    raise Unreadable("", f"{shown(value)} is no action", "write kill, errno:EPERM, log or allow")


def _architectures(value: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = many(_one_of(ARCHITECTURES, "architecture"))(value)
    if not names:
        raise Unreadable("", "none is named, so every call would be foreign", 'write ["native"]')
    return names


def _path(value: Any) -> str:
    path = text(value)
    if not path.removeprefix("-").startswith("/"):
        raise Unreadable("", f"{shown(path)} is no absolute path", f"write {'/' + path.lstrip('-./')!r}")
    return path


_CALLS: Final = Rule(many(_call), _TEXTS)
_PAIRS: Final = Rule(many(refusal), {"type": "array"})
_ACTION: Final = Rule(_default, {"type": "string", "pattern": "^(kill|log|allow|errno:[A-Z0-9]+)?$"})
_ARCHITECTURES: Final = Rule(_architectures, {"type": "array", "items": {"enum": list(ARCHITECTURES)}, "minItems": 1})
_PATHS: Final = Rule(many(_path), {"type": "array", "items": {"type": "string", "pattern": "^-?/"}})
_PORTS: Final = Rule(
    many(whole(0, 65535)), {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 65535}}
)
_SCOPES: Final = Rule(many(_one_of(SCOPES, "scope")), {"type": "array", "items": {"enum": list(SCOPES)}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seccomp:
    """A filter over system calls. TOML may write ``seccomp = "@system-service"`` for ``{allow = ["@system-service"]}``.

    The order counts for nothing: ``errno`` is stronger than ``deny``, ``deny`` stronger than ``allow``. The filter cannot
    be taken off again, and every process below has it too. ``execve`` must be allowed (``@default`` holds it).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    allow: Annotated[tuple[str, ...], _CALLS] = ()
    """System calls and sets that are allowed. Empty means: everything that is not denied."""
    deny: Annotated[tuple[str, ...], _CALLS] = ()
    """System calls and sets that are denied: as ``default`` says when it denies, else with EPERM."""
    errno: Annotated[tuple[tuple[str, str], ...], _PAIRS] = ()
    """System call or set, and the errno that it gets. A card writes a table: ``{mount = "EPERM"}``."""
    default: Annotated[str, _ACTION] = ""
    """What all other calls get: ``kill`` (SIGSYS), ``errno:NAME``, ``log`` (let through, and logged) or ``allow``.

    Empty means ``errno:EPERM`` when there is an ``allow``, else ``allow``. With an errno, calls that are newer than arje
    get ENOSYS, as from a kernel without them: libraries then take the older call."""
    log: Flag = False
    """Whether the kernel logs what the filter does not let through."""
    architectures: Annotated[tuple[str, ...], _ARCHITECTURES] = ("native",)
    """Whose system calls the filter knows; a call of another kind (32-bit, x32) ends the process with SIGSYS."""
    raw: Text = ""
    """File with a compiled filter, an array of struct sock_filter, read at the first start. Only ``log`` may go with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landlock:
    """Files, TCP ports and signals that the service is confined to, on top of all other permissions.

    When one of ``read``, ``write``, ``execute`` and ``ioctl_dev`` is given, everything that none of them allows is denied;
    when none is, files are left alone. The same holds for each kind of port. A path allows what is below it, in the
    service's own root. One that is missing fails the start, unless it is written with a dash: ``"-/opt/may/be/there"``.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    read: Annotated[tuple[str, ...], _PATHS] | None = None
    """Files that may be read and directories that may be listed."""
    write: Annotated[tuple[str, ...], _PATHS] | None = None
    """Where files may be written, truncated, made, renamed, linked and removed. Device nodes can be made nowhere."""
    execute: Annotated[tuple[str, ...], _PATHS] | None = None
    """Programs that may be executed, and read; the payload's own, its interpreter and its loader among them."""
    ioctl_dev: Annotated[tuple[str, ...], _PATHS] | None = None
    """Devices that ioctl(2) may be used on when they are opened by the service (Linux 6.10)."""
    tcp_bind: Annotated[tuple[int, ...], _PORTS] | None = None
    """TCP ports that may be bound to; empty: none (Linux 6.7)."""
    tcp_connect: Annotated[tuple[int, ...], _PORTS] | None = None
    """TCP ports that may be connected to; empty: none (Linux 6.7)."""
    scopes: Annotated[tuple[str, ...], _SCOPES] = ()
    """What the service cannot reach outside of itself: ``abstract-unix-socket``, ``signal`` (Linux 6.12)."""

    @property
    def restricts_files(self) -> bool:
        """Whether files are confined at all."""
        return any(paths is not None for paths in (self.read, self.write, self.execute, self.ioctl_dev))


def _filters_something(asked: Seccomp) -> Seccomp:
    rest = asked.allow or asked.deny or asked.errno or asked.default
    if asked.raw and (rest or asked.architectures != ("native",)):
        raise Unreadable("raw", "a compiled filter is complete", "remove everything else but log")
    if not (asked.raw or rest):
        raise Unreadable("", "it filters nothing", 'write "@system-service", or remove it')
    return asked


def _confines_something(asked: Landlock) -> Landlock:
    if not (asked.restricts_files or asked.scopes) and asked.tcp_bind is None and asked.tcp_connect is None:
        raise Unreadable("", "it confines nothing", 'write {read = ["/"]}, or remove it')
    return asked


SeccompFilter = Annotated[Seccomp, Rule(_filters_something)]
LandlockRules = Annotated[Landlock, Rule(_confines_something)]

_RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("allow", "deny"), _CALLS),
    **dict.fromkeys(("read", "write", "execute", "ioctl_dev"), _PATHS),
    **dict.fromkeys(("tcp_bind", "tcp_connect"), _PORTS),
    "errno": _PAIRS,
    "default": _ACTION,
    "architectures": _ARCHITECTURES,
    "scopes": _SCOPES,
}


def wrong(asked: Seccomp | Landlock) -> Iterator[Unreadable]:
    """Yield what is wrong with a filter on every machine; the fields are those of the filter."""
    whole_of: Any = _filters_something if isinstance(asked, Seccomp) else _confines_something
    checks = [(name, _RULES[name].check, getattr(asked, name)) for name in asked.__slots__ if name in _RULES]
    for name, check, value in [*checks, ("", whole_of, asked)]:
        try:
            if value is not None:
                check(value)
        except Unreadable as error:
            for one in error.all():
                yield Unreadable(f"{name}.{one.field}".strip("."), str(one), one.remedy)


def errno_number(name: str) -> int:
    """Return the number of an errno's symbol (``EPERM``). Raises KeyError."""
    return {symbol: number for number, symbol in errno_module.errorcode.items()}[name]


# -- shorthands of card files (normalise.py) ---------------------------------------------------------------------------


def spelled_seccomp(value: Any, field: str) -> Any:
    """Return the table of one set, of a list, or of a table with single words in it. Raises Unreadable."""
    if isinstance(value, str):
        value = {"allow": [value]}
    elif isinstance(value, list):
        value = {"allow": value}
    if not isinstance(value, dict):
        return value
    words = ("allow", "deny", "architectures")
    spelled = {name: [item] if name in words and isinstance(item, str) else item for name, item in value.items()}
    if isinstance(table := spelled.get("errno"), dict):
        spelled["errno"] = _refusals(table, f"{field}.errno")
    return spelled


def _refusals(table: dict[str, Any], field: str) -> list[tuple[str, str]]:
    found, bad = [], []
    for pair in table.items():
        try:
            found.append(refusal(pair))
        except Unreadable as error:
            bad.append(Unreadable(f"{field}.{pair[0]}", str(error), error.remedy))
    if bad:
        raise together(bad)
    return found


def spelled_landlock(value: Any, field: str) -> Any:
    """Return the table with every single path, port and scope made a list."""
    if not isinstance(value, dict):
        return value
    lists = Landlock.__slots__
    single = {name: isinstance(item, (str, int)) and not isinstance(item, bool) for name, item in value.items()}
    return {name: [item] if name in lists and single[name] else item for name, item in value.items()}


#: The names of these wishes in ``require``, ``prefer`` and degradations.
FEATURES: Final = ("seccomp", "landlock")
