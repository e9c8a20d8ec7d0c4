"""Scenarios: folders with cards and the steps of a story, told in TOML and run against arje as PID 1.

``tests/scenarios/NAME/cards/*.toml`` are the cards at the beginning (other folders beside it come to the same place).
``steps.toml`` is the story: ``about`` says what it shows, ``arje`` are further words of arje's command line, and every
``[[step]]`` is one of these, in their order:

==================================  ==================================================================================
``start = "web db"``                arjectl start, and wait; also ``stop``, ``restart``, and any other verb of arjectl in
                                    ``arjectl = "…"``. ``exit`` is the status that it ends with (0), ``says`` a pattern of
                                    what it prints.
``beside = "start web"``            begin an arjectl and go on; ``joined = "start web"`` waits for its end, with ``exit``
                                    and ``says``
``why.web = "…"``                   a pattern of what ``arjectl why`` prints
``write.web = "…"``                 write a card; ``write."x.d/y"`` any other file below the cards; ``remove = "web"``
``kill = "web"``                    send the main process ``signal`` (KILL)
``settle = "web db"``               wait until they are not on their way any more
``until.web = {state = "failed"}``  wait until a service looks so; ``expect.web`` is the same, but it is so now
``line.web = "up"``                 wait until it says something; ``lines.web = ["up"]``: this is all that it has said
``transitions.web = […]``           all states that it was in, in their order, after the first ``stopped``
``order = ["web stopped", …]``      these came in this order, whatever else came between them
``manager.orphans_reaped = 1``      wait until the manager says so of itself
``processes."sleep 1" = 0``         wait until so many processes have this in their command line
``ask."/x.sock" = "hello"``         say a line at a unix socket, and read the answer to its end: ``hears`` is its pattern
``enter = "…"``                     run a shell in the namespaces of arje, beside it; ``sh = "…"``: out here, in @PLACE@
``end = 0``                         tell arje to stop (``signal``: TERM), wait for its end with this status;
                                    ``ends = 7``: it ends so by itself
==================================  ==================================================================================

A value that begins with ``~`` is a pattern (``re.search``); a table is compared with what its keys name; ``cause`` and
reasons of failures are compared as the text that people see. ``@PLACE@`` is a directory of this run, ``@ID@`` a number
that no other run has, ``@PORT@`` a port that nobody uses, ``@ARJECTL@`` the words that begin an arjectl in a service, in
cards and in steps.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from arje.kernel import process
from tests.conftest import NOBODY, ROOT, Manager, python_for_nobody
from tests.ports import free_port

PATIENCE = 30.0  # seconds for what becomes so
NAMESPACES = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
_numbers = itertools.count()


class Init(Manager):
    """A manager that is PID 1 of its own namespaces. ``process`` is unshare(1), which waits for it."""

    def __init__(self, directory: Path, *words: str, user: bool = False) -> None:
        super().__init__(directory, *words, prefix=NAMESPACES, user=user)
        self._user = user
        own = self.process.pid
        self.pid = int(Path(f"/proc/{own}/task/{own}/children").read_text().split()[0])

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Begin an arjectl as the user whose manager this is: root out here is nobody in there."""
        found = python_for_nobody() if self._user else None
        python, more = found or (sys.executable, dict[str, str]())
        command = [*(AS_NOBODY if found else ()), python, "-m", "arje.ctl", "--socket", str(self.socket), *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=os.environ | more)

    def ctl(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run arjectl so."""
        begun = self.begin(*words)
        said, complained = begun.communicate(timeout=timeout)
        return subprocess.CompletedProcess(words, begun.returncode, said, complained)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to stop and wait for its end."""
        self.client.close()
        if self.process.poll() is None:
            os.kill(self.pid, number)
        code = self.process.wait(60)
        if not self.log.closed:
            self.log.close()
        return code


class Story:
    """One scenario, told to one manager."""

    def __init__(self, folder: Path, place: Path, *, user: bool) -> None:
        self._user = user
        self._marks = {
            "@PLACE@": str(place),
            "@ID@": f"{os.getpid()}{next(_numbers):03}",
            "@PORT@": str(free_port()),
            "@ARJECTL@": f"{self._python()} -m arje.ctl --socket {place}/run/io.arje",
        }
        told = tomllib.loads(self._marked((folder / "steps.toml").read_text()))
        self._steps: list[dict[str, Any]] = told.pop("step")
        self._words: list[str] = told.pop("arje", "").split()
        assert set(told) == {"about"}, f"what is {set(told) - {'about'}}?"
        self._place = place
        self._beside: list[tuple[str, subprocess.Popen[str]]] = []
        self._status = 0
        for file in folder.glob("*/**/*"):
            if file.is_file():
                self._write(f"../{file.relative_to(folder)}", file.read_text())

    def _python(self) -> str:
        """Return the words that begin a Python which finds arje and runs inside, as the user whose manager this is."""
        found = python_for_nobody(NAMESPACES) if self._user else None
        python, more = found or (sys.executable, dict[str, str]())
        return f"env PYTHONPATH={more.get('PYTHONPATH', ROOT)} {python}"

    def _marked(self, text: str) -> str:
        for mark, value in self._marks.items():
            text = text.replace(mark, value)
        return text

    def _write(self, name: str, text: str) -> None:
        path = Path(os.path.normpath(self._place / "cards" / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.new").write_text(self._marked(text))
        path.with_name(f".{path.name}.new").rename(path)

    def tell(self) -> None:
        """Take every step. Raises AssertionError that names the step which does not hold."""
        if self._user:
            for path in (self._place, *self._place.glob("**/*")):
                os.chown(path, NOBODY, NOBODY)
        self.manager = Init(self._place, *self._words, user=self._user)
        try:
            for number, step in enumerate(self._steps, 1):
                try:
                    self._take(dict(step))
                except Exception as error:
                    error.add_note(f"step {number}: {step}\n{self.manager.said()}")
                    raise
        finally:
            code = self.manager.stop()
            for _, client in self._beside:
                client.communicate(timeout=PATIENCE)
        assert code == self._status, self.manager.said()
        assert "Traceback" not in self.manager.said(), self.manager.said()

    def _take(self, step: dict[str, Any]) -> None:
        verbs = [key for key in step if key in _VERBS]
        assert len(verbs) == 1, f"a step has one verb of {', '.join(_VERBS)}"
        verb = verbs[0]
        what = step.pop(verb)
        _VERBS[verb](self, what, step)
        assert not step, f"{verb} does not know {', '.join(step)}"

    # -- verbs ---------------------------------------------------------------------------------------------------------

    def _arjectl(self, words: str, step: dict[str, Any]) -> None:
        self._judge(self.manager.begin(*shlex.split(words)), step)

    def _judge(self, client: subprocess.Popen[str], step: dict[str, Any]) -> None:
        said = "".join(client.communicate(timeout=60))
        assert not (why := unlike(step.pop("exit", 0), client.returncode, "exit")), f"{why}: {said}"
        pattern = step.pop("says", "")
        assert re.search(pattern, said), f"{pattern!r} is not in: {said}"

    def _begin(self, words: str, _: dict[str, Any]) -> None:
        self._beside.append((words, self.manager.begin(*shlex.split(words))))

    def _joined(self, words: str, step: dict[str, Any]) -> None:
        begun = next(each for each in self._beside if each[0] == words)
        self._beside.remove(begun)
        self._judge(begun[1], step)

    def _why(self, services: dict[str, str], _: dict[str, Any]) -> None:
        for label, pattern in services.items():
            self._arjectl(f"why {label}", {"says": pattern})

    def _write_card(self, files: dict[str, str], _: dict[str, Any]) -> None:
        for name, text in files.items():
            self._write(name if "." in name else f"{name}.toml", text)

    def _remove(self, name: str, _: dict[str, Any]) -> None:
        (self._place / "cards" / f"{name}.toml").unlink()

    def _kill(self, label: str, step: dict[str, Any]) -> None:
        pid = self.show(label)["pid"]
        os.kill(self._outside(pid), signal.Signals[f"SIG{step.pop('signal', 'KILL')}"])

    def _outside(self, pid: int) -> int:
        """Return the pid out here of who is ``pid`` to arje (NSpid, proc_pid_status(5))."""
        depth = len(_pids(self.manager.pid))
        for path in Path("/proc").glob("[0-9]*"):
            pids = _pids(int(path.name))
            if len(pids) >= depth and pids[depth - 1] == pid and _below(pids[0], self.manager.pid):
                return pids[0]
        raise AssertionError(f"there is no process {pid}")

    def _settle(self, labels: str, _: dict[str, Any]) -> None:
        self.manager.call("Wait", labels=labels.split())

    def _until(self, services: dict[str, Any], _: dict[str, Any]) -> None:
        self._becomes(lambda: self._unlike(services))

    def _expect(self, services: dict[str, Any], _: dict[str, Any]) -> None:
        assert not (why := self._unlike(services)), why

    def _line(self, lines: dict[str, str], _: dict[str, Any]) -> None:
        for label, text in lines.items():
            self.manager.await_line(label, text)

    def _lines(self, services: dict[str, list[str]], _: dict[str, Any]) -> None:
        for label, texts in services.items():
            assert self.manager.lines(label) == texts

    def _transitions(self, services: dict[str, list[str]], _: dict[str, Any]) -> None:
        for label, states in services.items():
            assert [entry["state"] for entry in self.show(label)["history"][1:]] == states

    def _order(self, moments: list[str], _: dict[str, Any]) -> None:
        entries = [
            (entry["wall"], f"{service['label']} {entry['state']}")
            for service in self.manager.call("List", labels=[], full=True)["services"]
            for entry in service["history"][1:]
        ]
        came = iter([moment for _, moment in sorted(entries, key=lambda entry: entry[0])])
        missing = [moment for moment in moments if moment not in came]
        assert not missing, f"{missing} did not come in this order: {sorted(entries)}"

    def _manager(self, facts: dict[str, Any], _: dict[str, Any]) -> None:
        self._becomes(lambda: unlike(facts, self.manager.call("GetManager")["manager"], "manager"))

    def _processes(self, wanted: dict[str, int], _: dict[str, Any]) -> None:
        for text, number in wanted.items():
            self._becomes(lambda: "" if (found := len(running(text))) == number else f"{found} of {text!r}")  # noqa: B023

    def _ask(self, words: dict[str, str], step: dict[str, Any]) -> None:
        pattern = step.pop("hears", "")
        for path, word in words.items():
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(path)
                client.sendall(f"{word}\n".encode())
                client.shutdown(socket.SHUT_WR)
                answer = client.makefile().read()
            assert re.search(pattern, answer), f"{pattern!r} is not in: {answer}"

    def _enter(self, script: str, _: dict[str, Any]) -> None:
        spaces = ("nsenter", f"--target={self.manager.pid}", "--user", "--pid", "--mount", "--preserve-credentials")
        subprocess.run([*spaces, "sh", "-c", script], check=True, timeout=PATIENCE)

    def _sh(self, script: str, _: dict[str, Any]) -> None:
        subprocess.run(["sh", "-euc", script], check=True, timeout=PATIENCE, cwd=self._place)

    def _ends(self, status: int, _: dict[str, Any]) -> None:
        assert self.manager.process.wait(PATIENCE) == status, self.manager.said()
        self._status = status

    def _end(self, status: int, step: dict[str, Any]) -> None:
        assert self.manager.stop(signal.Signals[f"SIG{step.pop('signal', 'TERM')}"]) == status

    # -- looking -------------------------------------------------------------------------------------------------------

    def show(self, label: str) -> dict[str, Any]:
        """Return a service as ``arjectl --json show`` has it."""
        return self.manager.show(label)

    def _unlike(self, services: dict[str, Any]) -> str:
        return "; ".join(filter(None, (unlike(wanted, self.show(label), label) for label, wanted in services.items())))

    def _becomes(self, why: Callable[[], str]) -> None:
        end = time.monotonic() + PATIENCE
        while said := why():
            assert time.monotonic() < end, said


#: How each step is taken.
_VERBS: Final[dict[str, Callable[[Story, Any, dict[str, Any]], None]]] = {
    "arjectl": Story._arjectl,
    "start": lambda story, what, step: story._arjectl(f"start {what}", step),
    "stop": lambda story, what, step: story._arjectl(f"stop {what}", step),
    "restart": lambda story, what, step: story._arjectl(f"restart {what}", step),
    "apply": lambda story, what, step: story._arjectl("apply", step),
    "write": Story._write_card,
    "remove": Story._remove,
    "beside": Story._begin,
    "joined": Story._joined,
    "why": Story._why,
    "kill": Story._kill,
    "settle": Story._settle,
    "until": Story._until,
    "expect": Story._expect,
    "line": Story._line,
    "lines": Story._lines,
    "transitions": Story._transitions,
    "order": Story._order,
    "manager": Story._manager,
    "processes": Story._processes,
    "ask": Story._ask,
    "enter": Story._enter,
    "sh": Story._sh,
    "ends": Story._ends,
    "end": Story._end,
}


def unlike(wanted: Any, found: Any, name: str) -> str:
    """Return what is not as it is wanted; empty when all is."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return f"{name} is {found!r}"
        return "; ".join(
            filter(None, (unlike(value, found.get(key), f"{name}.{key}") for key, value in wanted.items()))
        )
    if isinstance(found, dict) and isinstance(wanted, str):
        found = ": ".join(str(found[key]) for key in ("who", "reason", "detail") if found.get(key))
    if isinstance(wanted, str) and wanted.startswith("~"):
        return "" if re.search(wanted[1:], "" if found is None else str(found)) else f"{name} is {found!r}"
    if wanted == "" and found is None:
        return ""
    return "" if wanted == found else f"{name} is {found!r}, not {wanted!r}"


def running(text: str) -> list[int]:
    """Return the processes that have this in their command line, but for those who look."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _pids(pid: int) -> list[int]:
    """Return the pids of a process in its namespaces, outermost first; none when it is gone."""
    try:
        found = re.search(r"^NSpid:\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return []
    return [int(number) for number in found[1].split()] if found else []


def _below(pid: int, ancestor: int) -> bool:
    parents = process.table()
    while pid not in (0, ancestor):
        pid = parents.get(pid, 0)
    return pid == ancestor
