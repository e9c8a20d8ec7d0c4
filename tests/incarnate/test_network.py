"""Networks on a real kernel, in a net namespace that each test makes for itself: the machine's own is never touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arje.card.loader import load_text
from arje.card.network import Network, Pasta, Route, Veth
from arje.card.permissions import networking
from arje.card.soma import Namespaces
from arje.errors import CardProblem, IncarnationRefused, SetupFailed
from arje.incarnate.spawn import Incarnator
from arje.incarnation import Cause, Degradation, Step
from arje.kernel.capabilities import CapabilitySet
from tests.conftest import Manager, sh
from tests.incarnate.conftest import Ran, card_of
from tests.incarnate.test_readback import grants, waiting

Run = Callable[..., Ran]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed for a net namespace of the test's own")
needs_pasta = pytest.mark.skipif(shutil.which("pasta") is None, reason="pasta is not installed")
BRIDGE = {"bridge": "br0", "create_bridge": True, "bridge_address": ("10.0.0.1/24",)}
PYTHON = "/usr/bin/python3"


def ip(*words: str) -> Any:
    done = subprocess.run(["ip", "-json", *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout or "[]")


def devices() -> set[str]:
    return {link["ifname"] for link in ip("link")}


@pytest.fixture
def leaves_nothing(own_network: None) -> Iterator[None]:
    before = devices()
    yield
    assert devices() == before


def leg(*address: str, **more: Any) -> Network:
    return Network(veth=Veth(**{**BRIDGE, "address": address, **more}))


def listen(address: str, port: int) -> str:
    """A shell's line that becomes a server which says hello."""
    script = f"""import socket
s = socket.create_server(("{address}", {port}))
print("up", flush=True)
while True: s.accept()[0].sendall(b"hello")"""
    return f"exec {PYTHON} -c '{script}'"


def losses(ran: Ran) -> list[tuple[str, Cause]]:
    return [(loss.feature, loss.cause) for loss in ran.incarnation.degradations]


# -- none and loopback -------------------------------------------------------------------------------------------------

TRY = """
import socket, sys
for place in sys.argv[1:]:
    with socket.socket() as mine:
        print(mine.connect_ex((place, 9)))
"""


def test_none_has_not_even_itself_and_loopback_has_nothing_but_itself(run: Run) -> None:
    unreachable, refused = "101", "111"
    none = run(PYTHON, "-c", TRY, "127.0.0.1", "192.0.2.9", network=Network(mode="none"))
    assert none.output.split() == [unreachable, unreachable]
    own = run(PYTHON, "-c", TRY, "127.0.0.1", "192.0.2.9", network=Network(mode="loopback"))
    assert own.output.split() == [refused, unreachable]
    assert losses(none) == losses(own) == []


def test_the_host_s_network_is_no_namespace_at_all(run: Run) -> None:
    ran = run("readlink", "/proc/self/ns/net", network=Network(mode="host"))
    assert ran.output.strip() == os.readlink("/proc/self/ns/net")


def test_a_namespace_alone_still_has_its_loopback(run: Run) -> None:
    ran = run(PYTHON, "-c", TRY, "127.0.0.1", namespaces=Namespaces(net=True))
    assert ran.output.strip() == "111"


# -- veth --------------------------------------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("spaces", [{}, {"pid": True, "mount": True}, {"user": True, "mount": True, "pid": True}])
def test_device_addresses_and_routes_are_what_a_look_inside_shows(
    leaves_nothing: None, incarnator: Incarnator, spaces: dict[str, bool]
) -> None:
    network = leg("10.0.0.2/24", "fd00::2/64", gateway=("10.0.0.1", "fd00::1"), mac="02:00:00:00:00:05", mtu=1400)
    network = replace(network, routes=(Route(to="10.9.0.0/16", via="10.0.0.9", metric=7), Route(to="10.8.0.0/16")))
    with waiting(incarnator, network=network, namespaces=Namespaces(**spaces)) as outcome:
        reported = grants(outcome)
        look = ["nsenter", f"--target={outcome.incarnation.pid}", "--net", "ip", "-json"]

        def inside(*words: str) -> Any:
            return json.loads(subprocess.run([*look, *words], capture_output=True, check=True).stdout)

        (device,) = [found for found in inside("addr") if found["ifname"] == "eth0"]
        own = {f"{a['local']}/{a['prefixlen']}" for a in device["addr_info"] if a["scope"] == "global"}
        assert own == {"10.0.0.2/24", "fd00::2/64"}
        assert (device["address"], device["mtu"], "UP" in device["flags"]) == ("02:00:00:00:00:05", 1400, True)
        (outer,) = [link for link in ip("link") if link.get("master") == "br0"]
        assert reported["network.veth"].granted == (
            f"eth0 up 10.0.0.2/24 fd00::2/64 mac 02:00:00:00:00:05 mtu 1400, {outer['ifname']} on br0"
        )
        routes = {(r["dst"], r.get("gateway", "")) for r in [*inside("route"), *inside("-6", "route")]}
        wanted = {("default", "10.0.0.1"), ("default", "fd00::1"), ("10.9.0.0/16", "10.0.0.9"), ("10.8.0.0/16", "")}
        assert wanted <= routes
        assert reported["network.routes"].granted.count("via") == 3


@needs_root
def test_two_services_on_one_bridge_reach_each_other_and_leave_nothing(
    leaves_nothing: None, manage: Callable[..., Manager]
) -> None:
    table = 'network = {{ veth = {{ bridge = "br0", create_bridge = true, address = "{}" }} }}'
    serve = listen("10.0.0.2", 7)
    ask = f"exec {PYTHON} -c 'import socket; print(socket.create_connection((\"10.0.0.2\", 7)).recv(9).decode())'"
    manager = manage({"server": sh(serve, table.format("10.0.0.2/24"))})
    manager.ctl("start", "server")
    manager.await_line("server", "up")
    manager.write("client", sh(ask, table.format("10.0.0.3/24"), '[supervision]\nkind = "one-shot"'))
    manager.ctl("update")  # which starts what is new
    manager.settle("client")
    assert manager.lines("client") == ["hello"]
    manager.ctl("stop", "server", "client")
    manager.settle("server", "client")
    manager.stop()


@needs_root
def test_a_bridge_that_arje_made_goes_with_its_last_service_and_another_one_stays(
    own_network: None, incarnator: Incarnator
) -> None:
    with waiting(incarnator, network=leg("10.0.0.2/24")):
        with waiting(incarnator, network=leg("10.0.0.3/24")):
            assert len([link for link in ip("link") if link.get("master") == "br0"]) == 2
        assert "br0" in devices()
    assert "br0" not in devices()
    subprocess.run(["ip", "link", "add", "br0", "type", "bridge"], check=True)
    with waiting(incarnator, network=leg("10.0.0.2/24")):
        pass
    assert "br0" in devices()


@needs_root
def test_a_payload_that_is_killed_leaves_no_device(leaves_nothing: None, run: Run) -> None:
    ran = run("sh", "-c", "kill -9 $$", network=leg("10.0.0.2/24", host_name="leg0"))
    assert str(ran.exit) == "signal KILL"


@needs_root
def test_a_missing_bridge_refuses_and_nothing_has_run(leaves_nothing: None, run: Run, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(IncarnationRefused, match="there is no bridge br0"):
        run("touch", str(canary), network=leg("10.0.0.2/24", create_bridge=False, bridge_address=()))
    with pytest.raises(IncarnationRefused, match="up0 is no bridge but a veth device"):
        run("touch", str(canary), network=leg("10.0.0.2/24", bridge="up0"))
    assert not canary.exists()


@needs_root
def test_a_missing_bridge_that_a_card_can_live_without_is_one_degradation_and_is_foreseen(
    leaves_nothing: None, run: Run, incarnator: Incarnator
) -> None:
    soma = {"network": leg("10.0.0.2/24", create_bridge=False, bridge_address=()), "prefer": ("network",)}
    ran = run("true", **soma)
    assert losses(ran) == [("network.veth", Cause.HELPER_MISSING)]
    (foreseen,) = incarnator.dry_run(card_of("true", **soma)).degradations
    (lost,) = ran.incarnation.degradations
    assert (foreseen.feature, foreseen.cause, foreseen.detail) == (lost.feature, lost.cause, lost.detail)
    assert lost.kind == "NetworkSkipped"


@needs_root
def test_a_name_that_is_taken_refuses_and_the_other_device_stays(leaves_nothing: None, run: Run) -> None:
    with pytest.raises(IncarnationRefused) as refused:
        run("true", network=leg("10.0.0.2/24", host_name="up0"))
    (lost,) = refused.value.degradations
    assert (lost.cause, lost.errno, lost.syscall) == (Cause.BUSY, 17, "rtnetlink RTM_NEWLINK")


@needs_root
def test_what_the_kernel_refuses_inside_is_told_with_its_field_or_is_one_degradation(
    leaves_nothing: None, run: Run
) -> None:
    twice = replace(leg("10.0.0.2/24"), routes=(Route(to="10.1.0.0/16"), Route(to="10.1.0.0/16")))
    with pytest.raises(SetupFailed) as failed:
        run("true", network=twice)
    told = failed.value
    assert (told.step, told.errno, told.field) == (Step.NETWORK, 17, "soma.network.routes")
    assert "eth0 10.1.0.0/16 (rtnetlink RTM_NEWROUTE)" in str(told)
    ran = run("true", network=twice, prefer=("network.routes",))
    assert losses(ran) == [("network.routes", Cause.BUSY)]


@needs_root
def test_a_set_up_that_fails_later_leaves_no_device(leaves_nothing: None, run: Run) -> None:
    with pytest.raises(SetupFailed):
        run("/no/such", network=leg("10.0.0.2/24"))
    with pytest.raises(IncarnationRefused):
        run("true", network=leg("10.0.0.2/24"), cpu_affinity=(0, 1023), strict_caps=True)


def test_an_ordinary_user_is_told_why_there_is_no_veth(incarnator: Incarnator) -> None:
    known = incarnator.capabilities
    lost = Degradation(feature="", requested="", obtained="", cause=Cause.NO_CAPABILITY)
    no = replace(known["network.veth"], available=False, cause=lost.cause, detail="CAP_NET_ADMIN is missing")
    poor = replace(known, features={**known.features, "network.veth": no})
    assert "CAP_NET_ADMIN is missing" in Incarnator(poor, None).dry_run(card_of("true", network=leg())).refusal


# -- pasta -------------------------------------------------------------------------------------------------------------


def pastas() -> set[int]:
    found = set()
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            same = os.readlink(comm.parent / "ns/net") == os.readlink("/proc/self/ns/net")
            if comm.read_text().startswith(("pasta", "passt")) and same:
                found.add(int(comm.parent.name))
        except OSError:
            continue
    return found


@needs_root
@needs_pasta
@pytest.mark.parametrize("user", [False, True], ids=["root", "ordinary user"])
def test_pasta_forwards_a_port_and_ends_with_its_service(
    leaves_nothing: None, manage: Callable[..., Manager], user: bool
) -> None:
    serve = listen("0.0.0.0", 8000)
    manager = manage({"web": sh(serve, 'network = { pasta = { tcp = "127.0.0.1/18080:8000" } }')}, user=user)
    manager.ctl("start", "web")
    manager.await_line("web", "up")
    with socket.create_connection(("127.0.0.1", 18080), timeout=20) as client:
        assert client.recv(9) == b"hello"
    found = manager.show("web")
    (grant,) = [g for g in found["isolation"]["grants"] if g["feature"] == "network.pasta"]
    assert grant["ok"]
    assert re.match(r"eth0 up 192\.0\.2\.2/24 .*, default via 192\.0\.2\.1", grant["granted"])
    assert len(pastas()) == 1
    os.kill(found["pid"], signal.SIGKILL)
    manager.until("web", lambda now: now["state"] == "failed")
    assert pastas() == set()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 18080), timeout=20)
    manager.stop()


@needs_root
@needs_pasta
def test_pasta_gives_the_addresses_of_the_card_and_hides_the_host_s_loopback(own_network: None, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as host:
        port = host.getsockname()[1]
        script = f"import socket; s = socket.socket(); s.settimeout(20); print(s.connect_ex(('10.0.2.2', {port})))"
        pasta = Pasta(address="10.0.2.15/24", gateway="10.0.2.2")
        opened = run(PYTHON, "-c", script, network=Network(pasta=replace(pasta, reach_host=True)))
        assert opened.output.strip() == "0"
        (grant,) = [g for g in opened.incarnation.grants if g.feature == "network.pasta"]
        assert "10.0.2.15/24" in grant.granted
        assert "default via 10.0.2.2" in grant.granted
        shut = run(PYTHON, "-c", script.replace("20", "0.5"), network=Network(pasta=pasta))
        assert shut.output.strip() != "0"
    assert pastas() == set()


@needs_root
@needs_pasta
def test_a_pasta_that_cannot_work_refuses_with_its_own_words_or_is_one_degradation(own_network: None, run: Run) -> None:
    subprocess.run(["ip", "link", "del", "up0"], check=True)
    with pytest.raises(IncarnationRefused, match="No external routable interface"):
        run("true", network=Network(pasta=Pasta()))
    ran = run(PYTHON, "-c", TRY, "127.0.0.1", "192.0.2.9", network=Network(pasta=Pasta()), prefer=("network",))
    assert losses(ran) == [("network.pasta", Cause.HELPER_MISSING)]
    assert ran.output.split() == ["111", "101"]
    assert pastas() == set()


def without_pasta(known: CapabilitySet) -> CapabilitySet:
    detail = "pasta is not installed"
    no = replace(known["network.pasta"], available=False, cause=Cause.HELPER_MISSING, detail=detail)
    return replace(known, features={**known.features, "network.pasta": no})


def test_where_pasta_is_missing_a_card_is_refused_or_falls_back_to_the_host_and_says_so(incarnator: Incarnator) -> None:
    poor = Incarnator(without_pasta(incarnator.capabilities), None)
    assert "pasta is not installed" in poor.dry_run(card_of("true", network=Network(pasta=Pasta()))).refusal
    meant = networking("outbound")
    soma = {"network": Network(pasta=Pasta(**meant.network["pasta"])), "prefer": meant.prefer}
    with waiting(poor, **soma) as outcome:
        (lost,) = outcome.incarnation.degradations
        assert (lost.feature, lost.obtained, lost.cause) == (
            "network.pasta",
            "the host's network",
            Cause.HELPER_MISSING,
        )
        assert os.readlink(f"/proc/{outcome.incarnation.pid}/ns/net") == os.readlink("/proc/self/ns/net")
    (foreseen,) = poor.dry_run(card_of("true", **soma)).degradations
    assert replace(foreseen, since=0) == replace(lost, since=0)


# -- cards -------------------------------------------------------------------------------------------------------------


def load(network: str) -> tuple[tuple[CardProblem, ...], Network | None]:
    text = f'label = "x"\npayload = {{ exec = "/bin/true" }}\n[soma]\nnetwork = {network}\n'
    loaded = load_text(Path("x.toml"), text)
    return loaded.problems, loaded.cards[0].soma.network if loaded.cards else None


def test_words_and_single_values_are_read() -> None:
    assert load('"none"') == ((), Network(mode="none"))
    problems, network = load(
        '{ veth = { bridge = "br0", address = "10.0.0.2/24", gateway = "10.0.0.1" }, '
        'routes = ["10.1.0.0/16 via 10.0.0.9 metric 5", { to = "10.2.0.0/16" }] }'
    )
    veth = Veth(bridge="br0", address=("10.0.0.2/24",), gateway=("10.0.0.1",))
    assert not problems
    assert network == Network(
        veth=veth, routes=(Route(to="10.1.0.0/16", via="10.0.0.9", metric=5), Route(to="10.2.0.0/16"))
    )
    assert load('{ pasta = { tcp = "8080:80" } }')[1] == Network(pasta=Pasta(tcp=("8080:80",)))


VETH = '{ veth = { bridge = "br0", address = "10.0.0.2/24", %s } }'


@pytest.mark.parametrize(
    ("network", "field", "message"),
    [
        ('"nothing"', "mode", "no network 'nothing'"),
        ("7", "", "no network"),
        ("{}", "", "one of mode, veth and pasta"),
        ('{ mode = "host", pasta = {} }', "", "one of mode, veth and pasta"),
        ('{ veth = { address = "10.0.0.2/24" } }', "veth.bridge", "is missing"),
        ('{ veth = { bridge = "a/b" } }', "veth.bridge", "no name of a network device"),
        ('{ veth = { bridge = "sixteen-or-more-x" } }', "veth.bridge", "no name of a network device"),
        ('{ veth = { bridge = "br0", address = "10.0.0.300/24" } }', "veth.address", "no address"),
        ('{ veth = { bridge = "br0", address = "10.0.0.2" } }', "veth.address", "no address"),
        ('{ veth = { bridge = "br0", address = "224.0.0.1/4" } }', "veth.address", "no address of one device"),
        (VETH % 'gateway = "10.0.1.1"', "veth.gateway", "in no network of address"),
        (VETH % 'gateway = ["10.0.0.1", "10.0.0.3"]', "veth.gateway", "two gateways"),
        (VETH % 'mac = "01:00:00:00:00:01"', "veth.mac", "no address of one device"),
        (VETH % 'mac = "2:0"', "veth.mac", "no hardware address"),
        (VETH % "mtu = 20", "veth.mtu", "no MTU"),
        (VETH % 'mtu = "big"', "veth.mtu", "no whole number"),
        (VETH % 'nam = "eth1"', "veth.nam", "no such field"),
        (VETH % 'name = "lo"', "veth.name", "no name of a network device"),
        (VETH % 'bridge_address = "10.0.0.1/24"', "veth.bridge_address", "the bridge is not ours"),
        ('{ mode = "loopback", routes = ["10.0.0.0/8"] }', "routes", "no veth"),
        ((VETH % "mtu = 1400")[:-1] + ', routes = ["10.1.0.1/16"] }', "routes", "no network"),
        ((VETH % "mtu = 1400")[:-1] + ', routes = ["default"] }', "routes", "next hop"),
        ((VETH % "mtu = 1400")[:-1] + ', routes = ["fd00::/8 via 10.0.0.1"] }', "routes", "do not mix"),
        ((VETH % "mtu = 1400")[:-1] + ', routes = ["10.1.0.0/16 via 10.7.0.1"] }', "routes", "in no network"),
        ((VETH % "mtu = 1400")[:-1] + ', routes = ["10.1.0.0/16 over 10.7.0.1"] }', "routes", "no route"),
        ('{ pasta = { tcp = "80:8080:9" } }', "pasta.tcp", "no port"),
        ('{ pasta = { tcp = ["8000-8010:80-81"] } }', "pasta.tcp", "no port"),
        ('{ pasta = { udp = "70000" } }', "pasta.udp", "no port"),
        ('{ pasta = { tcp = "--help" } }', "pasta.tcp", "no port"),
        ('{ pasta = { address = "fd00::2/64" } }', "pasta.address", "no IPv4 address"),
        ('{ pasta = { fallback = "none" } }', "pasta.fallback", "no network"),
    ],
)
def test_what_no_machine_can_do_is_told_with_its_field_and_a_remedy(network: str, field: str, message: str) -> None:
    problems, _ = load(network)
    assert problems, network
    place = f"soma.network.{field}".rstrip(".")
    assert any(found.field == place and message in found.message for found in problems), problems


def test_every_problem_of_a_network_is_told_at_once() -> None:
    problems, _ = load('{ veth = { bridge = "a b", address = "x", mac = "y" }, routes = [{ to = "z" }] }')
    assert {found.field.removeprefix("soma.network.") for found in problems} == {
        "veth.bridge",
        "veth.address",
        "veth.mac",
        "routes",
    }


def test_what_a_program_writes_is_judged_as_well(run: Run) -> None:
    with pytest.raises(SetupFailed, match=r"soma\.network\.veth\.address"):
        run("true", network=Network(veth=Veth(bridge="br0", address=("nonsense",))))
    with pytest.raises(SetupFailed, match="not in a net namespace"):
        run("true", network=Network(mode="host"), namespaces=Namespaces(net=True))


def test_the_ancestor_s_words_are_known_and_others_are_not() -> None:
    assert {word: networking(word).network for word in ("none", "loopback", "full")} == {
        "none": {"mode": "none"},
        "loopback": {"mode": "loopback"},
        "full": {"mode": "host"},
    }
    with pytest.raises(KeyError, match="outbound"):
        networking("outbond")
