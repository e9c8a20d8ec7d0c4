"""edit X: an editor on the right file; what is wrong is not kept; the plan is shown, and taken when it is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT, Manager, sh
from tests.ctl.terminals import Terminal

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")


def editor(manager: Manager, script: str) -> str:
    """Return an editor that does this with the file, which is $1."""
    path = manager.directory / "editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def edit(manager: Manager, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"EDITOR": editor(manager, script)}
    env.pop("VISUAL", None)
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), "edit", *words]
    return subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_a_good_change_is_saved_planned_and_not_taken_without_a_word(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    pid = manager.settle("a")["pid"]
    done = edit(manager, 'sed -i s/infinity/1000/ "$1"', "a")
    assert done.returncode == 0, done.stderr
    assert f"{manager.cards}/a.toml: saved." in done.stdout
    assert "~ a (payload): restarts" in done.stdout
    assert "Take it with: arjectl apply" in done.stdout
    assert "1000" in (manager.cards / "a.toml").read_text()
    assert manager.show("a")["pid"] == pid
    done = edit(manager, 'sed -i s/1000/2000/ "$1"', "a", "--now")
    assert "a: running" in done.stdout
    assert manager.show("a")["command"][-1] == "exec sleep 2000"


def test_a_bad_change_is_not_saved(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    before = (manager.cards / "a.toml").read_text()
    done = edit(manager, 'echo "colour = 1" > "$1"', "a")
    assert done.returncode == 6
    assert "a.toml:1: colour: no such field" in done.stdout
    assert "nothing was saved" in done.stdout
    assert (manager.cards / "a.toml").read_text() == before
    assert [path.name for path in manager.cards.iterdir()] == ["a.toml"], "nothing else is left either"


def test_a_person_may_mend_what_is_wrong(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    manager.settle("a")
    script = 'if grep -q colour "$1"; then sed -i /colour/d "$1"; sed -i s/infinity/1000/ "$1"; else '
    script += 'sed -i "1i colour = 1" "$1"; fi'
    terminal = Terminal(manager, "edit", "a", EDITOR=editor(manager, script), VISUAL="")
    terminal.until(lambda said: "Edit it again? [Y/n]" in said)
    terminal.send("\n")
    terminal.until(lambda said: "Take it now? [y/N]" in said)
    terminal.send("y\n")
    assert terminal.end() == 0
    assert manager.show("a")["command"][-1] == "exec sleep 1000"


def test_nothing_changed_is_nothing_done(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    done = edit(manager, "true", "a")
    assert (done.returncode, done.stdout) == (0, f"{manager.cards}/a.toml: nothing has changed.\n")
    done = edit(manager, "true", "a", "--drop-in")
    assert done.returncode == 0
    assert not (manager.cards / "a.card.d").exists()


def test_a_drop_in_says_only_what_is_different(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    before = (manager.cards / "a.toml").read_text()
    manager.settle("a")
    done = edit(manager, """echo 'description = "other"' >> "$1" """, "a", "--drop-in", "--now")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (manager.cards / "a.toml").read_text() == before
    assert (manager.cards / "a.card.d" / "60-edit.toml").read_text().endswith('description = "other"\n')
    assert manager.show("a")["description"] == "other"
    done = edit(manager, """echo 'colour = 1' >> "$1" """, "a", "--drop-in")
    assert done.returncode == 6
    assert "60-edit.toml:3: colour: no such field" in done.stdout
    assert "colour" not in (manager.cards / "a.card.d" / "60-edit.toml").read_text()


def test_an_editor_that_fails_changes_nothing(manage: Manage) -> None:
    manager = manage({"a": SLEEP})
    done = edit(manager, 'echo >> "$1"; exit 3', "a")
    assert done.returncode == 2
    assert "ended with 3; nothing was saved" in done.stderr
    env = os.environ | {"VISUAL": "/no/such/editor"}
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), "edit", "a"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "/no/such/editor: cannot be run" in done.stderr
    assert Path(manager.cards, "a.toml").exists()
