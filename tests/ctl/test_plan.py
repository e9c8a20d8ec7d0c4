"""``arjectl plan X`` and ``arjectl plan FILE``: what a start would get here, told without starting anything."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Manager, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")


def test_a_card_that_changed_on_disk_is_pointed_out_and_planned(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    pid = manager.settle("a")["pid"]
    assert "since loaded" not in manager.ctl("status", "a").stdout
    manager.write("a", sh("exec sleep infinity", 'namespaces = ["uts"]\nhostname = "h"'))
    assert "(changed since loaded: arjectl plan a)" in manager.ctl("status", "a").stdout
    planned = manager.ctl("plan", "a").stdout
    assert "~ a (soma): restarts" in planned
    assert "+ uts" in planned
    manager.write("a", sh("exec sleep infinity", 'hostname = "h"'))
    refused = manager.ctl("plan", "a")
    assert refused.returncode == 6
    assert "soma.hostname: it would rename the machine (ask for namespaces.uts as well)" in refused.stdout
    (manager.cards / "a.toml").unlink()
    assert "(gone since loaded: arjectl plan a)" in manager.ctl("status", "a").stdout
    assert manager.show("a")["pid"] == pid, "looking changes nothing"


def test_a_card_file_is_planned_without_starting_anything(manage: Manage, place: Path) -> None:
    manager = manage({"a": SLEEP}, user=True)
    canary, card = place / "canary", place / "b.toml"
    card.write_text(sh(f"touch {canary}", 'namespaces = ["mount"]\ncgroup = {memory_max = "1G"}'))
    done = manager.ctl("plan", str(card))
    assert done.returncode == 0
    granted = re.search(r"b: would start here, (\d) of (\d) granted", done.stdout)
    assert granted is not None
    assert granted[1] < granted[2]
    assert "! cgroup.memory_max" in done.stdout
    assert re.search(r"\d\. exec: /bin/sh", done.stdout)
    card.write_text(sh(f"touch {canary}", 'strict_caps = true\ncgroup = {memory_max = "1G"}'))
    assert manager.ctl("plan", str(card)).returncode == 153
    card.write_text("colour = 1\nsize = 2\n")
    done = manager.ctl("plan", str(card))
    assert done.returncode == 6
    assert f"{card}:1: colour: no such field" in done.stdout
    assert f"{card}:2: size: no such field" in done.stdout
    assert [service["label"] for service in manager.json("list")] == ["a"]
    assert not canary.exists()


def test_a_seed_is_planned_card_by_card(manage: Manage, place: Path) -> None:
    card = place / "seed.json"
    cell = {"schema_version": 1, "id": "2", "label": "cell", "payload": {"Native": {"exec": "/bin/true"}}}
    card.write_text(json.dumps({"schema_version": 1, "id": "1", "label": "seed", "genesis": [cell]}))
    done = manage({}).ctl("plan", str(card))
    assert "seed: it has no process" in done.stdout
    assert "cell: would start here" in done.stdout
    assert done.returncode == 0


def test_what_cannot_be_a_card_is_refused_before_it_is_sent(manage: Manage, place: Path) -> None:
    manager, card = manage({}), place / "x.toml"
    for data, expected in ((b"\xff", "byte 0xff is not UTF-8"), (b"#" * 1_000_000, "larger than")):
        card.write_bytes(data)
        done = manager.ctl("plan", str(card))
        assert done.returncode == 6
        assert expected in done.stdout
