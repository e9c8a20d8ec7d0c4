"""Opening what a service listens on (socket(7), unix(7), ip(7), fifo(7), netlink(7),
vsock(7), mq_overview(7)). Blocks: for threads.

A unix socket or a FIFO has at no moment more permissions than its card says: it is made with none, gets its owner, and
then its mode; both through a descriptor of the very file, so that nobody can put another one in its place. A socket file
that nobody listens behind any more is in the way and goes; one that somebody serves is an error.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from arje import native
from arje.card.listen import ANY_CID, CONNECTED, IP, LOCAL, Address, Kind
from arje.card.sockets import BindIPv6Only, Socket

_TYPES: Final = {
    Kind.TCP: socket.SOCK_STREAM,
    Kind.UDP: socket.SOCK_DGRAM,
    Kind.UNIX: socket.SOCK_STREAM,
    Kind.UNIX_DATAGRAM: socket.SOCK_DGRAM,
    Kind.UNIX_SEQPACKET: socket.SOCK_SEQPACKET,
    Kind.NETLINK: socket.SOCK_RAW,
    Kind.VSOCK: socket.SOCK_STREAM,
}
# Of the kernel's headers, and not in Python's socket module.
_IP_FREEBIND: Final = 15
_IPV6_TRANSPARENT: Final = 75
_IPV6_FREEBIND: Final = 78
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_NETLINK_ADD_MEMBERSHIP: Final = 1


class Unbound(OSError):
    """What the kernel did not let us do: ``option`` is the card's name of it, below the socket."""

    def __init__(self, error: OSError, option: str, hint: str = "") -> None:
        super().__init__(error.errno or errno.EINVAL, error.strerror or str(error))
        self.option = option
        self.hint = hint


def opened(wanted: Socket) -> int:
    """Return a listening descriptor, non-inheritable. Raises Unbound."""
    where = wanted.address
    if where.kind in _OPENERS:
        return _OPENERS[where.kind](wanted)
    with _blame("listen"):
        made = _socket(where)
    try:
        _options(made, wanted)
        with _alone(where.path) if where.is_file else contextlib.nullcontext():
            if where.is_file:
                _bind_file(made, wanted)
            else:
                with _blame("listen"):
                    _bind(made, where)
            if where.kind in CONNECTED:
                with _blame("backlog"):
                    made.listen(wanted.backlog)
    except BaseException:
        made.close()
        raise
    return made.detach()


_being_opened: Final[set[str]] = set()
_looking: Final = threading.Lock()


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Be the only one here who opens a path: bound and not yet listened on, a socket looks as if nobody served it.

    Raises Unbound for the second one. The lock itself is held for no system call: a mount may be dead.
    """
    with _looking:
        taken = path in _being_opened
        _being_opened.add(path)
    if taken:
        raise Unbound(OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)), "listen")
    try:
        yield
    finally:
        with _looking:
            _being_opened.discard(path)


@contextlib.contextmanager
def _blame(option: str, hint: str = "") -> Iterator[None]:
    try:
        yield
    except Unbound:
        raise
    except OSError as error:
        raise Unbound(error, option, hint or _HINTS.get(error.errno or 0, "")) from error


_HINTS: Final = {
    errno.EADDRNOTAVAIL: "no device has this address; free_bind = true binds it all the same",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE, paths a directory that arje's user may write to",
    errno.EPERM: "arje's user may not do that",
    errno.EAFNOSUPPORT: "the kernel does not know this family of addresses",
    errno.ENODEV: "there is no such device",
    errno.EPROTONOSUPPORT: "the kernel does not know this protocol",
}


# -- sockets -----------------------------------------------------------------------------------------------------------


def _socket(where: Address) -> socket.socket:
    """Make an unbound socket; one for every address is of IPv6, which takes IPv4 as well, where there is IPv6."""
    kind = _TYPES[where.kind]
    if where.kind in LOCAL:
        return socket.socket(socket.AF_UNIX, kind)
    if where.kind is Kind.NETLINK:
        return socket.socket(socket.AF_NETLINK, kind, where.number)
    if where.kind is Kind.VSOCK:
        return socket.socket(socket.AF_VSOCK, kind)
    if where.host:
        return socket.socket(socket.AF_INET6 if ":" in where.host else socket.AF_INET, kind)
    try:
        return socket.socket(socket.AF_INET6, kind)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        return socket.socket(socket.AF_INET, kind)


def _options(made: socket.socket, wanted: Socket) -> None:
    if wanted.kind in IP:
        _ip_options(made, wanted)
    flags = (
        ("keep_alive", socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        ("no_delay", socket.IPPROTO_TCP, socket.TCP_NODELAY),
        ("broadcast", socket.SOL_SOCKET, socket.SO_BROADCAST),
        ("pass_credentials", socket.SOL_SOCKET, socket.SO_PASSCRED),
        ("reuse_port", socket.SOL_SOCKET, socket.SO_REUSEPORT),
    )
    for name, level, option in flags:
        if getattr(wanted, name):
            with _blame(name):
                made.setsockopt(level, option, 1)
    for name, option, value in (
        ("priority", socket.SO_PRIORITY, wanted.priority),
        ("mark", socket.SO_MARK, wanted.mark),
    ):
        if value is not None:
            with _blame(name, "this needs CAP_NET_ADMIN"):
                made.setsockopt(socket.SOL_SOCKET, option, value)
    _buffer(made, "receive_buffer", wanted.receive_buffer, socket.SO_RCVBUF, _SO_RCVBUFFORCE)
    _buffer(made, "send_buffer", wanted.send_buffer, socket.SO_SNDBUF, _SO_SNDBUFFORCE)


def _ip_options(made: socket.socket, wanted: Socket) -> None:
    six, level = made.family is socket.AF_INET6, socket.IPPROTO_IP
    if wanted.kind is Kind.TCP:
        with _blame("listen"):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if six:
        level = socket.IPPROTO_IPV6
        alone = wanted.bind_ipv6_only
        if alone is not BindIPv6Only.DEFAULT or not wanted.address.host:
            with _blame("bind_ipv6_only"):
                made.setsockopt(level, socket.IPV6_V6ONLY, int(alone is BindIPv6Only.IPV6_ONLY))
    if wanted.free_bind:
        with _blame("free_bind"):
            made.setsockopt(level, _IPV6_FREEBIND if six else _IP_FREEBIND, 1)
    if wanted.transparent:
        with _blame("transparent", "this needs CAP_NET_ADMIN"):
            made.setsockopt(level, _IPV6_TRANSPARENT if six else socket.IP_TRANSPARENT, 1)
    if wanted.bind_to_device:
        with _blame("bind_to_device"):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, wanted.bind_to_device.encode() + b"\0")


def _buffer(made: socket.socket, name: str, size: int, option: int, force: int) -> None:
    """Set a buffer's size over the limit of the machine, or up to it where we may not (socket(7))."""
    if not size:
        return
    with _blame(name):
        try:
            made.setsockopt(socket.SOL_SOCKET, force, size)
        except PermissionError:
            made.setsockopt(socket.SOL_SOCKET, option, size)


def _bind(made: socket.socket, where: Address) -> None:
    if where.kind in LOCAL:
        made.bind("\0" + where.path[1:])
    elif where.kind is Kind.NETLINK:
        made.bind((0, where.more if where.more < 2**31 else where.more - 2**32))
    elif where.kind is Kind.VSOCK:
        made.bind((socket.VMADDR_CID_ANY if where.more == ANY_CID else where.more, where.number))
    elif made.family is socket.AF_INET6:
        host, _, scope = where.host.partition("%")
        made.bind((host or "::", where.number, 0, _scope(scope) if scope else 0))
    else:
        made.bind((where.host or "0.0.0.0", where.number))


def _scope(name: str) -> int:
    return int(name) if name.isdecimal() else socket.if_nametoindex(name)


# -- files -------------------------------------------------------------------------------------------------------------


def _bind_file(made: socket.socket, wanted: Socket) -> None:
    path = wanted.address.path
    _make_parents(wanted)
    with _blame("listen"):
        os.fchmod(made.fileno(), 0)  # the file is made with the mode of the socket (unix_bind in net/unix/af_unix.c)
        try:
            made.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(path, made.type):
                raise
            Path(path).unlink()
            made.bind(path)
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise Unbound(OSError(errno.EEXIST, "somebody has put something else there"), "listen")
        _hand_over(f"/proc/self/fd/{fd}", wanted)
    finally:
        os.close(fd)
    _link(wanted)


def _is_stale(path: str, kind: int) -> bool:
    """Whether a path is a socket that nobody serves any more (connect(2): ECONNREFUSED)."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, kind) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _fifo(wanted: Socket) -> int:
    """Make a FIFO, or take one that is there. Open for writing as well: else its end would be told again and again."""
    path = wanted.address.path
    _make_parents(wanted)
    with _blame("listen"):
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise Unbound(OSError(errno.EEXIST, "it is there already and no FIFO"), "listen", "remove it")
        _hand_over(f"/proc/self/fd/{fd}", wanted)
        _link(wanted)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _special(wanted: Socket) -> int:
    with _blame("listen"):
        access = os.O_RDWR if wanted.writable else os.O_RDONLY
        fd = os.open(wanted.address.path, access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise Unbound(OSError(errno.EISDIR, os.strerror(errno.EISDIR)), "listen")
    return fd


def _mqueue(wanted: Socket) -> int:
    with _blame("listen"):
        fd = native.mq_open(wanted.address.path, 0o600, wanted.max_messages, wanted.message_size)
    try:
        _hand_over(f"/proc/self/fd/{fd}", wanted)
    except BaseException:
        os.close(fd)
        raise
    return fd


#: What is no socket, and how it is opened.
_OPENERS: Final = {Kind.FIFO: _fifo, Kind.SPECIAL: _special, Kind.MQUEUE: _mqueue}


def _hand_over(place: str, wanted: Socket) -> None:
    """Give a file its owner, then its mode: a change of owner comes while nobody else may use it."""
    user = _id_of(wanted.user, "user")
    group = _id_of(wanted.group, "group")
    if user >= 0 or group >= 0:
        with _blame("user" if user >= 0 else "group", "only root gives files away"):
            os.chown(place, user, group)
    with _blame("mode"):
        Path(place).chmod(wanted.mode)


def _id_of(name: str | int | None, option: str) -> int:
    if name is None or isinstance(name, int):
        return -1 if name is None else name
    try:
        return pwd.getpwnam(name).pw_uid if option == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isdecimal():
            return int(name)
        raise Unbound(OSError(errno.ENOENT, f"no {option} {name!r}"), option, "make it, or name another") from None


def _make_parents(wanted: Socket) -> None:
    with _blame("directory_mode"):
        make_directories(Path(wanted.address.path).parent, wanted.directory_mode)


def make_directories(directory: Path, mode: int) -> None:
    """Make a directory and what is above it, each that is missing with exactly this mode. Raises OSError."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    for place in reversed(missing):
        with contextlib.suppress(FileExistsError):
            place.mkdir(0o700)
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:  # the very one, whatever the umask was
                os.fchmod(fd, mode)
            finally:
                os.close(fd)


def _link(wanted: Socket) -> None:
    """Make the symbolic links; one that is there leads here from now on, anything else is in the way."""
    for name in wanted.symlinks:
        with _blame("symlinks"):
            link = Path(name)
            make_directories(link.parent, wanted.directory_mode)
            if link.is_symlink():
                link.unlink()
            link.symlink_to(wanted.address.path)


def remove(wanted: Socket) -> None:
    """Take a socket that is closed out of the file system, and the links that lead to it. Raises OSError."""
    path = wanted.address.path
    for name in wanted.symlinks:
        with contextlib.suppress(OSError):
            if os.readlink(name) == path:
                Path(name).unlink()
    with contextlib.suppress(FileNotFoundError):
        native.mq_unlink(path) if wanted.kind is Kind.MQUEUE else Path(path).unlink()
