"""Every verb × {no manager, no such service, no permission, wrong state}: its exit code and its message.

The rows are driven by the table of verbs: a new verb without a row here fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from arje.ctl.everywhere import GLOBALS
from arje.ctl.exitcodes import meaning
from arje.ctl.verb import GROUPS, KINDS
from arje.ctl.verbs import NAMES, VERBS
from tests.conftest import NOBODY, ROOT, Manager, needs_root, python_for_nobody, sh
from tests.ctl.each_verb import run

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")
CARDS: Final = {
    "up": SLEEP,
    "down": "enabled = false\n" + SLEEP,
    "bad": sh("exit 3") + '[supervision]\nkind = "one-shot"\n',
    "masked": "enabled = false\nmasked = true\n" + SLEEP,
    "needs": 'requires = ["up"]\n' + SLEEP,
    "copy@": sh("exec sleep infinity"),
}
NO_MACHINE = "no machine's and no container's first"
NO_PROCESS = "it has no process to change; arjectl start down, arjectl why down"


PROCFILE: Final = ROOT / "tests/imports/given/procfile/Procfile"


class Row(NamedTuple):
    """How a verb is written, and what it says to services in a state that is not what it is for: words → code, text."""

    words: str
    wrong: dict[str, tuple[int, str]] = {}  # noqa: RUF012 - never changed


#: A word ``up`` stands where a service does.
ROWS: Final = {
    "status": Row("up", {"down": (3, "stopped since"), "bad": (3, "exited 3"), "": (0, "exited 3")}),
    "list": Row("up", {"down": (0, "stopped")}),
    "show": Row("up -P state", {"down -P state": (0, "stopped"), "up -P colour": (2, "no field 'colour'")}),
    "cat": Row("up"),
    "why": Row("up", {"down": (0, "down is stopped"), "bad": (0, "exited 3")}),
    "history": Row("up"),
    "deps": Row("up", {"needs": (0, "requires up (running)")}),
    "graph": Row("up", {"-f xml": (2, "is none of ascii, dot")}),
    "failed": Row("up", {"": (1, "arjectl why bad"), "up": (0, "Nothing has failed")}),
    "ps": Row("up", {"down": (0, "down: stopped")}),
    "top": Row("up", {"down": (0, "stopped")}),
    "degradations": Row("up"),
    "sockets": Row("up"),
    "paths": Row("up"),
    "timers": Row("up", {"up": (0, "No service has a timer.")}),
    "start": Row("up", {"up": (0, "running already"), "masked": (1, "masked"), "bad": (1, "exited 3")}),
    "stop": Row("up", {"down": (0, "not running"), "up": (151, "needs need it (--force stops them first)")}),
    "restart": Row("up", {"masked": (1, "masked")}),
    "try-restart": Row("up", {"down": (0, "not running")}),
    "reload": Row("up", {"down": (7, "not running"), "up": (1, 'supervision.reload = "HUP"')}),
    "reload-or-restart": Row("up", {"masked": (1, "masked")}),
    "trigger": Row("up", {"up": (0, "running already"), "masked": (1, "masked")}),
    "wake": Row("up", {"up": (0, "running already"), "down": (1, "nothing that runs needs it: arjectl start down")}),
    "release": Row("up", {"down": (0, "not running"), "up": (0, "running: needs needs it")}),
    "kill": Row("up -s CONT", {"down": (7, "not running"), "up -s NONE": (2, "is no signal (write TERM")}),
    "freeze": Row("up", {"down": (7, "not running")}),
    "thaw": Row("up", {"down": (7, "not running")}),
    "run": Row("--in up true", {"--in down true": (7, NO_PROCESS), "": (2, "run what?")}),
    "shell": Row("up true", {"down true": (7, NO_PROCESS), "up false": (1, ""), "up /no/such": (1, "no such file")}),
    "set": Row(
        "up nofile=64", {"down nofile=64": (7, NO_PROCESS), "up colour=1": (2, "colour"), "up": (2, "is missing")}
    ),
    "heal": Row("up", {"down": (0, "nothing to mend")}),
    "harden": Row("up --for 0", {"masked --for 0": (1, "masked")}),
    "enable": Row("up", {"up": (0, "enabled already"), "masked": (1, "arjectl unmask masked")}),
    "disable": Row("up", {"down": (0, "disabled already")}),
    "mask": Row("up", {"masked": (0, "masked already")}),
    "unmask": Row("up", {"up": (0, "not masked already")}),
    "pin": Row("up"),
    "unpin": Row("up", {"up": (0, "not pinned already")}),
    "scale": Row("copy@ 0", {"copy@ many": (2, "scale what to how many?"), "up 2": (5, "no service 'up'")}),
    "reset-failed": Row("up", {"up": (0, "")}),
    "is-active": Row("up", {"down": (3, "stopped")}),
    "is-ready": Row("up", {"down": (3, "stopped")}),
    "is-failed": Row("bad", {"up": (1, "running")}),
    "is-enabled": Row("up", {"down": (1, "disabled"), "masked": (1, "masked")}),
    "is-degraded": Row("up", {"down": (1, "undegraded")}),
    "is-system-running": Row("", {"": (1, "degraded")}),
    "wait": Row("up", {"bad --for ready": (1, "exited 3"), "up --for green": (2, "is none of ready")}),
    "check": Row("", {"/no/such.toml": (6, "cannot be read: No such file")}),
    "plan": Row("up", {"/no/such.toml": (6, "cannot be read"), "--on x": (2, "arjectl plan X --on FILE")}),
    "apply": Row("", {"no-such-token": (155, "Look again: arjectl plan")}),
    "rollback": Row(
        "--list", {"": (1, "there is no set before this one"), "no-such": (1, "there is no set 'no-such'")}
    ),
    "edit": Row("up"),
    "schema": Row(""),
    "doctor": Row(""),
    "logs": Row("up", {"up --since tomorrow": (2, "is no time"), "up -n many": (2, "is no number from 0")}),
    "events": Row("up", {"up --since tomorrow": (2, "is no time")}),
    "watch": Row("up", {"down": (0, "stopped")}),
    "analyze": Row(
        "blame", {"blame --apply": (1, "No cards have been applied"), "": (2, "blame, critical-chain, plot")}
    ),
    "log-level": Row("", {"loud": (2, "none of debug, info, warning, error")}),
    "import": Row(f"{PROCFILE} --check", {"": (2, "PATH is missing"), "/none --check": (6, "cannot be read")}),
    "metrics": Row("", {"--form xml": (2, "none of openmetrics, prometheus")}),
    "bridge": Row(""),
    "ping": Row(""),
    "version": Row(""),
    "completion": Row("bash", {"csh": (2, "is none of bash, zsh, fish")}),
    "target": Row("up", {"up": (1, "it is no target")}),
    "boot": Row("", {"": (0, "is not pid 1: it booted nothing")}),
    **{name: Row("", {"": (156, NO_MACHINE)}) for name in ("poweroff", "reboot", "halt", "kexec", "soft-reboot")},
    "switch-root": Row("/", {"/": (156, NO_MACHINE), "": (2, "ROOT is missing")}),
    "exit": Row(""),
    **{name: Row("", {"": (156, NO_MACHINE)}) for name in ("rescue", "emergency")},
}
#: Verbs that change something, but not in the way that their row uses them.
CHANGES: Final = {"log-level": "info", "rollback": "", "reset-failed": "bad"}
#: Verbs that only look, though they wait, or edit the user's own files.
ANYBODY: Final = frozenset({"wait", "edit", "import"})


def words(verb: str, operands: str = "") -> list[str]:
    return [verb, *operands.split()]


def test_every_verb_has_a_row() -> None:
    assert ROWS.keys() == VERBS.keys()


@pytest.mark.parametrize("verb", VERBS)
def test_without_a_manager_it_says_which_socket_and_what_to_do(verb: str, place: Path) -> None:
    code, out, err = run(str(place / "none"), words(verb, ROWS[verb].words))
    if VERBS[verb].manager == "no":
        assert (code, err) == (0, "")
        return
    assert (code, out) == (150, "")
    assert err == (
        f"arjectl: no manager on {place}/none: No such file or directory; "
        "is a manager running? Start one with: arje --user\n"
    )


def test_no_such_service_is_said_with_what_to_type_next(manage: Manage) -> None:
    manager = manage(CARDS)
    for name, verb in VERBS.items():
        kinds = {"service", "target", "template", "service-or-card"}
        if not kinds & {operand.kind for operand in verb.operands}:
            continue
        row = ROWS[name].words.replace("up", "nobody").replace("bad", "nobody").replace("copy@", "nobody@")
        row = {"analyze": "critical-chain nobody"}.get(name, row)
        code, out, err = run(str(manager.socket), words(name, row))
        assert (code, out) == (4 if verb.query else 5, ""), name
        assert err.startswith("arjectl: no service 'nobody"), name
        assert "arjectl list tells which there are" in err, name
    code, _, err = run(str(manager.socket), ["restart", "uup"])
    assert (code, err) == (5, "arjectl: no service 'uup'; did you mean up? arjectl restart up\n")


@needs_root
def test_another_user_may_look_but_change_nothing(manage: Manage) -> None:
    manager = manage(CARDS)
    manager.settle("needs", "bad")
    manager.socket.chmod(0o666)
    manager.runtime.chmod(0o755)
    found = python_for_nobody()
    if found is None:
        pytest.skip("no interpreter that user nobody may execute")
    python, more = found
    asked = [words(name, CHANGES.get(name, ROWS[name].words)) for name in VERBS]
    who = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    done = subprocess.run(
        [*who, python, "-m", "tests.ctl.each_verb", str(manager.socket)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | more | {"EDITOR": "true"},
    )
    for (name, verb), (code, out, err) in zip(VERBS.items(), json.loads(done.stdout), strict=True):
        if verb.query or name in ANYBODY:
            assert code != 4, (name, err)
            assert "may look, not change" not in err, name
        else:
            assert (code, out) == (4, ""), (name, err)
            assert err == f"arjectl: user {NOBODY} may look, not change: become root or the manager's user\n", name
    assert manager.show("up")["state"] == "running"


def test_services_in_another_state_are_told_as_they_are(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "true")
    manager = manage(CARDS)
    faults = []
    for name, row in ROWS.items():
        for operands, (code, text) in row.wrong.items():
            manager.settle("needs", "bad", "up")
            found, out, err = run(str(manager.socket), words(name, operands))
            if found != code or text not in out + err:
                faults.append((name, operands, found, out, err))
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_what_it_takes_and_how_it_ends(verb: str) -> None:
    described = VERBS[verb]
    assert described.group in GROUPS
    assert described.help
    assert not described.help.endswith(".")
    assert {operand.kind for operand in described.operands} <= KINDS.keys()
    assert {option.kind for option in described.options} <= KINDS.keys()
    taken = [name for option in (*GLOBALS, *described.options) for name in option.names]
    assert len(taken) == len(set(taken)), "no option has two meanings"
    assert all(meaning(code, query=described.query) for code in described.codes)
    assert callable(described.load())
    code, out, err = run("/none", [verb, "--help"])
    assert (code, err) == (0, "")
    for option in (*GLOBALS, *described.options):
        assert str(option).replace("…", "...") in out
        assert option.help.replace("…", "...") in out
    for each in described.codes:
        assert f"{each:>3}  {meaning(each, query=described.query)}" in out


def test_the_codes_of_the_rows_are_those_that_the_table_tells() -> None:
    for name, row in ROWS.items():
        told = set(VERBS[name].codes)
        assert {code for code, _ in row.wrong.values()} <= told, name


def test_no_two_verbs_share_a_name() -> None:
    assert len(NAMES) == sum(1 + len(verb.aliases) for verb in VERBS.values())


def test_the_commands_of_the_design_are_there() -> None:
    told = """status list ls list-units show cat why history deps list-dependencies graph ps top degradations failed
        start stop restart reload try-restart reload-or-restart kill signal freeze thaw trigger run shell
        enable disable mask unmask pin unpin release wake reset-failed
        is-active is-failed is-enabled is-ready is-degraded is-system-running wait
        check lint plan diff apply daemon-reload update rollback edit schema doctor
        logs tail events monitor watch analyze log-level version ping target isolate
        reboot poweroff halt kexec soft-reboot switch-root rescue emergency"""
    assert set(told.split()) - NAMES.keys() == set()


def test_the_launcher_needs_neither_site_nor_json(place: Path) -> None:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from arje.ctl.main import main; main(['--help']); "
    script += (
        "print(sorted({'json', 're', 'enum', 'os', 'argparse', 'socket', 'pathlib', 'typing'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
