"""top and watch: what is sorted, chosen and shown, and both on a real terminal."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable
from typing import Any

from arje.ctl import screen, top
from arje.ctl.words import Paper
from tests.conftest import Manager, sh
from tests.ctl.steady import Terminal as Rich
from tests.ctl.terminals import Terminal

Manage = Callable[..., Manager]
MANAGER = {"version": "0.1.0", "state": "running", "uptime": 60.0, "now": 0.0, "counts": {"running": 2, "failed": 1}}


def service(label: str, state: str = "running", **more: Any) -> dict[str, Any]:
    isolation = {"requested": 0, "granted": 0, "degradations": [], "grants": []}
    plain = {
        "label": label,
        "description": f"The {label}",
        "state": state,
        "since_s": 5.0,
        "restarts": 0,
        "frozen": False,
        "isolation": isolation,
        "timer": None,
        "cause": {"who": "supervisor", "detail": "", "wall": 0.0},
        "masked": None,
        "pinned": "",
        "failure": None,
        "enabled": True,
        "last_exit": None,
    }
    return plain | more


def figures(label: str, at: float, cpu: float | None, memory: int = 1024) -> dict[str, Any]:
    return {"label": label, "state": "running", "processes": 1, "memory": memory, "cpu_s": cpu, "at": at}


def test_the_share_of_a_processor_is_of_the_time_between_two_looks() -> None:
    found = top.rows(
        [service("a"), service("b"), service("new")],
        [figures("a", 12.0, 1.5), figures("b", 12.0, 3.0), figures("new", 12.0, 0.5)],
        [figures("a", 10.0, 1.0), figures("b", 10.0, 2.0), figures("new", 10.0, 9.0)],
        "CPU",
    )
    assert [(row.label, row.cpu) for row in found] == [("b", 0.5), ("a", 0.25), ("new", None)], (
        "a new life has no share"
    )
    assert found[0].cells(Paper(io.StringIO()))[2] == "50.0%"
    assert found[2].cells(Paper(io.StringIO()))[2] == "0.50s"


def test_who_needs_a_person_comes_first_by_state() -> None:
    states = ["running", "failed", "stopped", "backoff"]
    found = top.rows([service(state, state) for state in states], [], [], "STATE")
    assert [row.label for row in found] == ["failed", "backoff", "running", "stopped"]
    assert [row.label for row in top.rows([service("b"), service("a")], [], [], "SERVICE")] == ["a", "b"]


def test_keys_sort_choose_and_end() -> None:
    view = top.View("CPU", "log")
    shown = top.rows([service(f"s{number}") for number in range(9)], [], [], "SERVICE")
    view.chosen = "s0"
    for key, chosen in (("down", "s1"), ("j", "s2"), ("up", "s1"), ("end", "s8"), ("page-up", "s4"), ("home", "s0")):
        assert view.key(key, shown, 4)
        assert view.chosen == chosen
    assert view.key("m", shown, 4)
    assert view.sort == "MEM"
    assert view.key("e", shown, 4)
    assert view.pane == "events"
    assert view.key("e", shown, 4)
    assert view.pane == ""
    assert not view.key("q", shown, 4)
    assert list(screen.keys(b"\x1b[Aj\x1b[6~q\x1b[99;9~")) == ["up", "j", "page-down", "q", "escape", "9", "9", "9"]


def test_the_chosen_row_is_always_on_the_page_and_the_page_has_the_screen_s_height() -> None:
    shown = top.rows([service(f"s{number:02}") for number in range(50)], [], [], "SERVICE")
    for height in (4, 6, 10, 24, 80):
        for chosen in ("s00", "s25", "s49"):
            view = top.View("SERVICE", "log")
            view.chosen = chosen
            lines = top.page(Paper(io.StringIO()), MANAGER, shown, view, ["a line"] * 99, height)
            assert len(lines) == height
            assert any(line.startswith(f"> {chosen}") for line in lines)


def test_a_line_is_cut_to_its_columns_and_colours_end() -> None:
    assert screen.fit("plain", 3) == "pla"
    assert screen.fit("\x1b[32mgreen\x1b[0m", 3) == "\x1b[32mgre\x1b[0m"
    assert screen.fit("日本語", 5) == "日本"
    assert screen.fit("e\u0301a", 2) == "e\u0301a"
    out = Rich()
    assert screen.fit(Paper(out).mark("running") + "x", 3).endswith("x")


def test_top_is_a_screen_with_a_log_until_q(manage: Manage) -> None:
    manager = manage({"busy": sh("echo working; while :; do :; done"), "idle": sh("echo idling; exec sleep infinity")})
    manager.await_line("busy", "working")
    manager.await_line("idle", "idling")
    terminal = Terminal(manager, "top", "-d", "0.2")
    shown = terminal.see("working")
    assert "\x1b[?1049h" in terminal.said, "the other screen"
    assert shown.splitlines()[0].startswith("arje ")
    terminal.until(lambda _: "%" in terminal.screen)
    assert terminal.screen.splitlines()[2].split()[:3] == [">", "●", "busy"], "who uses most stands on top"
    terminal.send("n\x1b[B")
    terminal.see("idling")
    manager.call("Stop", labels=["idle"])
    terminal.see("1 stopped")
    terminal.send("q")
    assert terminal.end() == 0
    assert terminal.said.endswith("\x1b[?25h\x1b[?1049l"), "what was there comes back"


def test_watch_shows_events_as_they_come(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity")})
    manager.settle("a")
    terminal = Terminal(manager, "watch", "-d", "60")
    terminal.see("-- events --")
    manager.call("Restart", labels=["a"])
    terminal.see("a: starting → ● running")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 0


def test_without_a_terminal_both_are_one_plain_table(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity")})
    manager.settle("a")
    for verb in ("top", "watch"):
        head, row = manager.ctl(verb).stdout.splitlines()
        assert head.split() == [*top.COLUMNS]
        assert row.split()[:2] == ["a", "running"]
    assert [each["label"] for each in manager.json("top")] == ["a"]
