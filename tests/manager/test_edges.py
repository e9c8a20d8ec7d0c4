"""Every kind of edge between services, as real services feel it: conflicts, milestones, parts, hooks, quorums, circles."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Manager, needs_root, sh
from tests.manager.test_services import alive
from tests.manager.test_stops import beside

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
DEAD = '[payload]\nexec = "/no/such"\n'
OFF = "enabled = false\n"
FAST = '[supervision]\nrestart = "always"\ninitial = "1ms"\n'


@pytest.fixture
def told(place: Path) -> Path:
    """A FIFO on which a service waits to be told to end."""
    os.mkfifo(place / "told")
    return place / "told"


def until_told(told: Path, then: str, rest: str = "") -> str:
    return sh(f"read word < {told}; {then}") + rest


def state(manager: Manager, label: str) -> str:
    found: str = manager.show(label)["state"]
    return found


def start(manager: Manager, label: str) -> dict[str, Any]:
    found: dict[str, Any] = manager.call("Start", labels=[label])["results"][0]
    return found


def stop(manager: Manager, label: str, *, force: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = manager.call("Stop", labels=[label], force=force)["results"][0]
    return found


def chain(manager: Manager, label: str) -> str:
    return "\n".join(f"{link['label']} {link['state']} {link['who']}: {link['detail']}" for link in why(manager, label))


def why(manager: Manager, label: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manager.call("Why", label=label)["chain"]
    return found


# -- conflicts ---------------------------------------------------------------------------------------------------------


def test_the_start_of_one_stops_the_other_whichever_of_them_says_so(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": OFF + 'conflicts = ["a"]\n' + SLEEP})
    first = manager.settle("a")
    assert start(manager, "b")["result"] == "done"
    a = manager.settle("a")
    assert (a["state"], a["wanted"], a["cause"]["who"]) == ("stopped", False, "b")
    assert not alive(first["pid"])
    assert "b conflicts with it" in chain(manager, "a")
    assert start(manager, "a")["result"] == "done"
    assert manager.settle("b")["state"] == "stopped"


def test_the_one_starts_only_when_the_other_has_ended(manage: Manage, told: Path) -> None:
    slow = f"trap 'echo asked; read word < {told}; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    manager = manage({"a": sh(slow), "b": OFF + 'conflicts = ["a"]\n' + SLEEP})
    manager.await_line("a", "up")
    starter = beside(manager, "Start", labels=["b"])
    manager.await_line("a", "asked")
    b = manager.show("b")
    assert (b["state"], b["waiting_for"][0]["kind"], b["waiting_for"][0]["name"]) == (
        "waiting",
        "conflicts",
        "the end of a",
    )
    assert "waits: conflicts the end of a" in chain(manager, "b")
    told.write_text("go\n")
    starter.join(30)
    assert (state(manager, "a"), state(manager, "b")) == ("stopped", "running")


def test_a_restart_in_place_stops_nobody_and_brings_nobody_back(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": OFF + 'conflicts = ["a"]\n' + SLEEP})
    manager.settle("a")
    start(manager, "b")
    before = manager.settle("b")
    assert manager.call("Restart", labels=["b"])["results"][0]["result"] == "done"
    assert manager.show("b")["pid"] != before["pid"]
    assert (state(manager, "a"), state(manager, "b")) == ("stopped", "running")


def test_of_two_at_boot_the_first_wins_and_the_other_says_so(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": 'conflicts = ["a"]\n' + SLEEP})
    assert manager.settle("a")["state"] == "running"
    b = manager.settle("b")
    assert (b["state"], b["cause"]["who"]) == ("stopped", "a")
    assert b["cause"]["detail"] == "skipped: b conflicts with a, which is wanted already"
    assert "skipped: b conflicts with a" in manager.ctl("status").stdout
    plan = manager.call("Plan")["plan"]
    assert "a and b conflict, and both are enabled" in plan["problems"][0]["message"]


# -- milestones and requisites -----------------------------------------------------------------------------------------


def test_a_milestone_is_pulled_in_waited_for_once_and_not_felt_later(manage: Manage, told: Path) -> None:
    manager = manage({"a": OFF + 'waits_for = ["m"]\n' + SLEEP, "m": OFF + until_told(told, "exit 3")})
    assert start(manager, "a")["result"] == "done"
    before = manager.show("a")
    assert state(manager, "m") == "running"
    told.write_text("now\n")
    manager.until("m", lambda m: m["state"] == "failed")
    assert manager.show("a")["pid"] == before["pid"]
    assert manager.call("Restart", labels=["a"])["results"][0]["state"] == "running"


def test_who_waits_for_a_milestone_that_fails_neither_starts_nor_fails(manage: Manage, place: Path) -> None:
    once = sh(f"test -e {place}/x") + '[supervision]\nkind = "one-shot"\n'
    manager = manage({"a": 'waits_for = ["m"]\n' + SLEEP, "m": once})
    manager.until("m", lambda m: m["state"] == "failed")
    assert manager.settle("a")["state"] == "waiting"
    assert manager.show("a")["waiting_for"] == [{"kind": "waits_for", "name": "m", "chain": [], "state": "failed"}]
    assert "m failed" in chain(manager, "a")
    (place / "x").touch()
    start(manager, "m")
    assert manager.settle("a")["state"] == "running"


def test_a_requisite_is_required_and_not_pulled_in(manage: Manage) -> None:
    manager = manage({"a": OFF + 'requisite = ["b"]\n' + SLEEP, "b": OFF + SLEEP})
    assert start(manager, "a")["state"] == "waiting"
    assert state(manager, "b") == "stopped"
    start(manager, "b")
    assert manager.settle("a")["state"] == "running"
    assert stop(manager, "b")["result"] == "dependents"


# -- parts and hooks ---------------------------------------------------------------------------------------------------


def test_stop_and_restart_go_down_to_the_parts_and_a_start_does_not(manage: Manage) -> None:
    manager = manage({"app": SLEEP, "part": 'part_of = ["app"]\n' + SLEEP, "side": SLEEP})
    part, side = manager.settle("part"), manager.settle("side")
    manager.call("Restart", labels=["app"])
    again = manager.settle("part")
    assert (again["state"], again["pid"] != part["pid"]) == ("running", True)
    assert manager.show("side")["pid"] == side["pid"]
    assert stop(manager, "app")["result"] == "done"
    stopped = manager.show("part")
    assert (stopped["state"], stopped["cause"]["who"]) == ("stopped", "app")
    start(manager, "app")
    assert state(manager, "part") == "stopped"


def test_a_part_that_stops_leaves_the_whole_alone(manage: Manage) -> None:
    manager = manage({"app": SLEEP, "part": 'part_of = ["app"]\nrequires = ["app"]\n' + SLEEP})
    manager.settle("part")
    assert stop(manager, "part")["result"] == "done"
    assert state(manager, "app") == "running"
    start(manager, "part")
    assert stop(manager, "app")["result"] == "done", "a part is no dependent that could refuse"
    assert state(manager, "part") == "stopped"


def test_a_card_hooks_itself_into_a_target_while_it_is_enabled(manage: Manage) -> None:
    hooked = 'wanted_by = ["site"]\n' + SLEEP
    manager = manage(
        {
            "site": OFF + 'payload = "virtual"\n',
            "in": hooked,
            "out": OFF + hooked,
            "must": 'required_by = ["site"]\n' + DEAD,
        }
    )
    assert [state(manager, label) for label in ("in", "out", "must")] == ["stopped"] * 3
    assert "started by site (stopped)" in chain(manager, "in")
    assert start(manager, "site")["state"] == "failed"
    assert "site requires must, which failed" in chain(manager, "site")
    assert manager.settle("in")["state"] == "running"
    assert state(manager, "out") == "stopped"
    kinds = [(edge["kind"], edge["label"]) for edge in manager.show("site")["dependencies"]]
    assert ("requires", "must") in kinds
    assert ("wants", "in") in kinds


# -- terms -------------------------------------------------------------------------------------------------------------


def test_a_restart_of_the_dependency_is_felt_when_the_edge_says_so(manage: Manage) -> None:
    felt = 'requires = {db = {on_restart = "restart"}}\n'
    manager = manage({"db": SLEEP + FAST, "kept": 'requires = ["db"]\n' + SLEEP, "felt": felt + SLEEP})
    kept, before = manager.settle("kept"), manager.settle("felt")
    os.kill(manager.settle("db")["pid"], 9)
    again = manager.until("felt", lambda s: s["state"] == "running" and s["pid"] != before["pid"])
    assert manager.show("kept")["pid"] == kept["pid"]
    assert "db (running) [on_restart = restart]" in manager.ctl("status", "felt").stdout
    told = [moment["detail"] for moment in again["history"]]
    assert "db has started again (requires.db.on_restart = restart)" in told
    assert [wish["who"] for wish in again["activation"]] == ["cards.d"]


def test_a_reload_goes_on_to_who_says_so(manage: Manage) -> None:
    hup = '[supervision]\nreload = "HUP"\n'
    heard = sh("trap 'echo heard' HUP; echo up; while :; do sleep 0.01; done") + hup
    manager = manage(
        {
            "db": sh("trap '' HUP; echo up; while :; do sleep 1; done") + hup + 'restart = "always"\ninitial = "1ms"\n',
            "front": 'wants = {db = {on_reload = "reload"}}\n' + heard,
            "back": 'requires = {db = {on_reload = "restart", on_restart = "reload"}}\n' + heard,
        }
    )
    for label in ("db", "front", "back"):
        manager.await_line(label, "up")
    front, back, db = manager.show("front"), manager.show("back"), manager.show("db")
    assert manager.call("Reload", labels=["db"])["results"][0]["result"] == "done"
    manager.await_line("front", "heard")
    assert ("db", "reload") in [(moment["who"], moment["detail"]) for moment in manager.show("front")["history"]]
    again = manager.until("back", lambda s: s["state"] == "running" and s["pid"] != back["pid"])
    assert "db has reloaded (requires.db.on_reload = restart)" in [m["detail"] for m in again["history"]]
    manager.call("Kill", labels=["db"], signal="KILL", whom="main")
    manager.await_line("back", "heard")
    assert manager.show("back")["pid"] == again["pid"]
    assert manager.show("front")["pid"] == front["pid"]
    assert manager.show("db")["pid"] != db["pid"]


def test_who_opts_out_of_recovery_stays_down_when_the_dependency_is_back(manage: Manage, told: Path) -> None:
    cards = {"db": until_told(told, "exit 3"), "yes": 'requires = ["db"]\n' + SLEEP}
    manager = manage({**cards, "no": "requires = {db = {recover = false}}\n" + SLEEP})
    manager.settle("yes", "no")
    told.write_text("now\n")
    for label in ("yes", "no"):
        manager.until(label, lambda s: s["state"] == "failed")
    assert manager.show("no")["failure"]["hint"] == "it does not start again by itself: requires.db.recover = false"
    start(manager, "db")
    assert manager.settle("yes")["state"] == "running"
    assert state(manager, "no") == "failed"
    assert start(manager, "no")["state"] == "running"


@needs_root
def test_a_dependency_on_isolation_waits_stops_and_recovers(manage: Manage) -> None:
    manager = manage(
        {
            "db": sh("exec sleep infinity", "nice = 5"),
            "web": 'requires = {db = "undegraded"}\n' + SLEEP,
            "other": 'requires = {db = {granted = ["net"]}}\n' + SLEEP,
        }
    )
    web, other, db = manager.settle("web"), manager.settle("other"), manager.show("db")
    assert (web["state"], other["state"]) == ("running", "running")
    os.setpriority(os.PRIO_PROCESS, db["pid"], 0)
    manager.call("List", labels=["db"], look=True)
    down = manager.until("web", lambda s: s["state"] == "waiting")
    assert not alive(web["pid"])
    assert down["waiting_for"][0]["name"] == "db undegraded"
    assert "web requires db undegraded, which lacks nice" in [m["detail"] for m in down["history"]]
    assert manager.show("other")["pid"] == other["pid"]
    manager.call("Heal", labels=["db"])
    assert manager.settle("web")["state"] == "running"
    assert manager.show("db")["pid"] == db["pid"]


def test_who_requires_a_whole_service_does_not_start_beside_a_degraded_one(manage: Manage) -> None:
    degraded = sh("exec sleep infinity", 'cgroup = {io_max = {"0:0" = {rbps = "1M"}}}')
    manager = manage({"db": degraded, "web": 'requires = {db = "undegraded"}\n' + SLEEP})
    assert manager.settle("db")["isolation"]["degradations"]
    web = manager.settle("web")
    assert web["state"] == "waiting"
    assert "needs db undegraded" in manager.ctl("status").stdout
    assert "waits: requires db undegraded" in chain(manager, "web")


# -- contracts ---------------------------------------------------------------------------------------------------------


def test_any_one_of_several_is_enough_and_only_the_last_is_felt(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "b": SLEEP, "web": 'contracts = [{any = ["a", "b"]}]\n' + SLEEP})
    before = manager.settle("web")
    manager.settle("a", "b")
    assert stop(manager, "a")["result"] == "done"
    assert manager.show("web")["pid"] == before["pid"]
    assert stop(manager, "b")["result"] == "dependents"
    assert stop(manager, "b", force=True)["result"] == "done"
    assert state(manager, "web") == "stopped"


def test_any_pulls_in_one_of_them(manage: Manage) -> None:
    cards = {"a": OFF + SLEEP, "b": OFF + SLEEP, "web": OFF + 'contracts = [{any = ["a", "b"]}]\n' + SLEEP}
    manager = manage(cards)
    start(manager, "b")
    assert start(manager, "web")["state"] == "running"
    assert state(manager, "a") == "stopped", "the one that is up is enough"


def test_a_spare_is_started_when_the_one_that_was_pulled_in_fails(manage: Manage, told: Path) -> None:
    web = OFF + 'contracts = [{any = ["a", "b"]}]\n' + SLEEP
    manager = manage({"a": OFF + until_told(told, "exit 3"), "b": OFF + SLEEP, "web": web})
    start(manager, "web")
    assert state(manager, "b") == "stopped"
    told.write_text("now\n")
    manager.until("b", lambda s: s["state"] == "running")
    assert manager.settle("web")["state"] == "running"
    assert [wish["who"] for wish in manager.show("b")["activation"]][:1] == ["web"]


def test_when_no_spare_is_left_either_the_dependent_fails(manage: Manage) -> None:
    web = OFF + 'contracts = [{any = ["a", "b"]}]\n' + SLEEP
    manager = manage({"a": OFF + DEAD, "b": OFF + DEAD, "web": web})
    assert start(manager, "web")["state"] == "failed"
    assert (state(manager, "a"), state(manager, "b")) == ("failed", "failed")
    detail = manager.show("web")["failure"]["detail"]
    assert detail == "web requires any of a, b, of which too few are left: a failed, b failed"


def test_a_lost_quorum_stops_and_a_regained_one_starts_again(manage: Manage, told: Path) -> None:
    quorum = 'contracts = [{quorum = {of = ["n1", "n2", "n3"], at_least = 2}}]\n'
    manager = manage({"n1": until_told(told, "exit 3"), "n2": SLEEP, "n3": OFF + SLEEP, "web": quorum + SLEEP})
    manager.settle("n1", "n2")
    assert manager.settle("web")["state"] == "running"
    told.write_text("now\n")
    web = manager.until("web", lambda s: s["state"] in ("waiting", "failed"))
    assert "web requires 2 of n1, n2, n3, of which too few are left" in str(web["history"])
    start(manager, "n3")
    assert manager.settle("web")["state"] == "running"


def test_a_quorum_is_borne_lost_for_its_grace(manage: Manage, told: Path) -> None:
    quorum = 'contracts = [{quorum = {of = ["n1", "n2"], at_least = 2, grace = "1h"}}]\n'
    manager = manage({"n1": until_told(told, "exit 3"), "n2": SLEEP, "web": quorum + SLEEP})
    before = manager.settle("web")
    told.write_text("now\n")
    manager.until("n1", lambda s: s["state"] == "failed")
    assert manager.show("web")["pid"] == before["pid"]
    manager.await_said("too few are up")
    start(manager, "n1")
    assert manager.show("web")["pid"] == before["pid"]


def test_after_the_grace_it_stops(manage: Manage, told: Path) -> None:
    quorum = 'contracts = [{quorum = {of = ["n1", "n2"], at_least = 2, grace = "1ms"}}]\n'
    manager = manage({"n1": until_told(told, "exit 3"), "n2": SLEEP, "web": quorum + SLEEP})
    manager.settle("web")
    told.write_text("now\n")
    assert manager.until("web", lambda s: s["state"] == "failed")["failure"]["reason"] == "dependency"


# -- circles and missing names -----------------------------------------------------------------------------------------


def test_at_boot_a_soft_edge_of_a_circle_gives_way_and_both_services_show_it(manage: Manage) -> None:
    manager = manage({"a": 'after = ["b"]\n' + SLEEP, "b": 'requires = ["a"]\n' + SLEEP})
    assert (manager.settle("a")["state"], manager.settle("b")["state"]) == ("running", "running")
    for label in "ab":
        (told,) = manager.show(label)["broken_edges"]
        assert told.startswith("the order of a after b is not kept: a circle: a → b → a: ")
        assert "a.toml:1" in told
        assert told in chain(manager, label)
        assert "is not kept" in manager.ctl("status", label).stdout
    assert manager.call("Plan")["plan"]["problems"]


def test_who_is_in_a_circle_of_hard_edges_fails_and_says_why_and_the_others_run(manage: Manage) -> None:
    manager = manage(
        {
            "a": 'requires = ["b"]\n' + SLEEP,
            "b": 'requires = ["a"]\n' + SLEEP,
            "c": 'requires = ["a"]\n' + SLEEP,
            "d": SLEEP,
        }
    )
    for label in "abc":
        found = manager.settle(label)
        assert (found["state"], found["failure"]["reason"]) == ("failed", "dependency")
    assert "a circle: a → b → a" in chain(manager, "a")
    assert "a circle: a → b → a" in chain(manager, "c")
    assert manager.settle("d")["state"] == "running"
    assert start(manager, "a")["state"] == "failed"


def test_contradictory_orders_between_two_are_a_circle(manage: Manage) -> None:
    manager = manage({"a": 'after = ["b"]\nbefore = ["b"]\n' + SLEEP, "b": SLEEP})
    assert (manager.settle("a")["state"], manager.settle("b")["state"]) == ("running", "running")
    assert "a → b → a" in manager.show("b")["broken_edges"][0]


def test_a_name_that_nobody_has_is_waited_for_in_sight(manage: Manage) -> None:
    manager = manage({"a": 'requires = ["nobody"]\n' + SLEEP})
    assert manager.settle("a")["waiting_for"] == [{"kind": "requires", "name": "nobody", "chain": [], "state": None}]
    assert "waits: requires nobody (no such service)" in chain(manager, "a")


# -- targets -----------------------------------------------------------------------------------------------------------


def test_a_target_starts_what_it_pulls_in_and_stops_the_rest(manage: Manage) -> None:
    manager = manage(
        {
            "rescue": OFF + 'payload = "virtual"\nrequires = ["shell"]\n',
            "shell": OFF + SLEEP,
            "web": 'requires = ["db"]\n' + SLEEP,
            "db": SLEEP,
            "log": "ignore_isolate = true\n" + SLEEP,
        }
    )
    before = manager.settle("log")
    manager.settle("web")
    done = manager.ctl("target", "rescue")
    assert done.returncode == 0, done.stdout
    assert [state(manager, x) for x in ("rescue", "shell", "web", "db")] == ["running", "running", "stopped", "stopped"]
    assert manager.show("log")["pid"] == before["pid"]
    assert "target rescue" in chain(manager, "web")
    assert manager.ctl("isolate", "log").returncode == 1


def test_a_target_is_ready_when_its_needs_are(manage: Manage, told: Path) -> None:
    target = OFF + 'payload = "virtual"\nrequires = ["slow"]\n'
    once = '[supervision]\nkind = "one-shot"\n'
    manager = manage({"t": target, "slow": OFF + until_told(told, "exit 0", once)})
    starter = beside(manager, "Start", labels=["t"])
    manager.until("slow", lambda s: s["state"] == "starting")
    assert state(manager, "t") == "waiting"
    told.write_text("now\n")
    starter.join(30)
    assert state(manager, "t") == "running"


def test_a_stop_of_a_target_stops_its_parts_alone(manage: Manage) -> None:
    manager = manage(
        {
            "t": 'payload = "virtual"\nwants = ["in", "with"]\n',
            "in": 'part_of = ["t"]\n' + SLEEP,
            "with": SLEEP,
        }
    )
    manager.settle("t", "in", "with")
    assert stop(manager, "t")["result"] == "done"
    assert (state(manager, "in"), state(manager, "with")) == ("stopped", "running")


# -- the tree ----------------------------------------------------------------------------------------------------------


def test_deps_shows_the_tree_both_ways(manage: Manage) -> None:
    manager = manage(
        {
            "web": 'requires = ["db"]\nwants = ["nobody"]\nafter = ["log"]\ncontracts = [{any = ["log", "db"]}]\n'
            + SLEEP,
            "db": 'wants = ["log"]\n' + SLEEP,
            "log": SLEEP,
        }
    )
    manager.settle("web")
    tree = manager.ctl("deps", "web").stdout.splitlines()
    assert tree == [
        "web (running)",
        "|- requires db (running)",
        "|  `- wants log (running)",
        "|- contracts log (any of log, db) (running) ...",
        "|- contracts db (any of log, db) (running) ...",
        "|- wants nobody (no such service)",
        "`- after log (running) ...",
    ]
    assert "needs any of log, db: log (running), db (running)" in manager.ctl("status", "web").stdout
    assert manager.ctl("deps", "db", "--reverse").stdout.splitlines()[1] == "|- requires web (running)"
    back = manager.json("deps", "log", "--reverse")
    assert [(node["depth"], node["kind"], node["label"]) for node in back][:4] == [
        (0, "", "log"),
        (1, "wants", "db"),
        (2, "requires", "web"),
        (2, "contracts", "web"),
    ]
    assert manager.ctl("deps", "nobody").returncode == 4


# -- while something else happens --------------------------------------------------------------------------------------


def test_a_dependency_that_fails_while_its_dependent_starts_is_felt(manage: Manage, told: Path) -> None:
    once = '[supervision]\nkind = "one-shot"\n'
    manager = manage({"db": until_told(told, "exit 3"), "job": 'requires = ["db"]\n' + SLEEP + once})
    manager.until("job", lambda s: s["state"] == "starting" and s["pid"])
    told.write_text("now\n")
    assert manager.until("job", lambda s: s["state"] == "failed")["failure"]["reason"] == "dependency"


def test_a_start_while_a_dependency_is_in_backoff_waits_for_it(manage: Manage) -> None:
    later = '[supervision]\nreadiness = "notify"\nrestart = "always"\ninitial = 1000\nmax = 1000\n'
    manager = manage({"db": sh("exit 1") + later, "web": OFF + 'requires = ["db"]\n' + SLEEP})
    manager.until("db", lambda s: s["state"] == "backoff")
    starter = beside(manager, "Start", labels=["web"])
    web = manager.until("web", lambda s: s["state"] == "waiting")
    assert web["waiting_for"][0]["state"] in ("backoff", "starting", "waiting")
    stop(manager, "web")
    starter.join(30)
    assert state(manager, "web") == "stopped"


def test_a_service_may_restart_what_it_depends_on_from_inside(manage: Manage, place: Path) -> None:
    ctl = f"cd {ROOT}; {sys.executable} -m arje.ctl --socket {place}/0/run/io.arje"
    script = f"{ctl} restart db; echo done; exec sleep infinity"
    manager = manage({"db": SLEEP, "web": OFF + 'requires = ["db"]\n' + sh(script)})
    before = manager.settle("db")
    start(manager, "web")
    manager.await_line("web", "done")
    assert manager.show("db")["pid"] != before["pid"]
    assert state(manager, "web") == "running"


def test_an_edge_that_is_new_in_a_card_is_in_force_after_apply(manage: Manage) -> None:
    manager = manage({"db": SLEEP, "web": SLEEP})
    before = manager.settle("web")
    manager.settle("db")
    manager.write("web", 'requires = ["db"]\n' + SLEEP)
    assert manager.call("Apply", token="")["plan"]["applied"]
    assert manager.show("web")["pid"] == before["pid"]
    assert stop(manager, "db")["result"] == "dependents"
