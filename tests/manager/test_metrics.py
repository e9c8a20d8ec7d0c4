"""Metrics of a real manager: what Prometheus' own parsers make of them, and a socket that hostile scrapers cannot hurt."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Manager, needs_root, python_for_nobody, sh

Manage = Callable[..., Manager]
parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="prometheus-client is not installed")
older = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
CARDS = {
    "a": sh("echo one; echo two; exec sleep infinity"),
    "bad": sh("exit 3") + '[supervision]\nrestart = "on-failure"\ninitial = "10ms"\nmax = "10ms"\n'
    "rate_limit = {starts = 3, interval = 60}\n",
    "weak": sh("exec sleep infinity"),
}


def samples(text: str) -> Samples:
    """Return every sample by name and labels, as Prometheus' strict parser reads them."""
    found: Samples = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def one(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


@pytest.fixture
def manager(manage: Manage, place: Path) -> Iterator[Manager]:
    made = manage(CARDS, "--metrics-socket", str(place / "metrics"))
    made.settle("a", "weak")
    made.until("bad", lambda bad: bad["state"] == "failed")
    made.await_line("a", "two")
    yield made
    assert made.show("a")["state"] == "running", "whatever a scraper does hurts nobody"


def get(path: Path, target: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    """Ask as a scraper does."""
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    connection.sock.connect(str(path))
    connection.request(method, target, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_services_are_told_by_state_restarts_exits_and_failures(manager: Manager) -> None:
    found = samples(manager.call("Metrics")["text"])
    assert one(found, "arje_service_state", service="a", arje_service_state="running") == 1
    assert one(found, "arje_service_state", service="a", arje_service_state="failed") == 0
    assert one(found, "arje_service_state", service="bad", arje_service_state="failed") == 1
    assert one(found, "arje_service_starts_total", service="bad") == 3
    assert one(found, "arje_service_restarts_total", service="bad") >= 2
    assert one(found, "arje_service_exits_total", service="bad", how="exited", code="3") == 3
    assert one(found, "arje_service_failures_total", service="bad", reason="start-limit") == 1
    assert one(found, "arje_service_up", service="a") == 1
    assert one(found, "arje_service_log_lines_total", service="a") == 2
    assert one(found, "arje_service_tasks", service="a") == 1
    assert one(found, "arje_service_memory_bytes", service="a") > 2**16
    assert one(found, "arje_service_cpu_seconds_total", service="a", mode="user") >= 0
    assert one(found, "arje_services", state="running") == 2


def test_degradations_are_told_by_feature_and_cause(manage: Manage) -> None:
    manager = manage({"weak": sh("exec sleep infinity", 'cgroup = {memory_max = "1G"}')}, user=True)
    manager.settle("weak")
    found = samples(manager.call("Metrics")["text"])
    losses = manager.show("weak")["isolation"]["degradations"]
    assert losses
    for loss in losses:
        assert one(found, "arje_service_degradation", service="weak", feature=loss["feature"], cause=loss["cause"]) == 1
    requested = one(found, "arje_service_isolation_requested", service="weak")
    assert requested - one(found, "arje_service_isolation_granted", service="weak") == len(losses)


def test_the_manager_tells_of_itself(manager: Manager) -> None:
    found = samples(manager.call("Metrics")["text"])
    assert any(name == "arje_build_info" and ("version", "0.1.0") in labels for name, labels in found)
    assert one(found, "process_resident_memory_bytes") > 2**20
    assert one(found, "process_open_fds") > 5
    assert 0 < one(found, "arje_manager_start_timestamp_seconds") < 2**33


def test_a_counter_never_goes_back_when_a_hand_starts_the_service_again(manager: Manager) -> None:
    manager.call("Start", labels=["bad"])
    manager.until("bad", lambda bad: bad["state"] == "failed")
    found = samples(manager.call("Metrics")["text"])
    assert one(found, "arje_service_exits_total", service="bad", how="exited", code="3") == 6
    assert one(found, "arje_service_restarts_total", service="bad") >= 4


def test_a_service_whose_card_has_gone_is_told_no_more(manager: Manager) -> None:
    (manager.cards / "bad.toml").unlink()
    assert manager.ctl("apply").returncode == 0
    assert 'service="bad"' not in manager.call("Metrics")["text"]


def test_the_older_form_is_read_by_the_older_parser(manager: Manager) -> None:
    text = manager.call("Metrics", form="prometheus")["text"]
    families = {family.name: family for family in older.text_string_to_metric_families(text)}
    assert families["arje_service_state"].type == "gauge"
    assert families["arje_service_exits"].type == "counter"


def test_families_are_the_same_as_data(manager: Manager) -> None:
    families: list[dict[str, Any]] = manager.call("Metrics", form="families")["families"]
    states = next(family for family in families if family["name"] == "arje_service_state")
    assert states["type"] == "stateset"
    assert {"suffix": "", "labels": {"service": "a", "arje_service_state": "running"}, "value": 1.0} in states[
        "samples"
    ]


def test_a_scraper_gets_them_over_http(manager: Manager, place: Path) -> None:
    status, headers, body = get(place / "metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert status == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert one(samples(body), "arje_service_up", service="a") == 1
    status, headers, body = get(place / "metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert list(older.text_string_to_metric_families(body))
    assert get(place / "metrics", method="HEAD")[2] == ""


def test_what_is_no_scrape_is_refused(manager: Manager, place: Path) -> None:
    assert get(place / "metrics", "/secrets")[0] == 404
    assert get(place / "metrics", method="POST")[0] == 405
    for request, status in ((b"hello\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000, b"431")):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(place / "metrics"))
            sock.sendall(request)
            assert sock.recv(64).split()[1] == status


def test_scrapers_that_say_nothing_or_never_read_do_not_keep_others_out_for_long(manager: Manager, place: Path) -> None:
    silent = []
    for _ in range(8):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(place / "metrics"))
        silent.append(sock)
    with socket.socket(socket.AF_UNIX) as more:
        more.settimeout(30)
        more.connect(str(place / "metrics"))
        assert more.recv(1) == b"", "a ninth one is not served"
    for sock in silent:
        sock.close()
    assert get(place / "metrics")[0] == 200


def test_the_socket_is_not_open_to_strangers(manager: Manager, place: Path) -> None:
    assert (place / "metrics").stat().st_mode & 0o007 == 0


def test_a_file_in_the_sockets_place_is_left(manage: Manage, place: Path) -> None:
    (place / "precious").write_text("mine")
    with pytest.raises(AssertionError, match="no socket has this name"):
        manage({}, "--metrics-socket", str(place / "precious"))
    assert (place / "precious").read_text() == "mine"


@needs_root
def test_a_user_without_a_cgroup_has_them_too(manage: Manage) -> None:
    assert python_for_nobody() is not None
    manager = manage({"a": CARDS["a"]}, user=True)
    manager.settle("a")
    found = samples(manager.call("Metrics")["text"])
    assert one(found, "arje_service_memory_bytes", service="a") > 2**16
