"""``arje run [--card FILE] [--strict] … -- CMD``: one command in a sandbox, its exit status passed on.

Degradations go to stderr, one line each. Exit status: the command's own (128 + N for signal N); 153 when required
isolation cannot be had, 126 when the set-up failed, 127 when the command was not found, 124 when ``--timeout`` ended it,
2 for usage, a bad card and what cannot work on any machine. The options are in run_options.py, run_limits.py and
run_environment.py, what is told about it in run_report.py.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
from dataclasses import replace
from pathlib import Path

from arje import native
from arje.card.card import Card
from arje.card.loader import load_file
from arje.card.payload import Native
from arje.card.soma import Soma
from arje.errors import ArjeError, IncarnationRefused, SetupFailed
from arje.incarnate.outcome import Outcome
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Exit, Step
from arje.init import run_environment, run_limits, run_options, run_report
from arje.init.run_limits import Deadline
from arje.init.run_options import Asked
from arje.init.run_report import Report
from arje.kernel import cgroup, process
from arje.kernel.capabilities import CapabilitySet

USAGE, REFUSED, BROKEN, NOT_FOUND = 2, 153, 126, 127
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``arje run``."""
    made = argparse.ArgumentParser(
        prog="arje run", description="Run one command in a sandbox.", usage="arje run [options] [--] CMD …"
    )
    made.add_argument("--card", type=Path, metavar="FILE", help="take the sandbox (soma) from this card")
    made.add_argument("--plan", action="store_true", help="tell what would be done and lost; run nothing")
    made.add_argument("--report", metavar="FILE|FD", help="write what was granted and what not, as JSON")
    made.add_argument("--quiet", action="store_true", help="say nothing about what was not granted")
    run_options.add_arguments(made)
    run_limits.add_arguments(made)
    run_environment.add_arguments(made)
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD …", help=argparse.SUPPRESS)
    return made


def _options(argv: list[str]) -> argparse.Namespace:
    """Return the options; the first word that is none begins the command. Exits with 2 when there is no command."""
    made = parser()
    options = made.parse_args(argv)
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        made.error("name a command: arje run [options] -- CMD …")
    return options


def card_of(options: argparse.Namespace) -> tuple[Card, Asked]:
    """Return the card that the options describe, and which of them said what. Raises ArjeError."""
    soma, asked = run_options.soma_over(_base(options.card), options.asked)
    soma = run_limits.merged(soma, options)
    if not soma.chdir:
        soma = replace(soma, chdir=run_environment.directory(soma, Path.cwd()))
    command, variables = options.command, run_environment.variables(options)
    payload = Native(exec=command[0], argv=tuple(command[1:]), envp=tuple(variables.items()))
    return Card(label=f"run-{os.getpid()}", payload=payload, soma=soma), asked


def _base(file: Path | None) -> Soma:
    """Return the soma of ``--card``. The command stays in the terminal's foreground, if no option takes it away."""
    soma = Soma()
    if file is not None:
        loaded = load_file(file)
        if loaded.problems or len(loaded.cards) != 1:
            raise ArjeError("\n".join(map(str, loaded.problems)) or f"{file} holds {len(loaded.cards)} cards, not one")
        soma = loaded.cards[0].soma
    return replace(soma, new_session=bool(soma.controlling_tty))


def main_run(argv: list[str]) -> int:
    """Run the command and return the exit status."""
    try:
        options = _options(argv)
        card, asked = card_of(options)
        length, report = run_limits.seconds(options.timeout), Report(options.report, quiet=options.quiet)
    except ArjeError as error:
        print(f"arje: {error}", file=sys.stderr)
        return USAGE
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # before there is a command that one of them could miss
    native.prctl_subreaper()
    base = cgroup.find_base(f"arje-run-{os.getpid()}")
    try:
        incarnator = Incarnator(CapabilitySet.detect(base), base)
        if options.plan:
            return _plan(card, asked, incarnator)
        return _run(card, asked, incarnator, report, Deadline(length, with_parent=bool(card.soma.parent_death_signal)))
    finally:
        _kill_strays()
        if base is not None:
            with contextlib.suppress(OSError):
                base.rmdir()


def _plan(card: Card, asked: Asked, incarnator: Incarnator) -> int:
    try:
        incarnator.prepared(card)
    except SetupFailed as error:
        print(f"arje: {run_report.named(error, asked)}", file=sys.stderr)
        return USAGE
    return 0 if run_report.plan(incarnator.dry_run(card)) else REFUSED


def _run(card: Card, asked: Asked, incarnator: Incarnator, report: Report, deadline: Deadline) -> int:
    try:
        outcome = incarnator.incarnate(card, StdioFds(0, 1, 2))
    except IncarnationRefused as error:
        report.refused(error)
        return REFUSED
    except SetupFailed as error:
        report.failed(error, asked)
        if error.step is Step.PLAN:
            return USAGE
        return NOT_FOUND if error.step is Step.EXEC and error.errno == 2 else BROKEN
    report.started(outcome.incarnation)
    ended = _wait(outcome, deadline)
    return run_limits.TIMED_OUT if deadline.passed else ended.shell_status


def _wait(outcome: Outcome, deadline: Deadline) -> Exit:
    """Pass signals on until the command has ended, and leave nothing of it behind."""
    signals = native.signalfd(_PASSED_ON)
    poll = select.poll()
    for fd in filter(lambda fd: fd >= 0, (signals, outcome.pidfd, deadline.parent)):
        poll.register(fd, select.POLLIN)
    while outcome.pidfd not in (ready := dict(poll.poll(deadline.left_ms))):
        if deadline.parent in ready:
            outcome.kill_tree()
            poll.unregister(deadline.parent)
        deadline.look(outcome)
        for number, sender, _ in native.read_signals(signals) if signals in ready else ():
            if sender:  # 0: the terminal's, which the command in its foreground got as well
                outcome.signal_main(number)
    os.close(signals)
    info = os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    assert info is not None
    ended = outcome.exit_of(Exit.from_wait(info.si_code, info.si_status))
    outcome.kill_tree()
    outcome.close()
    return ended


def _kill_strays() -> None:
    """End what the command has left behind: as a subreaper (prctl(2)) we are the parent of every orphan below us."""
    while any([_killed(pid) for pid in process.descendants(os.getpid())]):
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_ALL, 0, os.WEXITED)


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # a setuid program of an ordinary user is not ours to end
        return False
    return True
