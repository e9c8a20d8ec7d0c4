"""What each verb shows, from a real run with a fixed clock, beside what it showed before (snapshots/NAME.txt).

``ARJE_SNAPSHOTS=write pytest tests/ctl/test_snapshots.py`` writes them anew: look at the difference before you keep it.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from arje.ctl.verbs import VERBS
from tests.conftest import Manager, no_cgroup, sh
from tests.ctl.steady import Terminal, shown, steady

Manage = Callable[..., Manager]
SNAPSHOTS: Final = Path(__file__).with_name("snapshots")
LAST: Final = "exec sleep infinity"
CARDS: Final = {
    "net": 'description = "The network"\n' + sh(f"echo trouble >&2; {LAST}"),
    "db": 'description = "Data base"\nrequires = ["net"]\n' + sh(LAST, 'cgroup = {memory_max = "64M"}'),
    "cache": 'after = ["net"]\nconflicts = ["old-cache"]\n' + sh(LAST, 'cgroup = {memory_max = "32M", pids_max = 9}'),
    "old-cache": "enabled = false\n" + sh(LAST),
    "web": 'description = "Front end"\nrequires = ["db"]\nwants = ["cache"]\n'
    + sh(f"trap '' HUP; echo up; {LAST}")
    + '[supervision]\nreadiness = "log:up"\nreload = "HUP"\n',
    "mail": 'requires = ["db"]\n' + sh("exit 3") + '[supervision]\nkind = "one-shot"\n',
    "letters": 'requires = ["mail"]\n' + sh(LAST),
    "worker": 'after = ["web"]\n'
    + sh("exit 1")
    + '[supervision]\nkind = "one-shot"\nrestart = "always"\ninitial = "1h"\nmax = "2h"\n',
    "held": "only_if_exists = '/no/such'\n" + sh(LAST),
    "tidy": 'description = "Tidies up"\n' + sh("true") + '[timer]\nevery = "1h"\n[supervision]\nkind = "one-shot"\n',
    "echo": sh("cat") + "[sockets]\n",
    "site": 'description = "All of it"\nrequires = ["web"]\nwants = ["letters"]\n',
    "copy@": "instances = []\n" + sh(LAST),
}
#: Snapshot → the commands in it. Every verb that shows more than a line is in one.
PAGES: Final = {
    "status": ["", "status web", "status db mail", "status worker tidy"],
    "list": ["list", "list w*"],
    "show": ["show web -P state", "show web -P isolation.granted"],
    "cat": ["cat site"],
    "why": ["why letters", "why web", "why held", "why worker"],
    "history": ["history letters", "history web"],
    "deps": ["deps site", "deps net --reverse"],
    "graph": ["graph", "graph letters -f dot", "graph letters -f mermaid", "graph letters -f json"],
    "graph-svg": ["graph -f svg"],
    "ps": ["ps web net"],
    "top": ["top", "watch web net"],
    "degradations": ["degradations", "degradations net", "is-degraded db"],
    "failed": ["failed", "failed web"],
    "activation": ["sockets", "paths", "timers"],
    "dry-run": ["start old-cache --dry-run", "stop net --dry-run", "restart web --dry-run", "apply --dry-run"],
    "act": [
        *("start net", "stop db", "reload web net", "kill web -s CONT", "wake mail net", "release db", "heal net"),
        *("start web --no-wait", "wait web", "wait mail --for ready"),
    ],
    "tests": [
        "is-active web mail",
        "is-ready web",
        "is-failed mail",
        "is-enabled web",
        "is-system-running",
        "web is-active",
    ],
    "config": ["check", "plan", "rollback --list", "log-level", "log-level warning", "log-level info"],
    "logs": ["logs web", "logs net --stream stderr -o cat", "logs web --json", "events mail"],
    "manager": ["ping", "version", "--version"],
    "usage": ["--help", "start --help", "run --help", "strat web", "start", "start web --forse", "logs -n"],
}
#: Verbs without a page: what they show is all in the tests of their own.
ELSEWHERE: Final = {
    *("completion", "boot", "poweroff", "reboot", "halt", "kexec", "soft-reboot", "switch-root", "exit", "rescue"),
    "emergency",
    "analyze",
    *(
        "restart",
        "try-restart",
        "reload-or-restart",
        "trigger",
        "freeze",
        "thaw",
        "target",
        "set",
        "harden",
        "run",
        "shell",
    ),
    *(
        "enable",
        "disable",
        "mask",
        "unmask",
        "pin",
        "unpin",
        "scale",
        "reset-failed",
        "edit",
        "schema",
        "import",
        "metrics",
        "bridge",
        "doctor",
        "apply",
    ),
}


def test_every_verb_has_a_page() -> None:
    told = {word.split()[0] for page in PAGES.values() for word in page if word}
    assert VERBS.keys() - told - ELSEWHERE - {"status", "web"} == set()


@no_cgroup
def test_the_pages_are_as_they_were(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = CARDS | {"echo": sh(LAST, rest='sockets = ["/PLACE/echo"]')}
    manager = manage({}, user=True)
    for label, text in cards.items():
        manager.write(label, text.replace("/PLACE", str(manager.runtime)))
    manager.call("Apply")
    manager.settle(*(label for label in cards if label != "copy@"))
    manager.await_line("net", "trouble")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm")
    found = {}
    with steady(monkeypatch, str(manager.directory)):
        for name, commands in PAGES.items():
            parts = []
            for command in commands:
                words = command.split()
                plain = _tidy(manager, shown(str(manager.socket), words, io.StringIO()))
                parts.append(f"$ arjectl {command}".rstrip() + f"\n{plain}")
                assert plain.isascii(), "a pipe gets no glyphs"
                assert "\x1b" not in plain
                rich = _tidy(manager, shown(str(manager.socket), words, Terminal()))
                if rich != plain:
                    parts.append(f"$ arjectl {command}".rstrip() + "  # on a terminal\n" + rich.replace("\x1b", "␛"))
            found[name] = "\n".join(parts)
    if os.environ.get("ARJE_SNAPSHOTS") == "write":
        SNAPSHOTS.mkdir(exist_ok=True)
        for name, text in found.items():
            (SNAPSHOTS / f"{name}.txt").write_text(text)
    for name, text in found.items():
        assert text == (SNAPSHOTS / f"{name}.txt").read_text(), f"{name}: see the top of this file"


def _tidy(manager: Manager, text: str) -> str:
    """Take out what is different in each run and is no field of an answer."""
    text = text.replace(str(manager.directory), "/etc/arje")
    return re.sub(r"arjectl apply [0-9a-f]{6,}", "arjectl apply 5f3a9c", text)
