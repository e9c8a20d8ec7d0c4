"""``arje run [--card FILE] [--strict] … -- CMD``: one command in a sandbox, its exit status passed on.

Degradations go to stderr, one line each. Exit status: the command's own (128 + N for signal N); 153 when required
isolation cannot be had, 126 when the set-up failed, 127 when the command was not found, 124 when ``--timeout`` ended it,
2 for usage and a bad card.
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
from arje.init import run_limits
from arje.init.run_limits import Deadline
from arje.kernel import cgroup, process
from arje.kernel.capabilities import CapabilitySet

USAGE, REFUSED, BROKEN, NOT_FOUND = 2, 153, 126, 127
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``arje run``."""
    made = argparse.ArgumentParser(prog="arje run", description="Run one command in a sandbox.")
    made.add_argument("--card", type=Path, metavar="FILE", help="take the sandbox (soma) from this card")
    made.add_argument("--strict", action="store_true", help="refuse when anything that is asked for cannot be had")
    made.add_argument("--namespaces", default="", metavar="LIST", help="mount,pid,… or all or minimal")
    made.add_argument("--run-as", default="", metavar="USER[:GROUP]")
    made.add_argument("--hostname", default="")
    made.add_argument("--chdir", default="")
    made.add_argument("--no-new-privs", action="store_true")
    run_limits.add_arguments(made)
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="[--] CMD …")
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


def card_of(options: argparse.Namespace) -> Card:
    """Return the card that the options describe. Raises ArjeError."""
    from arje.card.loader import card_of as judged

    soma = Soma()
    if options.card:
        loaded = load_file(options.card)
        if loaded.problems or len(loaded.cards) != 1:
            raise ArjeError(
                "\n".join(map(str, loaded.problems)) or f"{options.card} holds {len(loaded.cards)} cards, not one"
            )
        soma = loaded.cards[0].soma
    names: str = options.namespaces
    wanted: dict[str, object] = {
        "namespaces": (names if names in ("all", "minimal") else names.split(",")) if names else None,
        "run_as": options.run_as or None,
        "hostname": options.hostname or None,
        "chdir": options.chdir or None,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    asked = judged({"label": "run", "soma": given}, "arje run").soma
    soma = replace(
        soma,
        **{name: getattr(asked, name) for name in given},
        no_new_privs=options.no_new_privs or soma.no_new_privs,
        strict_caps=options.strict or soma.strict_caps,
        new_session=False,  # the command stays in the terminal's foreground
    )
    if not soma.chdir:
        soma = replace(soma, chdir=str(Path.cwd()))
    soma = run_limits.merged(soma, options)
    command: list[str] = options.command
    payload = Native(exec=command[0], argv=tuple(command[1:]), envp=tuple(os.environ.items()))
    return Card(label=f"run-{os.getpid()}", payload=payload, soma=soma)


def main_run(argv: list[str]) -> int:
    """Run the command and return the exit status."""
    try:
        options = _options(argv)
        card, length = card_of(options), run_limits.seconds(options.timeout)
    except ArjeError as error:
        print(f"arje: {error}", file=sys.stderr)
        return USAGE
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # before there is a command that one of them could miss
    native.prctl_subreaper()
    base = cgroup.find_base(f"arje-run-{os.getpid()}")
    try:
        return _run(card, Incarnator(CapabilitySet.detect(base), base), length)
    finally:
        _kill_strays()
        if base is not None:
            with contextlib.suppress(OSError):
                base.rmdir()


def _run(card: Card, incarnator: Incarnator, length: float | None) -> int:
    try:
        outcome = incarnator.incarnate(card, StdioFds(0, 1, 2))
    except IncarnationRefused as error:
        print(f"arje: {error}", file=sys.stderr)
        return REFUSED
    except SetupFailed as error:
        print(f"arje: {error}", file=sys.stderr)
        return NOT_FOUND if error.step is Step.EXEC and error.errno == 2 else BROKEN
    for loss in outcome.incarnation.degradations:
        print(f"arje: degraded: {loss}" + (f" (remedy: {loss.remedy})" if loss.remedy else ""), file=sys.stderr)
    deadline = Deadline(length)
    ended = _wait(outcome, deadline)
    return run_limits.TIMED_OUT if deadline.passed else ended.shell_status


def _wait(outcome: Outcome, deadline: Deadline) -> Exit:
    """Pass signals on until the command has ended, and leave nothing of it behind."""
    signals = native.signalfd(_PASSED_ON)
    poll = select.poll()
    poll.register(signals, select.POLLIN)
    poll.register(outcome.pidfd, select.POLLIN)
    while outcome.pidfd not in (ready := dict(poll.poll(deadline.left_ms))):
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
