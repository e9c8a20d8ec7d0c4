"""What must be so on the machine before a service starts: the words of a card, and no look at anything.

Every word is a list of tests, all of which must hold; ``!`` before a test turns it round. ``any_of`` holds further
tables, one of which must hold as a whole. In ``[conditions]`` a test that does not hold means that the service is
skipped, in ``[asserts]`` that it fails. The words are those of systemd.unit(5) ("Conditions and Asserts"); the looking is
``supervisor/conditions.py``'s.
"""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from arje.card.nearest import nearest
from arje.card.privileges import CAPABILITIES
from arje.card.rules import FORBID, Rule, many, text
from arje.card.sizes import size
from arje.card.unreadable import Unreadable, shown

SECURITY: Final = ("selinux", "apparmor", "tomoyo", "smack", "ima", "audit", "uefi-secureboot", "tpm2", "landlock")
OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
#: ``>= 6.1`` to the operator and the rest.
COMPARED: Final = re.compile(r"(<=|>=|!=|==|<|>|=)\s*([^\s<>=].*)")


def plain(test: str) -> tuple[bool, str]:
    """Return whether a test is turned round, and the test without the mark."""
    turned = test.startswith("!") and not test.startswith("!=")
    return turned, test[1:].strip() if turned else test


def _tests(check: Callable[[str], None]) -> Rule:
    """Return the rule of a list of tests, each of which a check may refuse without its mark."""

    def one(value: Any) -> str:
        word = text(value)
        if not (inner := plain(word)[1]):
            raise Unreadable("", "it is empty", "remove it")
        check(inner)
        return word

    return Rule(many(one), {"type": "array", "items": {"type": "string", "pattern": "^!?.+$"}})


def _path(value: str) -> None:
    if not value.startswith("/"):
        raise Unreadable("", f"{shown(value)} is no absolute path", 'begin it with "/"')


def _amount(value: str) -> None:
    compared = COMPARED.fullmatch(value)
    size(compared[2] if compared else value, "")


def _count(value: str) -> None:
    compared = COMPARED.fullmatch(value)
    if not (compared[2] if compared else value).isdecimal():
        raise Unreadable("", f"{shown(value)} is no number of processors", 'write ">= 4"')


def _security(value: str) -> None:
    if value not in SECURITY:
        near = nearest(value, SECURITY)
        raise Unreadable("", f"{shown(value)} is not known", f"did you mean {near!r}?" if near else ", ".join(SECURITY))


def _truth(value: str) -> None:
    if value not in ("true", "false"):
        raise Unreadable("", f"{shown(value)} is neither true nor false", "write true or false")


def _any(value: str) -> None:
    """Take every word."""


def _capability(value: str) -> None:
    name = value.lower().removeprefix("cap_")
    if name not in CAPABILITIES:
        near = nearest(name, CAPABILITIES)
        remedy = f"did you mean 'CAP_{near.upper()}'?" if near else 'write "CAP_NET_ADMIN"'
        raise Unreadable("", f"{shown(value)} is no capability", remedy)


def _pattern(value: str) -> None:
    """A version to compare with, or a pattern."""
    if value[0] in "<>=" and not COMPARED.fullmatch(value):
        raise Unreadable("", f"{shown(value)} compares with nothing", 'write ">= 6.1"')


Paths = Annotated[tuple[str, ...], _tests(_path)]
Words = Annotated[tuple[str, ...], _tests(_any)]
Truths = Annotated[tuple[str, ...], _tests(_truth)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Tests of the machine. Each field is one text or a list of them; ``!`` before a text turns the test round."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    path_exists: Paths = ()
    """There is something at this path; ``*``, ``?`` and ``[…]`` are patterns."""
    directory: Paths = ()
    """It is a directory."""
    directory_not_empty: Paths = ()
    """It is a directory with something in it."""
    file_not_empty: Paths = ()
    """It is a regular file with something in it."""
    executable: Paths = ()
    """It is a regular file that may be executed."""
    symlink: Paths = ()
    """It is a symbolic link."""
    mount_point: Paths = ()
    """Something is mounted there."""
    read_write: Paths = ()
    """Its file system may be written to."""
    kernel_command_line: Words = ()
    """The kernel was booted with this word, or this ``name=value``; a name alone also means its value."""
    virtualization: Words = ()
    """``yes``, ``vm``, ``container``, or one kind of them: ``kvm``, ``docker``, ``lxc``, …"""
    capability: Annotated[tuple[str, ...], _tests(_capability)] = ()
    """The manager has this capability in its bounding set: ``CAP_NET_ADMIN``."""
    user: Words = ()
    """The manager runs as this user: a name, a number, or ``@system`` for one of the system's."""
    group: Words = ()
    """The manager is in this group, by name or number."""
    kernel_version: Annotated[tuple[str, ...], _tests(_pattern)] = ()
    """The kernel's release: a comparison (``>= 6.1``) or a pattern (``6.*``)."""
    architecture: Words = ()
    """The machine as uname(2) has it (``x86_64``), or ``native``."""
    host: Words = ()
    """The host's name or its machine id; ``*``, ``?`` and ``[…]`` are patterns."""
    environment: Words = ()
    """The manager's environment has this variable, or this ``NAME=value``."""
    memory: Annotated[tuple[str, ...], _tests(_amount)] = ()
    """The machine's memory: ``>= 1G``."""
    cpus: Annotated[tuple[str, ...], _tests(_count)] = ()
    """The processors that the manager may use: ``>= 4``."""
    ac_power: Truths = ()
    """Whether the machine is on mains power; true where nothing is known of a battery."""
    first_boot: Truths = ()
    """Whether this boot is the first one: /etc/machine-id is missing or not set up."""
    security: Annotated[tuple[str, ...], _tests(_security)] = ()
    """A security system is at work: ``selinux``, ``apparmor``, ``landlock``, ``tpm2``, ``uefi-secureboot``, …"""
    any_of: tuple[Conditions, ...] = ()
    """Tables of tests; one of the tables must hold as a whole."""

    def __bool__(self) -> bool:
        return self != _NONE


_NONE: Final = Conditions()
WORDS: Final = tuple(each.name for each in dataclasses.fields(Conditions) if each.name != "any_of")

#: Words whose change the kernel tells (inotify(7)).
WATCHED: Final = ("path_exists", "directory", "directory_not_empty", "file_not_empty", "executable", "symlink")
#: Words whose change nobody tells.
_UNHEARD: Final = ("mount_point", "read_write", "ac_power", "host")


def live(tests: Conditions, field: str = "conditions") -> list[Unreadable]:
    """Return what of a table of tests cannot be watched; there has to be something that can."""
    remedy = "remove live_conditions, or the test"
    wrong = [
        Unreadable(f"{field}.{word}", "is no live condition: nobody tells when it changes", remedy)
        for word in _UNHEARD
        if getattr(tests, word)
    ]
    wrong += [
        Unreadable(f"{field}.{word}.{place}", "only the last part of a live path may be a pattern", remedy)
        for word in WATCHED
        for place, test in enumerate(getattr(tests, word))
        if any(mark in plain(test)[1].rpartition("/")[0] for mark in "*?[")
    ]
    for place, group in enumerate(tests.any_of):
        wrong += live(group, f"{field}.any_of.{place}")
    if field == "conditions" and not wrong and not any(_watched(tests)):
        wrong.append(Unreadable("live_conditions", "there is no condition that could change", "remove it"))
    return wrong


def _watched(tests: Conditions) -> Iterator[bool]:
    yield from (bool(getattr(tests, word)) for word in WATCHED)
    for group in tests.any_of:
        yield from _watched(group)


def spelled(value: Any, field: str) -> Any:
    """Return a table of tests whose single words are lists of one. Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable(field, f"{shown(value)} is not a table", 'write {path_exists = "/dev/rtc0"}')
    found = {name: _listed(item) for name, item in value.items() if name != "any_of"}
    if "any_of" in value:
        groups = value["any_of"]
        if not isinstance(groups, list):
            raise Unreadable(f"{field}.any_of", f"{shown(groups)} is not a list", "write [{…}, {…}]")
        found["any_of"] = [spelled(group, f"{field}.any_of.{index}") for index, group in enumerate(groups)]
        empty = next((index for index, group in enumerate(groups) if not group), None)
        if empty is not None:
            raise Unreadable(f"{field}.any_of.{empty}", "it tests nothing", "remove it")
    return found


def _listed(value: Any) -> Any:
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, (str, int)):
        return [str(value)]
    return value
