"""Namespaces made by a thread, for starts to come. spares.c says how."""

from __future__ import annotations

import os
from typing import Final

from arje.native import _check, _ffi, _lib

_MOST: Final = int(_lib.ARJE_SPARES)


class Order:
    """Namespaces that a thread is making: ``nets`` net namespaces with lo up, ``users`` user namespaces with these maps.

    Nobody is in them. Raises OSError (pthread_create(3)). :meth:`end` must be called, once. Only a privileged process can
    write any maps.
    """

    def __init__(self, nets: int, users: int, uid_map: str = "", gid_map: str = "") -> None:
        self._maps = _ffi.new("char[]", uid_map.encode()), _ffi.new("char[]", gid_map.encode())
        self._c = _ffi.new("struct arje_order *")
        self._begun = False
        self._c.nets, self._c.users = min(nets, _MOST), min(users, _MOST)
        self._c.uid_map, self._c.gid_map = self._maps
        _check(_lib.arje_order_begin(self._c))
        self._begun = True

    @property
    def done(self) -> bool:
        """Whether :meth:`end` would not wait."""
        return bool(self._c.done)

    def end(self) -> tuple[list[int], list[int], int]:
        """Wait until it is done; return the descriptors of both kinds, and the errno of what was refused or 0."""
        _lib.arje_order_end(self._c)
        nets, users = ([fd for fd in found if fd >= 0] for found in (self._c.net, self._c.user))
        self._begun = False
        return nets, users, -self._c.error

    def __del__(self) -> None:
        """Wait for the thread, which writes to our memory, when nobody did."""
        if self._begun:
            for fds in self.end()[:2]:
                for fd in fds:
                    os.close(fd)
