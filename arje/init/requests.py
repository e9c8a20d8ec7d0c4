"""The signals that mean something to pid 1, and what each asks for: as systemd(1) has them, USR1 and USR2 as busybox.

=============  =======================================================  =====================================
signal         on a machine                                             in a container
=============  =======================================================  =====================================
SIGTERM        nothing: no kill(1) by a slip ends a machine             the end: docker, podman and kubernetes
SIGINT         Ctrl-Alt-Del: card ``ctrl-alt-del``, else reboot;        the end
               seven within two seconds: at once
SIGHUP         read the cards again                                     the same
SIGPWR         card ``sigpwr``, else power off                          the same: lxc-stop
SIGWINCH       the keyboard request (Alt-Up): card ``kbrequest``        the same
SIGUSR1, USR2  halt, power off (busybox's halt and poweroff)            the same
RTMIN+0        the default target                                       the same
RTMIN+1, +2    rescue, emergency                                        nothing
RTMIN+3 … +7   halt, power off, reboot, kexec, soft-reboot              the same, +3 is podman's and nspawn's
RTMIN+13 … 17  the same at once: no service is stopped in order         the same
RTMIN+22, +23  arje's own log: debug, info                              the same
=============  =======================================================  =====================================
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

from arje.service.ways import Way


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: a card to start (``card``) where there is one, else the ``way``; or one of the verbs ``default``,
    ``rescue``, ``emergency``, ``reload``, ``log-debug``, ``log-info``. ``force``: at once."""

    way: Way | None = None
    card: str = ""
    verb: str = ""
    force: bool = False


_RTMIN: Final = int(signal.SIGRTMIN)
_ANYWHERE: Final = {
    int(signal.SIGHUP): Request(verb="reload"),
    int(signal.SIGPWR): Request(Way.POWEROFF, card="sigpwr"),
    int(signal.SIGWINCH): Request(card="kbrequest"),
    int(signal.SIGUSR1): Request(Way.HALT),
    int(signal.SIGUSR2): Request(Way.POWEROFF),
    _RTMIN: Request(verb="default"),
    _RTMIN + 3: Request(Way.HALT),
    _RTMIN + 4: Request(Way.POWEROFF),
    _RTMIN + 5: Request(Way.REBOOT),
    _RTMIN + 6: Request(Way.KEXEC),
    _RTMIN + 7: Request(Way.SOFT_REBOOT),
    _RTMIN + 13: Request(Way.HALT, force=True),
    _RTMIN + 14: Request(Way.POWEROFF, force=True),
    _RTMIN + 15: Request(Way.REBOOT, force=True),
    _RTMIN + 16: Request(Way.KEXEC, force=True),
    _RTMIN + 17: Request(Way.SOFT_REBOOT, force=True),
    _RTMIN + 22: Request(verb="log-debug"),
    _RTMIN + 23: Request(verb="log-info"),
}
ON_MACHINE: Final = {
    **_ANYWHERE,
    int(signal.SIGTERM): Request(),
    int(signal.SIGINT): Request(Way.REBOOT, card="ctrl-alt-del"),
    _RTMIN + 1: Request(verb="rescue"),
    _RTMIN + 2: Request(verb="emergency"),
}
IN_CONTAINER: Final = {
    **_ANYWHERE,
    int(signal.SIGTERM): Request(Way.EXIT),
    int(signal.SIGINT): Request(Way.EXIT),
}
#: So many SIGINT within so many seconds: whoever presses Ctrl-Alt-Del does not want to wait (systemd-system.conf(5)).
BURST: Final = (7, 2.0)
