"""How many connections there are on a listening socket, as /proc/net says."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from arje.kernel.established import count


@contextmanager
def listening(family: int, address: object, kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as made:
        made.bind(address)  # type: ignore[arg-type] # each family has its own
        made.listen()
        yield made


def of(where: str, place: Path) -> tuple[int, object, int]:
    return {
        "ipv4": (socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_STREAM),
        "every": (socket.AF_INET, ("0.0.0.0", 0), socket.SOCK_STREAM),
        "ipv6": (socket.AF_INET6, ("::1", 0), socket.SOCK_STREAM),
        "both": (socket.AF_INET6, ("::", 0), socket.SOCK_STREAM),
        "path": (socket.AF_UNIX, str(place / "a socket"), socket.SOCK_STREAM),
        "abstract": (socket.AF_UNIX, f"\0arje-test-{place.name}", socket.SOCK_STREAM),
        "packets": (socket.AF_UNIX, str(place / "packets"), socket.SOCK_SEQPACKET),
    }[where]


@pytest.mark.parametrize("where", ["ipv4", "every", "ipv6", "both", "path", "abstract", "packets"])
def test_connections_count_from_their_arrival_until_the_service_closes_them(where: str, place: Path) -> None:
    family, address, kind = of(where, place)
    with listening(family, address, kind) as one, ExitStack() as stack:
        assert count([one.fileno()]) == 0
        client = stack.enter_context(socket.socket(family if where != "both" else socket.AF_INET, kind))
        name = one.getsockname()
        client.connect({"every": ("127.0.0.1", name[1]), "both": ("127.0.0.1", name[1])}.get(where, name))
        assert count([one.fileno()]) == 1  # it waits to be accepted
        accepted, _ = one.accept()
        assert count([one.fileno()]) == 1
        client.shutdown(socket.SHUT_WR)
        assert count([one.fileno()]) == 1  # it has asked, and waits for the answer
        accepted.close()
        client.close()
        assert count([one.fileno()]) == 0


def test_connections_of_others_do_not_count(place: Path) -> None:
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as mine, listening(socket.AF_INET, ("127.0.0.1", 0)) as other:
        with socket.create_connection(other.getsockname()):
            assert (count([mine.fileno()]), count([mine.fileno(), other.fileno()])) == (0, 1)
        port = mine.getsockname()[1]
        with listening(socket.AF_INET, ("127.0.0.2", port)) as beside, socket.create_connection(beside.getsockname()):
            assert (count([mine.fileno()]), count([beside.fileno()])) == (0, 1)
