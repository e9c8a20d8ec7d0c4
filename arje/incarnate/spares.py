"""Namespaces that were made before they are wanted: a few, never used, for the next start of what has started before.

Making a net namespace and bringing its lo up takes 0.4 ms of a start, and writing the maps of a user namespace two changes
between child and manager. So after a start that needed them, a thread makes those of the next one. Each is entered by one
child only and then forgotten here, is owned by the same user namespace as a new one, and is read back in the same way.
Where there is none, because it is the first start, or the kernel refused, the child is cloned into a new one as ever.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from arje import native
from arje.incarnate import idmap
from arje.incarnate.blueprint import Blueprint
from arje.native.spares import Order

#: How many of a kind are kept; a net namespace is 220 kB of the kernel's memory.
EACH: Final = 2
#: For how many different pairs of maps user namespaces are kept: those that were wanted last.
MAPS: Final = 2
#: What a new net namespace takes over from the first one (net/ipv4/devinet.c, tcp_ipv4.c, …), as far as it is there.
_INHERITED: Final = (
    "core",
    "ipv4",
    "ipv4/conf/all",
    "ipv4/conf/default",
    "ipv4/neigh/default",
    "ipv6",
    "ipv6/conf/all",
    "ipv6/conf/default",
    "ipv6/neigh/default",
    "unix",
)
_IN_MODIFY: Final = 2  # inotify(7)
#: Limits that a user namespace takes over from who makes it, for all that will ever run in it (kernel/user_namespace.c).
_IN_USER: Final = frozenset(f"rlimit.{name}" for name in ("nproc", "msgqueue", "sigpending", "memlock"))
_OUTSIDE: Final = frozenset({"network.veth", "network.pasta"})

Maps = tuple[str, str]


class Spare(NamedTuple):
    """What one child enters in place of new ones; -1: there is none. The descriptors are lent."""

    net: int = -1
    user: int = -1

    @property
    def flags(self) -> int:
        """The CLONE_NEW* that clone3 need not do."""
        return native.CLONE_NEW["net"] if self.net >= 0 else 0


class Spares:
    """Keeps them. ``each``: how many of a kind; 0: none. Belongs to the thread that starts services."""

    def __init__(self, each: int = EACH) -> None:
        self._each = each
        self._nets: list[int] = []
        self._users: OrderedDict[Maps, list[int]] = OrderedDict()
        self._want_net = False
        self._settings: _Settings | None = None
        self._order: Order | None = None
        self._ordered: Maps | None = None
        self._stale = False
        """Settings have changed since the order was given."""
        self.refused = 0
        """The errno with which the last order ended; 0: all was made."""

    @property
    def wanted(self) -> bool:
        """Whether any are kept at all."""
        return self._each > 0

    @contextlib.contextmanager
    def lend(self, plan: Blueprint) -> Iterator[Spare]:
        """Lend what is there for one child of a plan; it is closed afterwards, whatever became of the child."""
        spare = Spare()
        if self._each:
            self._look()
            spare = Spare(self._net(plan), self._user(plan))
        try:
            yield spare
        finally:
            _close(spare)

    def _net(self, plan: Blueprint) -> int:
        """One whose owner is ours, with lo up, that nobody reaches into by the child's pid before it is in there."""
        if "net" not in plan.kinds or "user" in plan.kinds or "loopback" not in plan.has or plan.has & _OUTSIDE:
            return -1
        self._want_net = True
        return self._nets.pop() if self._nets else -1

    def _user(self, plan: Blueprint) -> int:
        if not plan.late_user or plan.has & _IN_USER or not (plan.uid_map and plan.gid_map):
            return -1
        maps = idmap.text(plan.uid_map), idmap.text(plan.gid_map)
        kept = self._users.setdefault(maps, [])
        self._users.move_to_end(maps)
        while len(self._users) > MAPS:
            _close(self._users.popitem(last=False)[1])
        return kept.pop() if kept else -1

    def _look(self) -> None:
        """Throw away what is not as a new one any more, and take over what has been made."""
        if self._settings is not None and self._settings.changed():
            self._stale = True
            _close(self._nets)
            self._nets.clear()
        if self._order is not None and self._order.done:
            self._take()

    def _take(self) -> None:
        assert self._order is not None
        nets, users, self.refused = self._order.end()
        self._order = None
        if self._stale or not self._each:
            _close(nets)
        else:
            self._nets += nets
        if (kept := self._users.get(self._ordered) if self._ordered else None) is None:
            _close(users)
        else:
            kept += users

    def refill(self) -> None:
        """After a start: have made what is missing. What the kernel refuses, the next start will not find."""
        if not self._each:
            return
        self._look()
        nets = self._each - len(self._nets) if self._want_net else 0
        maps = next((maps for maps, kept in reversed(self._users.items()) if len(kept) < self._each), None)
        if self._order is not None or not (nets or maps):
            return
        try:
            if nets and self._settings is None:
                self._settings = _Settings()
            self._stale, self._ordered = False, maps
            missing = self._each - len(self._users[maps]) if maps else 0
            self._order = Order(nets, missing, *(maps or ()))
        except OSError as error:
            self.refused = error.errno or 0

    def settle(self) -> None:
        """Wait until what was ordered is there."""
        self._look()
        if self._order is not None:
            self._take()

    def close(self) -> None:
        """Release all of them, and make no more. May be called again."""
        self._each = 0
        self.settle()
        _close([*self._nets, *(fd for kept in self._users.values() for fd in kept)])
        self._nets.clear()
        self._users.clear()
        if self._settings is not None:
            self._settings.close()
            self._settings = None


class _Settings:
    """Tells whether somebody wrote to the settings that a new net namespace takes over. Raises OSError.

    Its own descriptors of the directories keep the kernel from forgetting them, and the watches with them. Writers in
    another mount of proc than the manager's are not seen.
    """

    def __init__(self) -> None:
        self._fds = [native.inotify_init()]
        try:
            for name in _INHERITED:
                with contextlib.suppress(FileNotFoundError):
                    self._fds.append(os.open(Path("/proc/sys/net", name), os.O_PATH | os.O_CLOEXEC))
                    native.inotify_add(self._fds[0], f"/proc/self/fd/{self._fds[-1]}", _IN_MODIFY)
        except OSError:
            self.close()
            raise

    def changed(self) -> bool:
        """Whether it happened since the last time."""
        try:
            return bool(os.read(self._fds[0], 65536))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Look no more."""
        _close(self._fds)


def _close(fds: list[int] | Spare) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
