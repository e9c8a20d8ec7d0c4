"""What a card may say of sockets, activation and paths; and what it may not, with the field and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from arje.card.activation import When
from arje.card.card import Card
from arje.card.listen import ANY_CID, Address, Kind, address
from arje.card.loader import load_text

PROGRAM = "\n[payload]\nexec = '/bin/true'\n"


def card(text: str) -> Card:
    loaded = load_text(Path("web.toml"), text + PROGRAM)
    assert not loaded.problems, loaded.problems
    return loaded.cards[0]


def problem(text: str) -> tuple[str, str, str]:
    """Return field, message and remedy of the only problem."""
    (found,) = load_text(Path("web.toml"), text + PROGRAM).problems
    assert found.line
    return found.field, found.message, found.remedy


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("8080", Address(kind=Kind.TCP, number=8080)),
        ("tcp:8080", Address(kind=Kind.TCP, number=8080)),
        ("tcp:*:8080", Address(kind=Kind.TCP, number=8080)),
        ("127.0.0.1:80", Address(kind=Kind.TCP, host="127.0.0.1", number=80)),
        ("udp:[fe80::1%eth0]:53", Address(kind=Kind.UDP, host="fe80::1%eth0", number=53)),
        ("[::1]:80", Address(kind=Kind.TCP, host="::1", number=80)),
        ("/run/x", Address(kind=Kind.UNIX, path="/run/x")),
        ("@x", Address(kind=Kind.UNIX, path="@x")),
        ("unix-datagram:/run/x:y", Address(kind=Kind.UNIX_DATAGRAM, path="/run/x:y")),
        ("unix-seqpacket:@x", Address(kind=Kind.UNIX_SEQPACKET, path="@x")),
        ("fifo:/run/x", Address(kind=Kind.FIFO, path="/run/x")),
        ("special:/proc/kmsg", Address(kind=Kind.SPECIAL, path="/proc/kmsg")),
        ("netlink:kobject-uevent:1", Address(kind=Kind.NETLINK, number=15, more=1)),
        ("netlink:route", Address(kind=Kind.NETLINK, number=0)),
        ("mqueue:/x", Address(kind=Kind.MQUEUE, path="/x")),
        ("vsock:1024", Address(kind=Kind.VSOCK, number=1024, more=ANY_CID)),
        ("vsock:2:1024", Address(kind=Kind.VSOCK, number=1024, more=2)),
    ],
)
def test_an_address_is_one_word(word: str, expected: Address) -> None:
    assert address(word) == expected
    (socket,) = card(f"sockets = '{word}'").sockets
    assert socket.address == expected
    assert socket.listen.startswith(f"{expected.kind.value}:")


@pytest.mark.parametrize(
    ("word", "message", "remedy"),
    [
        ("0", "has no port", "1 to 65535"),
        ("tcp:65536", "has no port", "1 to 65535"),
        ("tcp:localhost:80", "'localhost' is no IP address", "127.0.0.1"),
        ("tcp:::1:80", "is no address", "brackets"),
        ("udo:53", "is no address", "did you mean 'udp'?"),
        ("web", "is no address", "tcp:127.0.0.1:8080"),
        ("unix:run/x", "is no absolute path", "begin it with"),
        ("unix:/run/", "is no absolute path of a file", "begin it with"),
        (f"unix:/{'x' * 107}", "longer than 107 bytes", "shorter"),
        ("netlink:rout", "is no netlink", "did you mean 'route'?"),
        ("netlink:route:x", "is no netlink", "did you mean 'route'?"),
        ("mqueue:/x/y", "is no queue", "mqueue:/NAME"),
        ("vsock:x", "is no vsock", "vsock:PORT"),
    ],
)
def test_what_is_no_address_is_told_with_what_to_write(word: str, message: str, remedy: str) -> None:
    field, said, hint = problem(f"sockets = ['8080', '{word}']")
    assert field == "sockets.1.listen"
    assert message in said
    assert remedy in hint


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("sockets = [{listen = '80', mode = '0660'}]", "sockets.0.mode", "a tcp socket has none"),
        ("sockets = [{listen = '@x', user = 'root'}]", "sockets.0.user", "an abstract name is no file"),
        ("sockets = [{listen = 'fifo:/x', backlog = 3}]", "sockets.0.backlog", "a fifo socket has none"),
        ("sockets = [{listen = 'mqueue:/x', max_messages = 3}]", "sockets.0.max_messages", "both, or neither"),
        ("sockets = [{listen = '/x', mode = '0o999'}]", "sockets.0.mode", "'0o999' is no file mode"),
        ("sockets = [{listen = '/x', mode = 432}]", "sockets.0.mode", "432 is no file mode"),
        ("sockets = [{listen = '/x', name = 'a:b'}]", "sockets.0.name", "'a:b' is no name"),
        ("sockets = [{listen = '80', receive_buffer = '8X'}]", "sockets.0.receive_buffer", "'8X' is no size"),
        ("sockets = [{lisen = '80', listen = '80'}]", "sockets.0.lisen", "no such field"),
        ("sockets = [80]", "sockets.0", "80 is not text"),
        ("sockets = ['80', 'tcp:80']", "sockets.1.listen", "'tcp:80' is there already"),
        ("activation = 'on-demand'", "activation", "there is nothing to listen on"),
        ("activation = 'on-demnd'\nsockets = '80'", "activation.when", "'on-demnd' is not known"),
        ("activation = 'per-connection'\nsockets = 'udp:80'", "sockets.0.listen", "udp:80 takes no connections"),
        ("activation = 'per-connection'\nsockets = '80'\npaths = 'exists:/x'", "paths", "connections start it already"),
        ("paths = 'exist:/x'", "paths.0.watch", "'exist:/x' is nothing to watch"),
        ("paths = 'exists:x'", "paths.0.watch", "'x' is no absolute path"),
        (
            "paths = [{watch = 'exists-glob:/x*', make_directory = true}]",
            "paths.0.make_directory",
            "names no directory",
        ),
        ("timer = {every = '1h'}\npaths = 'exists:/x'", "timer", "start it already"),
        ("fd_store_max = -1", "fd_store_max", "-1 is out of range"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_field(text: str, field: str, message: str) -> None:
    found, said, remedy = problem(text)
    assert (found, message in said) == (field, True), said
    assert remedy or message == "no such field"


def test_one_stdio_needs_one_socket() -> None:
    field, said, _ = problem("sockets = ['80', '81']\n[soma.stdio]\nstdin = 'socket'")
    assert (field, said) == ("soma.stdio", "the card has 2 sockets, where one is meant")
    assert problem("[soma.stdio]\nstdout = 'socket'")[1] == "the card has no sockets, where one is meant"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("fd_store_max = 3", "fd_store_max"),
        ("[hooks]\npre = ['/bin/true']", "hooks"),
        ("[supervision]\nreadiness = 'notify'", "supervision.readiness"),
        ("[supervision]\nhealth = 'tcp:127.0.0.1:80'", "supervision.health"),
        ("[supervision]\nwatchdog = '1s'", "supervision.watchdog"),
        ("[supervision]\nreload = 'HUP'", "supervision.reload"),
    ],
)
def test_what_a_process_for_each_connection_does_not_have_is_refused(more: str, field: str) -> None:
    found, said, _ = problem(f"sockets = '80'\nactivation = 'per-connection'\n{more}")
    assert (found, said) == (field, "a process for each connection has none")


@pytest.mark.parametrize(("number", "good"), [(3, False), (6, False), (7, True)])
def test_readiness_is_told_on_a_descriptor_behind_those_that_are_passed(number: int, *, good: bool) -> None:
    text = f"sockets = ['80', '81']\nfd_store_max = 2\n[supervision]\nreadiness = 'fd:{number}'"
    if good:
        card(text)
    else:
        assert problem(text)[::2] == ("supervision.readiness.fd", "write a number from 7 on")


def test_a_group_listens_for_nobody() -> None:
    (found,) = load_text(Path("web.toml"), "sockets = '80'\npayload = 'virtual'\n").problems
    assert (found.field, found.message) == ("sockets", "a group has no process to use them")


def test_words_and_tables_mean_the_same() -> None:
    table = "[activation]\nwhen = 'on-demand'\n[[sockets]]\nlisten = 'tcp:80'\n[[paths]]\nwatch = 'exists:/x'\n"
    words = "activation = 'on-demand'\nsockets = '80'\npaths = 'exists:/x'\n"
    assert (card(table).sockets, card(table).paths) == (card(words).sockets, card(words).paths)
    assert card(words).activation.when is When.ON_DEMAND
    assert card(words).on_demand


@pytest.mark.parametrize(
    ("text", "demand"), [("sockets = '80'", False), ("paths = 'exists:/x'", True), ("activation = 'start'", False)]
)
def test_paths_start_it_only_when_they_hold(text: str, *, demand: bool) -> None:
    assert card(text).on_demand is demand
