"""Where the reaper stands: in a process group of its own at least, and never on the manager's terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

from tests.conftest import ROOT
from tests.init.test_run_terminal import until_it_has_left

#: Starts a payload below a reaper, and tells of both: its session, its process group, its terminal (proc_pid_stat(5)).
SHOW = """
import json, os, sys
from pathlib import Path
from arje.card.card import Card
from arje.card.payload import Native
from arje.card.soma import Namespaces, Soma
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.kernel.capabilities import CapabilitySet
def place(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return dict(pid=int(pid), group=int(fields[2]), session=int(fields[3]), terminal=int(fields[4]))
soma = Soma(namespaces=Namespaces(pid=True, mount=True, user=os.geteuid() != 0))
card = Card(label="a", payload=Native(exec="/usr/bin/sleep", argv=("1000",)), soma=soma)
made = Incarnator(CapabilitySet.detect(None), None)
nothing = os.open("/dev/null", os.O_RDWR)
outcome = made.incarnate(card, StdioFds(nothing, nothing, nothing))
told = dict(us=place(os.getpid()), reaper=place(outcome.incarnation.leader_pid), payload=place(outcome.incarnation.pid))
outcome.kill_tree()
outcome.close()
made.close()
print(json.dumps(told))
"""


def test_without_a_terminal_the_reaper_has_a_group_of_its_own() -> None:
    command = [sys.executable, "-c", SHOW]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, start_new_session=True, timeout=60)
    told = json.loads(said.stdout)
    assert told["us"]["terminal"] == told["reaper"]["terminal"] == told["payload"]["terminal"] == 0
    assert told["reaper"]["group"] == told["reaper"]["pid"], "who kills our group would kill it"
    assert told["payload"]["session"] == told["payload"]["pid"]


def test_a_manager_with_a_terminal_lends_it_to_nobody() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(ROOT)
            os.execv(sys.executable, [sys.executable, "-c", SHOW])
        finally:
            os._exit(1)
    told = json.loads(until_it_has_left(pid, terminal))
    assert told["us"]["terminal"] != 0
    assert told["reaper"]["terminal"] == told["payload"]["terminal"] == 0
    assert told["reaper"]["session"] == told["reaper"]["pid"]
    assert told["payload"]["session"] == told["payload"]["pid"]
