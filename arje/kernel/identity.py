"""Users and groups: names to numbers, supplementary groups, and the ranges of /etc/subuid (subuid(5))."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Final, NamedTuple

#: The largest uid and gid; the next number is (uid_t) -1, which no one has (setresuid(2), chown(2)).
LARGEST: Final = 2**32 - 2


class Identity(NamedTuple):
    """Numbers to run as. ``home`` and ``name`` are those of the user database, or ``/`` and the number."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str


class UnknownIdentity(LookupError):
    """A user or group that no database knows; ``kind`` is ``user``, ``group`` or ``groups``."""

    def __init__(self, kind: str, name: str | int) -> None:
        super().__init__(f"no {kind.removesuffix('s')} {name!r} on this machine")
        self.kind = kind


def resolve(user: str | int, group: str | int | None, groups: tuple[str | int, ...] | None) -> Identity:
    """Return the numbers of a user. A number need not be in the database; then its group must be given or is its uid.

    Raises UnknownIdentity.
    """
    entry = _user(user)
    uid = entry.pw_uid if entry else int(user)
    gid = _group(group, "group") if group is not None else (entry.pw_gid if entry else uid)
    if groups is not None:
        extra = tuple(_group(name, "groups") for name in groups)
    else:
        extra = tuple(os.getgrouplist(entry.pw_name, gid)) if entry else ()
    name, home = (entry.pw_name, entry.pw_dir) if entry else (str(uid), "/")
    return Identity(uid, gid, tuple(sorted(set(extra))), name, home)


def _user(user: str | int) -> pwd.struct_passwd | None:
    number = _number(user, "user")
    try:
        return pwd.getpwnam(str(user)) if number is None else pwd.getpwuid(number)
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        if number is None:
            raise UnknownIdentity("user", user) from None
        return None


def _group(group: str | int, kind: str) -> int:
    number = _number(group, kind)
    try:
        return grp.getgrnam(str(group)).gr_gid if number is None else number
    except (KeyError, ValueError):
        raise UnknownIdentity(kind, group) from None


def _number(name: str | int, kind: str) -> int | None:
    """Return the id that a number is, None for a name. Raises UnknownIdentity beyond the ids that there are."""
    if isinstance(name, str) and not (name.isascii() and name.isdecimal()):
        return None
    # (uid_t) -1 is "leave it" to setresuid(2), and the kernel sees no more than 32 bits: 2**32 would be root.
    if (isinstance(name, str) and len(name) > 20) or not 0 <= int(name) <= LARGEST:
        raise UnknownIdentity(kind, name)
    return int(name)


def name_of(uid: int) -> str:
    """Return a user's name, or its number when no database knows it."""
    entry = _user(uid)
    return entry.pw_name if entry else str(uid)


def sub_ids_of(file: str, names: set[str]) -> tuple[tuple[int, int], ...]:
    """Return the (first, count) ranges of the lines that begin with one of these names or numbers."""
    try:
        lines = Path(file).read_text(errors="replace").splitlines()
    except OSError:
        return ()
    fields = [line.split(":") for line in lines]
    return tuple(
        (int(f[1]), int(f[2]))
        for f in fields
        if len(f) == 3 and f[0] in names and all(n.isascii() and n.isdecimal() and len(n) <= 10 for n in f[1:])
    )
