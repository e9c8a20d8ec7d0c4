"""What the payload may do: capabilities(7), securebits, session keyring and personality(2); and the names of all these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.nearest import nearest
from arje.card.rules import FORBID, Check, Rule, many, text
from arje.card.unreadable import Unreadable, shown

#: The capabilities of capabilities(7), each at the place of its number; cards may write them in any case, with CAP_ before.
_CAPABILITIES: Final = """
    chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service
    net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct
    sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control
    setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore
"""
CAPABILITIES: Final = tuple(_CAPABILITIES.split())

#: Securebits by their bit. ``keep-caps`` is not among them: execve clears it, so no payload ever has it.
SECUREBITS: Final = {
    "noroot": 0,
    "noroot-locked": 1,
    "no-setuid-fixup": 2,
    "no-setuid-fixup-locked": 3,
    "keep-caps-locked": 5,
    "no-cap-ambient-raise": 6,
    "no-cap-ambient-raise-locked": 7,
    "exec-restrict-file": 8,
    "exec-restrict-file-locked": 9,
    "exec-deny-interactive": 10,
    "exec-deny-interactive-locked": 11,
}

#: Execution domains and flags of personality(2). ``read-implies-exec`` is left out: execve of a 64-bit program clears it.
PERSONALITIES: Final = {
    "linux": 0,
    "linux32": 0x0008,
    "uname26": 0x0020000,
    "addr-no-randomize": 0x0040000,
    "mmap-page-zero": 0x0100000,
    "addr-compat-layout": 0x0200000,
    "addr-limit-32bit": 0x0800000,
    "short-inode": 0x1000000,
    "whole-seconds": 0x2000000,
    "sticky-timeouts": 0x4000000,
    "addr-limit-3gb": 0x8000000,
}

KEYRINGS: Final = ("inherit", "new")


def named(known: Iterable[str], what: str) -> Check:
    """Return the check of a name in any case, with ``_`` or ``-``, with CAP_ before; it returns the name as arje has it."""
    names = tuple(known)

    def check(value: Any) -> str:
        plain = text(value).lower().strip()
        for name in (plain, plain.removeprefix("cap_"), plain.replace("_", "-")):
            if name in names:
                return name
        if plain.replace("_", "-") == "keep-caps":
            raise Unreadable("", "execve clears keep-caps", "use capabilities.keep and capabilities.ambient")
        near = nearest(plain.removeprefix("cap_"), names)
        raise Unreadable("", f"no {what} {shown(value)}", f"did you mean {near!r}?" if near else "")

    return check


def _list(known: Iterable[str], what: str, *, written: Iterable[str] = ()) -> Rule:
    schema = {"type": "array", "items": {"enum": [*known, *written]}}
    return Rule(lambda value: tuple(dict.fromkeys(many(named(known, what))(value))), schema)


#: The rule of a list of capabilities.
CAPABILITY_LIST: Final = _list(
    CAPABILITIES,
    "capability",
    written=[word for name in CAPABILITIES for word in (name.upper(), f"CAP_{name.upper()}")],
)


def _keep(value: Any) -> Any:
    return value if value == "all" else CAPABILITY_LIST.check(value)


Names = Annotated[tuple[str, ...], CAPABILITY_LIST]
Kept = Annotated[str | tuple[str, ...], Rule(_keep, {"anyOf": [{"const": "all"}, CAPABILITY_LIST.written]})]
Securebits = Annotated[tuple[str, ...], _list(SECUREBITS, "securebit")]
Personality = Annotated[tuple[str, ...], _list(PERSONALITIES, "personality")]
Keyring = Annotated[str, Rule(named(KEYRINGS, "keyring"), {"enum": list(KEYRINGS)})]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Which capabilities the payload has (capabilities(7)). A list stands for exactly these, ``[]`` for none at all."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    bounding: Names | None = None
    """What no program of the service can ever get beyond; None leaves what the manager has."""
    keep: Kept | None = None
    """What the payload has from its first instruction on: names, ``"all"``, or None for what execve makes of its user."""
    ambient: Names | None = None
    """What programs without file capabilities inherit; None means: what is kept, for a payload that is not root."""


#: The names of these wishes in ``require``, ``prefer`` and degradations.
FEATURES: Final = (
    "capabilities.bounding",
    "capabilities.keep",
    "capabilities.ambient",
    "securebits",
    "keyring",
    "personality",
    "lock_personality",
    "disable_nested_userns",
)
