"""Pipelines: what one service writes another one reads, whoever of them ends and starts again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.card.shelf import load_files
from arje.service.order import Graph
from tests.conftest import Manager, sh

Manage = Callable[..., Manager]
READER = 'while read line; do echo "got $line"; done'


def to(label: str, script: str, rest: str = "") -> str:
    return sh(script, rest=f"{rest}\nlog.to = '{label}'")


def problems(place: Path, cards: dict[str, str]) -> list[tuple[str, int, str]]:
    for label, text in cards.items():
        (place / f"{label}.toml").write_text(text)
    loaded = load_files(place / f"{label}.toml" for label in cards)
    assert not loaded.problems
    return [(problem.field, problem.line, str(problem)) for problem in Graph(loaded.cards).check()]


def test_what_a_producer_writes_its_consumer_reads(manage: Manage) -> None:
    manager = manage({"p": to("c", "seq 3; echo hm >&2; exec sleep infinity"), "c": "enabled = false\n" + sh(READER)})
    manager.await_line("c", "got 3")
    assert manager.lines("c") == ["got 1", "got 2", "got 3"]
    manager.await_line("p", "hm")
    assert [wish["who"] for wish in manager.show("c")["activation"]] == ["p", "cards.d"]
    order = [service["history"][2]["wall"] for service in (manager.show("c"), manager.show("p"))]
    assert order == sorted(order)
    status = manager.ctl("status", "p").stdout
    assert "Log: stdout goes to c (running)" in status
    assert "writes to c (running)" in status


def test_no_byte_is_lost_between_the_lives_of_a_consumer_or_of_a_producer(manage: Manage, place: Path) -> None:
    count = 20_000
    producer = f"""
        n=$(cat {place}/n 2>/dev/null || echo 0); [ $n -ge {count} ] && exit 0
        seq $((n + 1)) $((n + 1000)); echo $((n + 1000)) > {place}/n; exit 1
    """
    consumer = "import os, sys\ngot = b''\nwhile got.count(b'\\n') < 3000: got += os.read(0, 1) or sys.exit(3)\n"
    consumer += f"os.write(os.open('{place}/got', os.O_WRONLY | os.O_APPEND), got)\nsys.exit(1)\n"
    (place / "got").touch()
    (place / "consumer.py").write_text(consumer)
    again = '[supervision]\nrestart = "on-failure"\ninitial = 0.01\nmax = 0.01\nrate_limit = {starts = 0}\n'
    reader = f'[payload]\nexec = "/usr/bin/python3"\nargv = ["{place}/consumer.py"]\n{again}'
    manager = manage({"p": to("c", producer) + again, "c": reader})
    manager.until("p", lambda p: p["state"] == "done")
    manager.until("c", lambda c: c["restarts"] >= 6)
    got = (place / "got").read_text().split()
    assert got[:18_000] == [str(number) for number in range(1, 18_001)]
    manager.call("Stop", labels=["c"], force=True)
    assert manager.show("p")["restarts"] >= 19


def test_a_producer_waits_while_nobody_reads_and_status_says_so(manage: Manage, place: Path) -> None:
    script = f"head -c 100000 /dev/zero | tr '\\0' 'x'; : > {place}/written; exec sleep infinity"
    manager = manage(
        {"p": "enabled = false\n" + to("c", script), "c": sh("exit 1"), "other": sh("exec sleep infinity")}
    )
    manager.until("c", lambda c: c["state"] == "failed")
    manager.call("Start", labels=["p"])
    manager.until("p", lambda p: p["piped_to"]["waiting"] == 65536)
    assert manager.show("p")["piped_to"]["state"] == "failed"
    assert "stdout goes to c (failed); 64K in the pipe wait to be read" in manager.ctl("status", "p").stdout
    assert not (place / "written").exists()
    manager.write("c", sh("exec head -c 100000 > /dev/null"))
    assert manager.call("Apply", token="")["plan"]["applied"]
    manager.call("Start", labels=["c"])
    manager.until("c", lambda c: c["state"] == "done")
    assert (place / "written").exists()


def test_several_producers_have_one_consumer_and_a_chain_has_many_links(manage: Manage) -> None:
    cards = {
        "a": to("mid", "echo from a; exec sleep infinity"),
        "b": to("mid", "echo from b; exec sleep infinity"),
        "mid": to("end", 'while read line; do echo "mid $line"; done'),
        "end": sh(READER),
    }
    manager = manage(cards)
    for name in "ab":
        manager.await_line("end", f"got mid from {name}")
    assert sorted(manager.lines("end")) == ["got mid from a", "got mid from b"]


def test_a_service_that_begins_to_be_read_restarts_and_so_does_its_reader(manage: Manage) -> None:
    manager = manage({"p": sh("echo hi; exec sleep infinity"), "c": sh(f"{READER}; exec sleep infinity")})
    manager.await_line("p", "hi")
    manager.settle("c")
    manager.write("p", to("c", "echo hi; exec sleep infinity"))
    changes = {change["label"]: change for change in manager.call("Apply", token="")["plan"]["changes"]}
    assert {label: change["feels"] for label, change in changes.items()} == {"p": "restarts", "c": "restarts"}
    assert changes["c"]["fields"] == ["stdin"]
    manager.await_line("c", "got hi")
    manager.write("p", to("c", "echo hi; exec sleep infinity", rest="log.max_line = 100"))
    assert manager.call("Apply", token="")["plan"]["changes"][0]["feels"] == "nothing"


def test_a_consumer_that_makes_its_stdin_nonblocking_spoils_no_later_life(manage: Manage, place: Path) -> None:
    script = "import fcntl, os, sys\nflags = fcntl.fcntl(0, fcntl.F_GETFL)\nprint(flags & os.O_NONBLOCK)\n"
    script += "os.set_blocking(0, False)\nsys.exit(1)\n"
    (place / "c.py").write_text(script)
    again = '[supervision]\nrestart = "on-failure"\ninitial = 0.01\nrate_limit = {starts = 2}\n'
    card = f'[payload]\nexec = "/usr/bin/python3"\nargv = ["{place}/c.py"]\n{again}'
    manager = manage({"p": to("c", "exec sleep infinity"), "c": card})
    manager.until("c", lambda c: c["state"] == "failed")
    assert manager.lines("c") == ["0", "0"]


def test_a_circle_of_pipes_is_refused_with_every_line(place: Path) -> None:
    cards = {"a": to("b", "true"), "b": to("c", "true"), "c": to("a", "true")}
    ((field, line, text),) = problems(place, cards)
    assert (field, line) == ("log.to", 2)
    for one, other in ("ab", "bc", "ca"):
        assert f"{one} log.to {other} ({place}/{one}.toml:2)" in text


@pytest.mark.parametrize(
    ("producer", "consumer", "field", "told"),
    [
        (to("cc", "true"), sh("true"), "log.to", "did you mean 'c'?"),
        (to("c", "true"), 'payload = "virtual"\n', "log.to", "'c' is a group, which reads nothing"),
        (to("c", "true"), sh("true", 'stdio = {stdin = "inherit"}'), "log.to", "'c' reads 'inherit'"),
        ('log.to = "c"\n', sh("true"), "log.to", "a group has no process"),
        (
            sh("true", 'stdio = {stdout = "null"}', "log.to = 'c'"),
            sh("true"),
            "soma.stdio.stdout",
            "'null', but log.to",
        ),
    ],
)
def test_a_pipe_without_two_ends_is_refused(place: Path, producer: str, consumer: str, field: str, told: str) -> None:
    found = problems(place, {"p": producer, "c": consumer})
    assert [problem[0] for problem in found] == [field]
    assert found[0][1] > 0
    assert told in found[0][2]


def test_a_card_that_goes_takes_its_pipe_with_it(manage: Manage) -> None:
    manager = manage(
        {"p": to("c", "exec sleep infinity"), "c": sh("exec sleep infinity"), "stay": sh("exec sleep infinity")}
    )
    manager.settle("p", "c", "stay")

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{manager.process.pid}/fd"))  # noqa: PTH208 - the number is wanted

    texts = {label: (manager.cards / f"{label}.toml").read_text() for label in ("p", "c")}

    def cycle() -> int:
        for label in texts:
            (manager.cards / f"{label}.toml").unlink()
        assert manager.call("Apply", token="")["plan"]["applied"]
        found = descriptors()
        for label, text in texts.items():
            manager.write(label, text)
        assert manager.call("Apply", token="")["plan"]["applied"]
        return found

    few = cycle()
    manager.until("stay", lambda _: cycle() == few)


def test_who_writes_stops_before_who_reads(manage: Manage) -> None:
    manager = manage({"a-reader": sh("exec sleep infinity"), "b-writer": to("a-reader", "exec sleep infinity")})
    manager.settle("b-writer")
    assert manager.stop() == 0
    said = manager.said()
    written, read = "service=b-writer old=stopping new=stopped", "service=a-reader old=running new=stopping"
    assert said.index(written) < said.index(read)


def test_what_nobody_has_read_when_arje_ends_is_told(manage: Manage) -> None:
    manager = manage({"p": to("c", "echo 1234; exec sleep infinity"), "c": sh("exec sleep infinity")})
    manager.until("p", lambda p: p["piped_to"]["waiting"] == 5)
    assert manager.stop() == 0
    manager.await_said("bytes_for_c=5")


def test_a_pipe_to_itself_is_refused(place: Path) -> None:
    ((field, line, text),) = problems(place, {"a": to("a", "true")})
    assert (field, line) == ("log.to", 2)
    assert "'a' is this card itself" in text


def test_deps_follow_a_pipe(manage: Manage) -> None:
    cards = {"a": to("b", "exec sleep infinity"), "b": "wants = ['c']\n" + sh("exec sleep infinity"), "c": sh("exit 0")}
    manager = manage(cards)
    manager.settle("a")
    tree = manager.call("Deps", label="a")["tree"]
    assert [(node["depth"], node["kind"], node["label"]) for node in tree] == [
        (0, "", "a"),
        (1, "log.to", "b"),
        (2, "wants", "c"),
    ]
