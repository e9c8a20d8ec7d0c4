"""How many connections there are on what somebody listens on, from /proc/net (proc_pid_net(5)).

A connection that was accepted has its listener's address: a port (and an IP address, unless the listener has all), or a
path. What still waits in the queue counts as well, and so does one whose peer has said its last word: whoever serves it
may still have to answer. Connections through other network namespaces than ours are not seen; a listener that was opened
here has none.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

#: Established, being established, and closed by the other side alone (net/tcp_states.h), as /proc/net/tcp writes them.
_OPEN: Final = frozenset({"01", "03", "08"})
_LISTENS: Final = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def count(fds: Iterable[int], proc: Path = Path("/proc")) -> int:
    """Return the number of connections on these listening sockets, TCP or unix. Raises OSError. Blocks."""
    found, ports, paths = 0, list[tuple[int, Ip]](), set[str]()
    for fd in fds:
        with socket.socket(fileno=os.dup(fd)) as one:
            name = one.getsockname()
            if one.family == socket.AF_UNIX:
                paths.add(_path(name))
            else:
                ports.append((name[1], _plain(ipaddress.ip_address(name[0].partition("%")[0]))))
    if ports:
        found += sum(_is_on(where, ports) for where in _tcp(proc))
    if paths:
        found += sum(path in paths for path in _unix(proc))
    return found


def _path(name: str | bytes) -> str:
    """Return the name of a unix socket as /proc/net/unix writes it: an abstract one begins with @ there."""
    text = os.fsdecode(name)
    return "@" + text[1:].replace("\0", "@") if text.startswith("\0") else text


def _is_on(where: tuple[int, Ip], listeners: list[tuple[int, Ip]]) -> bool:
    return any(where[0] == port and (ip.is_unspecified or ip == where[1]) for port, ip in listeners)


def _tcp(proc: Path) -> Iterator[tuple[int, Ip]]:
    """Yield our end of every open connection."""
    for file in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            for line in (proc / "net" / file).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] in _OPEN:
                    ip, _, port = words[1].partition(":")
                    yield int(port, 16), _plain(_ip(ip))


def _ip(text: str) -> Ip:
    """Return an address of 32-bit words in the machine's own order."""
    words = [int(text[place : place + 8], 16) for place in range(0, len(text), 8)]
    return ipaddress.ip_address(b"".join(word.to_bytes(4, _ORDER) for word in words))


_ORDER: Final = "little" if socket.htonl(1) != 1 else "big"


def _plain(ip: Ip) -> Ip:
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


def _unix(proc: Path) -> Iterator[str]:
    """Yield the path of every unix socket that does not listen; of a connection that is its listener's."""
    for line in (proc / "net/unix").read_text(errors="surrogateescape").splitlines()[1:]:
        words = line.split(maxsplit=7)
        if len(words) == 8 and not int(words[3], 16) & _LISTENS:
            yield words[7]
