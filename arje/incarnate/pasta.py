"""One running pasta(1): its command line, how it tells that it is ready, and its end.

It is a child of the manager like every helper, with its input, output and errors of our making: it takes the net namespace
by descriptor, because with the few capabilities it keeps it may not open that of another process, and writes its pid
where we read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import shutil
import signal

from arje import native
from arje.card.network import Pasta


def words_of(asked: Pasta, userns: str) -> list[str]:
    """Return pasta's command line; standard input is the namespace, standard output takes the pid. Nothing is automatic:
    left to itself it forwards every port that somebody listens on.
    """
    words = ["pasta", "--foreground", "--quiet", "--config-net", "--no-netns-quit", "--ns-ifname", asked.name]
    words += ["--netns", "/proc/self/fd/0", "--pid", "/proc/self/fd/1"]
    words += ["--userns", userns] if userns else ["--netns-only"]
    if os.geteuid() == 0:  # as nobody it could not enter a namespace of root's; it gives up what it does not need
        words += ["--runas", "0"]
    for option, ports in (("-t", asked.tcp), ("-u", asked.udp), ("-T", asked.host_tcp), ("-U", asked.host_udp)):
        words += [word for port in ports or ("none",) for word in (option, port)]
    if not asked.reach_host:
        words += ["--no-map-gw"]
    if asked.address:
        own = ipaddress.ip_interface(asked.address)
        words += ["--address", str(own.ip), "--netmask", str(own.network.prefixlen)]
    if asked.gateway:
        words += ["--gateway", asked.gateway]
    return words + (["--mtu", str(asked.mtu)] if asked.mtu else [])


class Helper:
    """A running pasta. Its standard error is a memory file that cannot grow once it is ready: nobody reads on."""

    feature = "network.pasta"

    def __init__(self, child: native.Child, spawner: native.Spawner, ready_fd: int, said: int) -> None:
        self._child, self._spawner, self._said = child, spawner, said
        self._settled = False
        self.ready_fd = ready_fd
        self.helper_pid = child.pid

    def ready(self) -> str | None:
        """Look whether it has written its pid, or has ended: then return what it said."""
        ready = bool(os.read(self.ready_fd, 64))
        os.close(self.ready_fd)
        self.ready_fd = -1
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._said, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
        if ready:
            self._settle()
            return None
        lines = os.pread(self._said, 4096, 0).decode(errors="replace").splitlines()
        self.release()
        said = "; ".join(line for line in lines if line.strip() and not line.startswith("Failed to send"))  # to syslog
        return f"pasta ended: {said}" if said else "pasta ended and said nothing"

    def _settle(self) -> None:
        """Give its stack back: it has exec'd or ended by now, so its channel is at its end."""
        if self._settled:
            return
        self._settled = True
        while native.receive(self._child.status_fd, block=True):
            pass
        os.close(self._child.status_fd)
        self._spawner.give_back(self._child)

    def release(self) -> None:
        """Kill and reap it, unless somebody else has."""
        if self.helper_pid == 0:
            return
        self.helper_pid = 0
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._child.pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._child.pidfd, os.WEXITED)
        self._settle()
        for fd in (self.ready_fd, self._child.pidfd, self._said):
            if fd >= 0:
                os.close(fd)
        self.ready_fd = -1


def start(asked: Pasta, space: int, userns: str, spawner: native.Spawner, cgroup_fd: int) -> Helper:
    """Start pasta for the net namespace behind ``space``, in a cgroup unless that is -1. Raises OSError."""
    path = shutil.which("pasta")
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "pasta is not installed")
    words = [word.encode() for word in words_of(asked, userns)]
    program = native.Plan([], [path.encode()], words, [b"PATH=/usr/sbin:/usr/bin:/sbin:/bin"], reaper=False)
    with contextlib.ExitStack() as on_error, contextlib.ExitStack() as always:
        ready, told = os.pipe2(os.O_CLOEXEC)
        on_error.callback(os.close, ready)
        always.callback(os.close, told)
        said = os.memfd_create("pasta", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        on_error.callback(os.close, said)
        child = _spawn(spawner, program, (space, told, said), cgroup_fd)
        on_error.pop_all()
    helper = Helper(child, spawner, ready, said)
    try:
        native.release(child.status_fd)
    except BaseException:
        helper.release()
        raise
    return helper


def _spawn(spawner: native.Spawner, program: native.Plan, stdio: tuple[int, int, int], cgroup_fd: int) -> native.Child:
    """Clone it into the service's cgroup; where the kernel does not do that, it is still killed by hand."""
    try:
        return spawner.spawn(program, stdio, clone_flags=0, cgroup_fd=cgroup_fd)
    except OSError:
        if cgroup_fd < 0:
            raise
        return spawner.spawn(program, stdio, clone_flags=0)
