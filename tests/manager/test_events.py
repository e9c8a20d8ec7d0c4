"""Changes of state as a stream: who became what, because of whom; bounded for who does not listen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from arje.card.card import Card
from arje.ctl.client import Client
from arje.service.record import Service, StateCause
from arje.service.state import State
from arje.supervisor.events import KEPT, Events, StateChange, Watcher
from tests.conftest import ROOT, Manager, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")


def change(events: Events, number: int, label: str = "a") -> None:
    before = Service(label=label, card=Card(label=label), state=State.STOPPED, cause=StateCause("x"), since=0.0)
    events.changed(
        before, replace(before, state=State.WAITING, cause=StateCause("test", str(number), wall=float(number)))
    )


def told(found: list[StateChange]) -> list[tuple[str, int]]:
    return [(event.detail, event.lost) for event in found]


def test_only_a_change_of_state_is_an_event() -> None:
    events = Events()
    service = Service(label="a", card=Card(label="a"), state=State.STOPPED, cause=StateCause("x"), since=0.0)
    events.changed(service, replace(service, wanted=True))
    assert events.latest(None, 10) == []


def test_so_many_events_are_kept_and_what_is_gone_is_counted() -> None:
    events = Events()
    for number in range(KEPT + 5):
        change(events, number, "ab"[number % 2])
    assert told(events.latest(None, 2)) == [(str(KEPT + 3), 0), (str(KEPT + 4), 0)]
    assert told(events.latest(frozenset("a"), 1)) == [(str(KEPT + 4), 0)]
    assert told(events.latest(None, 10**6))[0] == ("5", 5)
    assert told(events.latest(None, 10**6, since=KEPT + 3.0)) == [(str(KEPT + 3), 0), (str(KEPT + 4), 0)]
    assert events.latest(None, 0) == []


async def test_who_does_not_listen_is_told_how_much_it_missed() -> None:
    events = Events()
    watcher = events.watch(frozenset({"a"}))
    change(events, 7, "b")
    for number in range(1100):
        change(events, number)

    async def take(count: int, of: Watcher) -> list[StateChange]:
        return [await anext(of) for _ in range(count)]

    assert told(await take(1000, watcher)) == [(str(number), 0) for number in range(1000)]
    change(events, 1100)
    assert told(await take(1, watcher)) == [("1100", 100)]
    events.leave(watcher)


def test_every_change_says_who_and_why(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": "requires = ['a']\n" + SLEEP})
    manager.settle("b")
    manager.call("Stop", labels=["a"], force=True)
    events = manager.json_lines("events", "b")
    assert [(event["before"], event["after"]) for event in events] == [
        ("stopped", "waiting"),
        ("waiting", "starting"),
        ("starting", "running"),
        ("running", "stopping"),
        ("stopping", "stopped"),
    ]
    assert events[0]["who"] == "cards.d"
    assert "arjectl" in events[3]["who"] or "uid" in events[3]["who"]
    numbers = [event["number"] for event in events]
    assert numbers == sorted(numbers)
    assert manager.json_lines("events", "b", "--since", f"@{events[3]['wall']!r}") == events[3:]
    shown = manager.ctl("events", "b", "-n", "1").stdout
    assert " b: stopping -> stopped  " in shown
    assert manager.ctl("events", "nobody").returncode == 4
    assert manager.ctl("events", "--since", "soon").returncode == 2


def test_who_monitors_hears_the_past_and_then_the_present(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), "--json", "monitor", "a"]
    with subprocess.Popen([*command, "-n", "1"], stdout=subprocess.PIPE, cwd=ROOT) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["after"] == "running"
        manager.call("Stop", labels=["a"], force=False)
        assert [json.loads(watching.stdout.readline())["after"] for _ in range(2)] == ["stopping", "stopped"]
        watching.kill()


def test_a_monitor_that_never_reads_hurts_nobody(manage: Manage) -> None:
    manager = manage({"a": "enabled = false\n" + sh("true"), "b": SLEEP})
    manager.settle("b")
    deaf = Client(manager.socket, 30)
    stream = deaf.follow("Monitor", labels=None, lines=1)
    next(stream)
    for _ in range(50):
        manager.call("Start", labels=["a"])
        manager.call("Wait", labels=["a"])
    assert manager.show("b")["state"] == "running"
    deaf.close()
