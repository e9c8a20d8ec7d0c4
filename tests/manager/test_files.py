"""Files of cards under a running manager: drop-ins, templates, instances, scale, what a start reads, the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import Manager, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
SAYS = sh("echo I am $NAME; exec sleep infinity").replace("[soma]", 'env = {NAME = "%i of %p"}\n[soma]')


def labels(manager: Manager) -> list[str]:
    return sorted(service["label"] for service in manager.call("List")["services"])


def put(manager: Manager, name: str, text: str) -> Path:
    file = manager.cards / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def test_a_drop_in_is_noticed_planned_shown_and_taken(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    pid = manager.settle("a")["pid"]
    file = put(manager, "a.card.d/10.toml", "[soma]\nrlimits = {nofile = 77}\n")
    while not manager.call("GetManager")["manager"]["changed_on_disk"]:
        pass
    assert manager.show("a")["card_on_disk"] == "changed"
    assert manager.call("Plan")["plan"]["changes"] == [
        {"label": "a", "change": "modify", "feels": "restarts", "fields": ["soma"], "why": ""}
    ]
    assert manager.call("Apply")["plan"]["applied"]
    found = manager.show("a")
    assert found["pid"] != pid
    assert (found["card_on_disk"], found["card_dropins"]) == ("same", [str(file)])
    assert f"Drop-ins: {file}" in manager.ctl("status", "a").stdout
    file.write_text("[soma]\nrlimits = {nofile = 78}\n")  # in a directory that was not there at the start
    assert manager.until("a", lambda a: a["card_on_disk"] == "changed")
    while not manager.call("GetManager")["manager"]["changed_on_disk"]:
        pass


def test_a_failure_that_a_drop_in_caused_names_it(manage: Manage) -> None:
    manager = manage({"a": "enabled = false\n" + SLEEP})
    file = put(manager, "a.card.d/10.toml", '\n[soma]\nchdir = "/no/such"\n')
    manager.call("Apply")
    manager.call("Start", labels=["a"])
    failure = manager.show("a")["failure"]
    assert (failure["field"], failure["file"], failure["line"]) == ("soma.chdir", str(file), 3)
    assert f"soma.chdir ({file}:3)" in manager.ctl("status", "a").stdout


def test_a_degradation_names_the_drop_in_that_asks_for_it(manage: Manage) -> None:
    manager = manage({"a": "enabled = false\n" + SLEEP}, user=True)
    file = put(manager, "a.card.d/10.toml", '\n[soma]\ncgroup = {memory_max = "1G"}\n')
    manager.call("Apply")
    manager.call("Start", labels=["a"])
    lost = {loss["feature"]: (loss["file"], loss["line"]) for loss in manager.show("a")["isolation"]["degradations"]}
    assert lost["cgroup.memory_max"] == (str(file), 3)


def test_the_forecast_of_a_card_tells_what_is_wrong_with_its_drop_in(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    put(manager, "a.card.d/10.toml", "colour = 1\n")
    (problem,) = manager.call("Forecast", label="a")["problems"]
    assert (problem["field"], problem["line"]) == ("colour", 1)
    assert manager.ctl("apply").returncode == 6
    assert manager.settle("a")["state"] == "running"


def test_a_card_that_nobody_has_yet_may_require_an_instance(manage: Manage) -> None:
    manager = manage({"web@": SLEEP})
    found = manager.call("Check", name="x.toml", text='requires = ["web@7"]\n' + SLEEP)
    assert (len(found["forecasts"]), found["problems"]) == (1, [])


def test_cat_shows_every_file_that_made_the_card_below_its_name(manage: Manage) -> None:
    manager = manage({"web@": "copies = 1\n" + SLEEP})
    put(manager, "_all.card.d/a.toml", "# for all\n")
    put(manager, "web@1.card.d/b.toml", 'description = "one"\n')
    manager.call("Apply")
    said = manager.ctl("cat", "web@1").stdout
    files = [line for line in said.splitlines() if line.startswith("# /")]
    assert files == [f"# {manager.cards}/{name}" for name in ("web@.toml", "_all.card.d/a.toml", "web@1.card.d/b.toml")]
    assert "# for all" in said
    assert 'description = "one"' in said
    assert f"# {manager.cards}/web@.toml" in manager.ctl("cat", "web@").stdout
    assert manager.ctl("cat", "nobody").returncode == 4


def test_instances_are_services_and_the_template_is_none(manage: Manage) -> None:
    manager = manage({"web@": 'instances = ["a", "b"]\n' + SAYS})
    manager.await_line("web@a", "I am a of web")
    manager.await_line("web@b", "I am b of web")
    assert labels(manager) == ["web@a", "web@b"]
    assert (manager.show("web@a")["template"], manager.show("web@a")["enabled"]) == ("web@", True)
    assert manager.call("GetManager")["manager"]["templates"] == ["web@"]


def test_an_instance_is_made_when_it_is_started_and_goes_with_the_next_apply_after_its_stop(manage: Manage) -> None:
    manager = manage({"web@": 'requires = ["db@%i"]\n' + SAYS, "db@": SLEEP})
    assert labels(manager) == []
    assert manager.ctl("start", "web@blue").returncode == 0
    manager.await_line("web@blue", "I am blue of web")
    assert labels(manager) == ["db@blue", "web@blue"]
    assert not manager.show("web@blue")["enabled"]
    assert manager.call("Apply")["plan"]["changes"] == []
    assert manager.settle("web@blue")["state"] == "running"
    manager.ctl("stop", "--force", "web@blue", "db@blue")
    manager.call("Apply")
    assert labels(manager) == []
    assert manager.ctl("start", "nobody@x").returncode == 5


def test_an_idle_instance_makes_no_plan_stale(manage: Manage) -> None:
    manager = manage({"web@": SLEEP, "a": SLEEP})
    manager.ctl("start", "web@x")
    manager.ctl("stop", "web@x")
    manager.write("a", 'description = "new"\n' + SLEEP)
    token = manager.call("Plan")["plan"]["token"]
    assert manager.ctl("apply", token).returncode == 0
    assert labels(manager) == ["a"]


def test_scale_forgets_no_problem_of_the_others(manage: Manage) -> None:
    manager = manage({"web@": SLEEP, "bad": "colour = 1\n"})
    assert manager.ctl("scale", "web@", "1").returncode == 0
    assert manager.call("GetManager")["manager"]["problems"] == 1


def test_an_enabled_instance_is_there_for_the_next_manager(manage: Manage) -> None:
    manager = manage({"web@": SAYS})
    assert manager.ctl("enable", "--now", "web@x").returncode == 0
    assert (manager.show("web@x")["state"], manager.show("web@x")["enabled"]) == ("running", True)
    assert manager.call("Plan")["plan"]["changes"] == []
    assert manager.stop() == 0
    second = Manager(manager.directory)
    try:
        assert second.settle("web@x")["state"] == "running"
    finally:
        assert second.stop() == 0


def test_a_changed_template_restarts_its_instances_and_nobody_else(manage: Manage) -> None:
    manager = manage({"web@": "copies = 2\n" + SLEEP, "other": SLEEP})
    other = manager.settle("other")["pid"]
    manager.settle("web@2")
    manager.write("web@", "copies = 2\n" + sh("exec sleep 1000"))
    plan = manager.call("Plan")["plan"]
    assert {(change["label"], change["feels"]) for change in plan["changes"]} == {
        ("web@1", "restarts"),
        ("web@2", "restarts"),
    }
    assert manager.call("Apply")["plan"]["applied"]
    assert manager.show("other")["pid"] == other


def test_scale_adds_and_takes_copies_away_and_the_others_feel_nothing(manage: Manage) -> None:
    manager = manage({"web@": "copies = 1\n" + SLEEP, "other": SLEEP})
    first = manager.settle("web@1")["pid"]
    done = manager.ctl("scale", "web@", "3")
    assert done.returncode == 0, done
    assert "+ web@3: starts" in done.stdout
    assert labels(manager) == ["other", "web@1", "web@2", "web@3"]
    assert manager.show("web@3")["state"] == "running"
    assert "copies = 3" in (manager.cards / "web@.card.d" / "50-arjectl.toml").read_text()
    assert manager.call("Plan")["plan"]["changes"] == []
    assert manager.ctl("scale", "web@", "1").returncode == 0
    assert labels(manager) == ["other", "web@1"]
    assert manager.show("web@1")["pid"] == first
    assert manager.ctl("scale", "nobody@", "1").returncode == 5
    assert manager.ctl("scale", "web@", "many").returncode == 2
    assert manager.stop() == 0
    second = Manager(manager.directory)
    try:
        assert labels(second) == ["other", "web@1"]
    finally:
        assert second.stop() == 0


def test_scale_leaves_the_other_changes_on_disk_for_apply(manage: Manage) -> None:
    manager = manage({"web@": "copies = 1\n" + SLEEP, "other": SLEEP})
    manager.settle("other")
    manager.write("other", 'description = "new"\n' + SLEEP)
    manager.write("new", SLEEP)
    assert manager.ctl("scale", "web@", "2").returncode == 0
    assert labels(manager) == ["other", "web@1", "web@2"]
    assert manager.show("other")["description"] == ""
    assert {change["label"] for change in manager.call("Plan")["plan"]["changes"]} == {"other", "new"}


def test_a_changed_env_file_or_secret_is_seen_by_plan_and_apply_restarts(manage: Manage, place: Path) -> None:
    env = place / "a.env"
    env.write_text("WORD=old\n")
    card = sh("echo $WORD; exec sleep infinity").replace("[soma]", f'env_file = ["{env}"]\n[soma]')
    manager = manage({"a": card, "b": SLEEP})
    manager.await_line("a", "old")
    manager.settle("b")
    assert manager.call("Plan")["plan"]["changes"] == []
    env.write_text("WORD=new\n")
    assert manager.call("Plan")["plan"]["changes"] == [
        {"label": "a", "change": "modify", "feels": "restarts", "fields": ["payload.env_file"], "why": ""}
    ]
    assert manager.call("Apply")["plan"]["applied"]
    manager.await_line("a", "new")
    assert manager.call("Plan")["plan"]["changes"] == []


def test_each_instance_has_its_own_env_file_and_credential(manage: Manage, place: Path) -> None:
    for name in "ab":
        (place / f"{name}.env").write_text(f"WORD={name}{name}\n")
        (place / f"{name}.key").write_text(f"secret-{name}")
    text = sh(
        "echo $WORD $(cat $CREDENTIALS_DIRECTORY/key); exec sleep infinity",
        f'namespaces = ["mount"]\ncredentials = {{key = {{source = "{place}/%i.key"}}}}',
    ).replace("[soma]", f'env_file = ["{place}/%i.env"]\n[soma]')
    manager = manage({"web@": 'instances = ["a", "b"]\n' + text})
    manager.await_line("web@a", "aa secret-a")
    manager.await_line("web@b", "bb secret-b")
    (place / "b.key").write_text("other")
    assert [change["label"] for change in manager.call("Plan")["plan"]["changes"]] == ["web@b"]


def test_the_second_start_of_a_manager_judges_no_card_and_a_broken_cache_costs_nothing_else(manage: Manage) -> None:
    manager = manage({"a": SLEEP, "web@": "copies = 2\n" + SLEEP})
    manager.settle("a")
    cache = manager.runtime / "cards.cache"
    while not cache.exists():
        pass
    manager.await_said("judged=3")
    assert manager.stop() == 0
    for damage, said in ((None, "judged=0"), (b"garbage", "judged=3"), (None, "judged=0")):
        if damage:
            cache.write_bytes(damage)
        second = Manager(manager.directory, fresh=True)
        try:
            assert second.settle("web@2")["state"] == "running"
            second.await_said(said)
            maps = Path(f"/proc/{second.process.pid}/maps").read_text()
            assert ("pydantic_core" in maps) == (said != "judged=0")
        finally:
            assert second.stop() == 0


def test_what_an_apply_has_judged_the_next_manager_knows(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    cache = manager.runtime / "cards.cache"
    while not cache.exists():
        pass
    before = cache.stat().st_ino
    manager.write("b", SLEEP)
    assert manager.call("Apply")["plan"]["applied"]
    while cache.stat().st_ino == before:
        pass
    assert manager.stop() == 0
    second = Manager(manager.directory)
    try:
        assert second.settle("b")["state"] == "running"
        second.await_said("judged=0")
    finally:
        assert second.stop() == 0


def test_a_masked_name_in_the_runtime_layer_gives_way_to_the_given_directories(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    (manager.runtime / "cards.d").mkdir(exist_ok=True)
    (manager.runtime / "cards.d" / "a.toml").write_text("")
    (manager.runtime / "cards.d" / "b.toml").write_text(SLEEP)
    assert manager.call("Apply")["plan"]["applied"]
    assert (manager.show("a")["masked"], manager.show("b")["state"]) == (None, "running")
