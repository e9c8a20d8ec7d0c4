"""The names of users and groups, looked up once: a status answer does not wait for a slow user database twice."""

from __future__ import annotations

import functools
import grp
import pwd


@functools.lru_cache(256)
def user_name(uid: int) -> str:
    """Return the name of a user; the number when nobody has it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@functools.lru_cache(256)
def group_name(gid: int) -> str:
    """Return the name of a group; the number when none has it."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
