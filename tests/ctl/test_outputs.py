"""Whatever ``arjectl --json`` writes is what its published schema says, verb by verb, errors too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arje.control.idl import manager as interface
from arje.control.outputs import OUTPUTS, schema_of
from arje.ctl.verbs import VERBS
from tests.conftest import ROOT, Manager, sh

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
Manage = Callable[..., Manager]
#: Verbs that write no JSON of their own.
NONE = {"bridge", "completion"}
#: Verbs that no test says to the manager of this machine; what answers them is held against its description elsewhere.
END = {"poweroff", "reboot", "halt", "kexec", "soft-reboot", "switch-root", "exit", "rescue", "emergency", "edit"}
CARDS = {
    "a": 'wants = ["t"]\nprovides = ["x"]\n' + sh("echo one; exec sleep infinity", "rlimits = {nofile = 100}"),
    "bad": "enabled = false\n" + sh("exit 3"),
    "t": sh("true") + '[supervision]\nkind = "one-shot"\n[timer]\nevery = "1h"\n',
    "s": 'sockets = ["unix:/{place}/s.sock"]\nactivation = "on-demand"\n' + sh("exec sleep infinity"),
    "p": 'paths = ["exists:/{place}/p"]\n' + sh("exec sleep infinity"),
    "group": 'payload = "virtual"\nrequires = ["a"]\n',
    "c@": "copies = 1\n" + sh("exec sleep infinity"),
    "weak": "enabled = false\n" + sh("exec sleep infinity", 'cgroup = {memory_max = "1G"}'),
}
#: Verb → command lines; those that change much come last.
LINES: dict[str, list[list[str]]] = {
    "status": [[], ["a"]],
    "list": [[], ["nobody"]],
    "show": [["a", "bad", "weak", "s", "t"]],
    "cat": [["a"]],
    "why": [["a"], ["nobody"]],
    "history": [["a"]],
    "deps": [["group"], ["a", "--reverse"]],
    "ps": [[]],
    "failed": [[]],
    "graph": [[]],
    "top": [[]],
    "watch": [[]],
    "analyze": [["blame"], ["blame", "--apply"]],
    "check": [[]],
    "log-level": [[]],
    "shell": [["a", "true"]],
    "degradations": [[]],
    "sockets": [[]],
    "paths": [[]],
    "timers": [[]],
    "logs": [["a"]],
    "events": [[]],
    "metrics": [[]],
    "boot": [[]],
    "ping": [[]],
    "version": [[]],
    "schema": [[]],
    "doctor": [[]],
    "is-active": [["a"]],
    "is-ready": [["a"]],
    "is-failed": [["a"]],
    "is-enabled": [["a"]],
    "is-degraded": [["a"]],
    "is-system-running": [[]],
    "wait": [["a"], ["a", "--for", "running"]],
    "plan": [[], ["a"], ["weak"]],
    "rollback": [["--list"], []],
    "import": [["{place}/Procfile", "--check"]],
    "wake": [["a"]],
    "release": [["bad"]],
    "start": [["--dry-run", "a"], ["bad", "weak"], ["nobody"]],
    "trigger": [["t"]],
    "restart": [["a"]],
    "try-restart": [["bad"]],
    "reload": [["a"]],
    "reload-or-restart": [["a"]],
    "kill": [["a", "-s", "CONT"], ["a", "-s", "NONE"]],
    "freeze": [["a"]],
    "thaw": [["a"]],
    "set": [["a", "nofile=90"], ["a", "nonsense=1"]],
    "heal": [[]],
    "harden": [["a", "--for", "0.1"]],
    "run": [["--", "true"], ["--wait", "--", "sh", "-c", "echo hello"]],
    "enable": [["bad"]],
    "disable": [["bad"]],
    "mask": [["bad"]],
    "unmask": [["bad"]],
    "pin": [["a"]],
    "unpin": [["a"]],
    "scale": [["c@", "2"]],
    "reset-failed": [[]],
    "apply": [[]],
    "stop": [["a"], ["--force", "a"]],
    "target": [["group"]],
}


@pytest.fixture
def manager(manage: Manage, place: Path) -> Manager:
    (place / "Procfile").write_text("web: exec sleep 1\n")
    made = manage({label: text.replace("/{place}", str(place)) for label, text in CARDS.items()}, user=False)
    made.settle()
    return made


def test_what_every_verb_writes_is_what_its_schema_says(manager: Manager, place: Path) -> None:
    told = {verb: manager.json("schema", "--output", verb) for verb in OUTPUTS}
    for verb, lines in LINES.items():
        judge = jsonschema.Draft202012Validator(told[verb])
        for words in lines:
            filled = [word.replace("{place}", str(place)) for word in words]
            done = manager.ctl("--json", verb, *filled)
            written = done.stdout.splitlines()
            assert written, (verb, words, done.stderr)
            for line in written:
                wrong = [f"{list(error.path)}: {error.message[:200]}" for error in _deepest(judge, json.loads(line))]
                assert wrong == [], (verb, words, line[:300])


def _deepest(judge: Any, value: Any) -> list[Any]:
    """Return the errors of the alternative that fits best: those of all of them would say nothing."""
    errors = list(judge.iter_errors(value))
    return [jsonschema.exceptions.best_match(errors)] if errors else []


def test_every_verb_that_writes_json_is_tried_and_has_a_schema() -> None:
    assert VERBS.keys() - NONE == OUTPUTS.keys()
    assert LINES.keys() == OUTPUTS.keys() - END


@pytest.mark.parametrize("verb", OUTPUTS)
def test_every_schema_is_one(verb: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(verb))


def test_a_schema_refuses_what_is_not_so() -> None:
    judge = jsonschema.Draft202012Validator(schema_of("ping"))
    assert judge.is_valid({"version": "0.1", "pid": 1})
    assert judge.is_valid({"error": "unreachable", "message": "x", "code": 150})
    assert not judge.is_valid({"version": "0.1"})
    assert not judge.is_valid({"version": "0.1", "pid": 1, "more": 2})
    assert not judge.is_valid({"version": 1, "pid": 1})


def test_an_alias_means_its_verb_and_an_unknown_one_is_told(manager: Manager) -> None:
    assert manager.json("schema", "--output", "ls") == manager.json("schema", "--output", "list")
    done = manager.ctl("schema", "--output", "nonsense")
    assert done.returncode == 2
    assert "no verb 'nonsense' writes JSON" in done.stderr


def test_without_a_manager_the_error_is_as_the_schema_has_it(place: Path) -> None:
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(place / "none"), "--json", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert jsonschema.Draft202012Validator(schema_of("list")).is_valid(json.loads(done.stdout))


def test_every_type_of_the_interface_has_a_schema() -> None:
    from arje.control.idl import Type, schema

    for member in interface().members:
        made = schema(Type("ref", member.name) if member.kind == "type" else member.input, interface())
        jsonschema.Draft202012Validator.check_schema(made)
