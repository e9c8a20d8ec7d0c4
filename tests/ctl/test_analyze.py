"""Where a start's time went: true of a real start, and shown as text and as a picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from arje.ctl import analyze, analyze_svg
from arje.ctl.words import Paper
from tests.conftest import Manager, sh

Manage = Callable[..., Manager]


def start(label: str, wanted: float, began: float | None, ended: float | None, *waited: tuple[str, str, float]) -> Any:
    waits = [{"kind": kind, "label": other, "until_s": until} for kind, other, until in waited]
    times = {"wanted_s": wanted, "began_s": began, "ended_s": ended, "setup_ms": 1.5, "waited_for": waits}
    became = "ready" if ended is not None else "starting" if began is not None else "waiting"
    return {"label": label, "who": "cards.d", "became": became} | times


BOOT = {
    "span": {"what": "start", "wall": 1795600800.0, "passed_s": 9.0, "loading_s": 0.35},
    "starts": [
        start("net", 0.01, 0.02, 0.05),
        start("db", 0.01, 0.05, 2.0, ("requires", "net", 0.05)),
        start("cache", 0.01, 0.05, 0.25, ("after", "net", 0.05)),
        start("web", 0.01, 2.0, 2.4, ("wants", "cache", 0.25), ("requires", "db", 2.0)),
        start("late", 0.01, None, None, ("requires", "web", 2.4)),
    ],
}


def lines(show: Callable[..., None], *more: Any) -> list[str]:
    out = io.StringIO()
    show(Paper(out), BOOT, *more)
    return out.getvalue().splitlines()


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arje.ctl.analyze.clock", lambda wall: "10:00:00")


def test_who_took_longest_itself_is_blamed_first() -> None:
    head, names, *rows = lines(analyze.blame)
    assert head == (
        "The manager started at 10:00:00, after 350ms of its own; the last of 5 services was there after 2.40s, "
        "1 still on the way."
    )
    assert names.split("  ")[0] == "OWN"
    assert [row.split()[4] for row in rows] == ["db", "web", "cache", "net", "late"]
    assert rows[0].split() == ["1.95s", "40.0ms", "1.5ms", "ready", "db", "requires", "net"]


def test_the_critical_chain_is_whom_the_end_waited_for() -> None:
    assert lines(analyze.critical, ["web"])[3:] == [
        "web @2.40s +400ms (ready)",
        "` requires db @2.00s +1.95s (ready)",
        "  ` requires net @50.0ms +30.0ms (ready)",
    ]
    assert lines(analyze.critical, ["late"])[3] == "late (waiting)"


def test_the_picture_has_a_row_for_each_and_says_it_in_words_too() -> None:
    root = ElementTree.fromstring(analyze_svg.svg(BOOT))
    titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[1:] == [
        "net: wanted by cards.d at 10.0ms; began at 20.0ms; ready at 50.0ms; took 30.0ms",
        "db: wanted by cards.d at 10.0ms; began at 50.0ms; ready at 2.00s; took 1.95s; "
        "waited for requires net until 50.0ms",
        "cache: wanted by cards.d at 10.0ms; began at 50.0ms; ready at 250ms; took 200ms; "
        "waited for after net until 50.0ms",
        "web: wanted by cards.d at 10.0ms; began at 2.00s; ready at 2.40s; took 400ms; waited for wants cache until 250ms, "
        "requires db until 2.00s",
        "late: wanted by cards.d at 10.0ms; waited for requires web until 2.40s",
    ]
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float((rect.get("width") or "0").rstrip("%")) >= 0


def test_a_real_start_is_told_as_it_was(manage: Manage) -> None:
    slow = sh("sleep 0.3; echo up; exec sleep infinity") + '[supervision]\nreadiness = "log:up"\n'
    manager = manage(
        {
            "slow": slow,
            "needs": 'requires = ["slow"]\n' + sh("exec sleep infinity"),
            "free": sh("exec sleep infinity"),
            "once": sh("exit 3") + '[supervision]\nkind = "one-shot"\n',
            "off": "enabled = false\n" + slow,
        }
    )
    manager.settle("needs", "free", "once")
    found = manager.call("Analyze")
    starts = {each["label"]: each for each in found["starts"]}
    assert starts.keys() == {"slow", "needs", "free", "once"}
    assert [each["became"] for each in starts.values()].count("failed") == 1
    assert starts["once"]["became"] == "failed"
    needs, slow_one = starts["needs"], starts["slow"]
    assert [(wait["kind"], wait["label"]) for wait in needs["waited_for"]] == [("requires", "slow")]
    assert needs["waited_for"][0]["until_s"] == slow_one["ended_s"] <= needs["began_s"]
    assert slow_one["ended_s"] - slow_one["began_s"] >= 0.3
    assert slow_one["setup_ms"] == manager.show("slow")["setup_ms"]
    assert starts["free"]["waited_for"] == []
    assert found["starts"][-1]["label"] == "needs", "the last one comes last"
    assert 0 < found["span"]["loading_s"] < 60
    manager.ctl("restart", "free")
    assert {each["label"]: each for each in manager.call("Analyze")["starts"]}["free"] == starts["free"] | {
        "setup_ms": None
    }, "a later start is none of it"


def test_an_apply_is_a_span_of_its_own(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity"), "b": sh("exec sleep infinity")})
    manager.settle("a", "b")
    assert manager.call("Analyze", apply=True) == {"span": None, "starts": []}
    manager.write("a", sh("exec sleep 1000"))
    manager.call("Apply")
    found = manager.call("Analyze", apply=True)
    assert [(each["label"], each["became"]) for each in found["starts"]] == [("a", "ready")]
    assert found["span"]["loading_s"] is None
    assert "Cards were applied at" in manager.ctl("analyze", "blame", "--apply").stdout
