"""What ``arje run`` tells: losses on stderr, the plan on stdout, and everything as JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from arje.errors import CardError, CardProblem, IncarnationRefused, SetupFailed
from arje.incarnate.forecast import Forecast
from arje.incarnation import Incarnation, as_json
from arje.init.run_options import Asked


class Report:
    """Tells how it went, on stderr and, where ``target`` says so, as one JSON object in a file or a descriptor."""

    def __init__(self, target: str | None, *, quiet: bool) -> None:
        """Open the target. Raises CardError that names the option."""
        self._quiet = quiet
        self._fd = -1
        if target is None:
            return
        try:
            if target.isascii() and target.isdigit():
                self._fd = os.dup(int(target))
            else:
                self._fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
        except (OSError, OverflowError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            remedy = "name a file that can be written, or a descriptor that is open"
            raise CardError([CardProblem("arje run", 0, "--report", f"{target}: {reason}", remedy)]) from error

    def started(self, incarnation: Incarnation) -> None:
        """The command runs."""
        for loss in () if self._quiet else incarnation.degradations:
            _say(f"degraded: {loss}" + (f" (remedy: {loss.remedy})" if loss.remedy else ""))
        self._write(
            verdict="started",
            pid=incarnation.pid,
            setup_ms=incarnation.setup_ms,
            grants=as_json(incarnation.grants),
            degradations=as_json(incarnation.degradations),
        )

    def refused(self, error: IncarnationRefused) -> None:
        """The command did not begin: something that is required cannot be had."""
        _say(str(error))
        self._write(verdict="refused", grants=[], degradations=as_json(error.degradations))

    def failed(self, error: SetupFailed, asked: Asked) -> None:
        """The command did not begin: a step failed."""
        _say(named(error, asked))
        failure = {"step": error.step, "errno": error.errno, "field": error.field, "detail": error.detail}
        option = asked.named(error.field) if error.field else ""
        self._write(verdict="failed", grants=[], degradations=[], failure=failure | {"option": option})

    def _write(self, **found: Any) -> None:
        if self._fd < 0:
            return
        with os.fdopen(self._fd, "w", closefd=True) as stream:
            stream.write(json.dumps(found) + "\n")
        self._fd = -1


def named(error: SetupFailed, asked: Asked) -> str:
    """Return what failed, with the option before it that asked for it."""
    option = asked.named(error.field) if error.field else ""
    return f"{option}: {error}" if option != error.field else str(error)


def plan(forecast: Forecast) -> bool:
    """Print what would be done in order, and what would be lost; return whether it would start."""
    for number, operation in enumerate(forecast.operations, 1):
        print(f"{number:>3}. {operation}")
    for loss in forecast.degradations:
        print(f"would lose {loss}" + (f" (remedy: {loss.remedy})" if loss.remedy else ""))
    print(f"would be refused: {forecast.refusal}" if forecast.refusal else "would start")
    return not forecast.refusal


def _say(line: str) -> None:
    print(f"arje: {line}", file=sys.stderr)
