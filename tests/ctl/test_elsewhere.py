"""``arjectl plan X --on FILE``: what a start on another host would get, from the report that was saved there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Manager, needs_root, sh

Manage = Callable[..., Manager]
SOMA = """
namespaces = ["mount", "pid", "uts", "net", "ipc"]
hostname = "elsewhere"
cpu_affinity = [0, 900]
nice = -5
oom_score_adj = -500
scheduler = "fifo:10"
ioprio = "realtime:3"
private_tmp = true
masked_paths = ["/proc/kcore"]
no_new_privs = true
seccomp = {deny = ["ptrace"]}
rlimits = {nofile = 1000000, nproc = 100, memlock = "unlimited"}
cgroup = {memory_max = "1G", pids_max = 100, cpu_weight = 50}
"""


def losses(degradations: list[dict[str, Any]]) -> dict[str, tuple[str, str, str]]:
    return {loss["feature"]: (loss["cause"], loss["requested"], loss["obtained"]) for loss in degradations}


def saved(manager: Manager, place: Path) -> Path:
    file = place / "host.json"
    file.write_text(manager.ctl("doctor", "--json").stdout)
    return file


@needs_root
@pytest.mark.parametrize("soma", [SOMA, SOMA.replace("-5", "5")])
def test_the_report_of_a_users_manager_foretells_exactly_what_a_start_there_gives(
    manage: Manage, place: Path, soma: str
) -> None:
    theirs = manage({"a": sh("exec sleep infinity", soma)}, user=True)
    ours = manage({"a": sh("exec sleep infinity", soma)})
    got = theirs.settle("a")
    assert got["state"] == "running", got["failure"]
    (foretold,) = ours.json("plan", "a", "--on", str(saved(theirs, place)))["forecasts"]
    assert losses(foretold["degradations"]) == losses(got["isolation"]["degradations"])
    assert (foretold["requested"], foretold["granted"]) == (
        got["isolation"]["requested"],
        got["isolation"]["granted"],
    )
    assert {ask["feature"] for ask in foretold["asks"]} == {grant["feature"] for grant in got["isolation"]["grants"]}
    (here,) = ours.json("plan", "a")["forecasts"]
    assert losses(here["degradations"]) == losses(ours.settle("a")["isolation"]["degradations"])
    assert losses(here["degradations"]) != losses(foretold["degradations"])


@needs_root
def test_what_another_host_would_refuse_is_refused_in_the_forecast(manage: Manage, place: Path) -> None:
    card = sh("exec sleep infinity", 'run_as = "daemon"\n')
    theirs, ours = manage({"a": card}, user=True), manage({})
    failed = theirs.until("a", lambda found: found["state"] == "failed")
    file = place / "a.toml"
    file.write_text(card)
    done = ours.ctl("plan", str(file), "--on", str(saved(theirs, place)))
    assert done.returncode == 153
    assert f"would be refused on the host of {place}/host.json" in done.stdout
    foretold = ours.json("plan", str(file), "--on", str(place / "host.json"))["forecasts"][0]
    assert losses(foretold["degradations"]) == losses(failed["isolation"]["degradations"])
    assert ours.ctl("plan", str(file)).returncode == 0


def test_a_feature_that_a_host_lacks_is_foretold_with_the_hosts_own_cause_and_remedy(
    manage: Manage, place: Path
) -> None:
    manager = manage(
        {"a": sh("exec sleep infinity", 'namespaces = ["uts"]\nhostname = "h"\nseccomp = {deny = ["ptrace"]}')}
    )
    file = saved(manager, place)
    report = json.loads(file.read_text())
    for feature in report["features"]:
        if feature["feature"] in ("uts", "seccomp"):
            feature |= {"available": False, "needs_user": False, "cause": "kernel-too-old", "remedy": "wait a year"}
    file.write_text(json.dumps(report))
    (foretold,) = manager.json("plan", "a", "--on", str(file))["forecasts"]
    lost = {loss["feature"]: (loss["cause"], loss["remedy"]) for loss in foretold["degradations"]}
    assert lost == dict.fromkeys(("uts", "seccomp", "hostname"), ("kernel-too-old", "wait a year"))
    assert foretold["granted"] == foretold["requested"] - 3
    assert manager.json("plan", "a")["forecasts"][0]["degradations"] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[]", "is no host report"),
        ("{}", "this is no host report: it needs host and features"),
        ('{"host": {"format": 7}, "features": []}', "has format 7, this arje reads 1"),
        ('{"host": {"format": 1}, "features": []}', "the host report is broken: host."),
        ("x" * 500_000, "larger than"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_broken_report_is_a_clear_error(manage: Manage, place: Path, text: str | None, said: str) -> None:
    manager = manage({"a": sh("exec sleep infinity")})
    file = place / "host.json"
    if text is not None:
        file.write_text(text)
    done = manager.ctl("plan", "a", "--on", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "arjectl doctor --json > host.json" in done.stderr or text is None


def test_on_is_of_one_service_or_card(manage: Manage, place: Path) -> None:
    done = manage({}).ctl("plan", "--on", str(place / "host.json"))
    assert done.returncode == 2
    assert "arjectl plan X --on FILE" in done.stderr
