"""What a recording is: JSON lines, each one input or one change of a state.

Each has the seconds since the start (``t``), and the number of the ``step`` of a task in which it came: what has one number
came without anybody having run in between.

========= ==============================================================================================================
``is``    besides ``t`` and ``step``
========= ==============================================================================================================
head      ``format``, ``arje`` (its version), ``now`` and ``wall``: the two clocks at t = 0, in seconds
card      ``key``, ``card``: one card in its compiled form (card/cache.py), which later lines name by its key
verb      ``verb``, ``args``, ``more``: what somebody outside asked of the supervisor (outermost.py)
born      ``of``, ``n``, ``pid``, ``leader``, ``ms``, ``started``, ``losses``: the n-th incarnation of a label runs
unborn    ``of``, ``n``, ``begun``, ``error``: it could not begin, or its set-up failed
exit      ``of``, ``n``, ``exit``: its leader has ended
closed    ``of``, ``n``, ``way``, ``oom``, ``error``: nothing is left; ``exit`` is its payload's, if another
answer    ``of``, ``n``, and ``value``, ``error`` or ``cancelled``: the n-th answer to a question of this name
said      ``of``, ``n``, ``data``, ``pid``, ``uid``, ``ours``, ``last``: a message by sd_notify(3) on the n-th socket
clock     ``wall``: the wall clock was set, or the time zone changed
zone      ``zone``: the time zone from then on, by its name or as base64 of its file
machine   ``id``: what tells the machine from others
lot       ``of``, ``n``, ``value``: a number that was drawn
became    ``of``, ``old``, ``new``, ``who``, ``why``: a service changed its state
granted   ``of``, ``grants``, ``losses``: a hand had the isolation of a running service looked at, mended or changed
without   ``of``, ``why``: an input of this service cannot be recorded
tick      something was due, and nothing of it is in another line
end       ``why``: nothing follows; empty when the manager ended well
========= ==============================================================================================================

A manager that was killed leaves a recording without an end, and perhaps with half a line, which is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

import arje
from arje.card import cache
from arje.card.card import Card
from arje.errors import ArjeError, IncarnationRefused, SetupFailed
from arje.incarnation import Step
from arje.supervisor.opening import Unbound

FORMAT: Final = 1
_KINDS: Final = frozenset(
    (
        *("head", "card", "verb", "born", "unborn", "exit", "closed", "answer", "said", "clock", "zone", "machine"),
        *("lot", "became", "granted", "without", "tick", "end"),
    )
)

Line = dict[str, Any]


class NotARecording(ArjeError):
    """A file is no recording, or not one that this arje can play."""


@dataclass(slots=True)
class Recording:
    """A file that was read. ``lines`` are in their order; ``cards`` by their keys; ``length`` is in seconds; ``end`` says
    why it ends where it does, None when the manager was killed."""

    head: Line
    lines: list[Line] = field(default_factory=list)
    cards: dict[str, Card] = field(default_factory=dict)
    end: str | None = None

    @property
    def length(self) -> float:
        """Seconds from the start to the last line."""
        return float(self.lines[-1]["t"]) if self.lines else 0.0

    def of(self, kind: str) -> list[Line]:
        """Return the lines of one kind."""
        return [line for line in self.lines if line["is"] == kind]


def read(file: Path) -> Recording:
    """Return a recording. Raises NotARecording with the line at fault, and OSError."""
    texts = file.read_text(errors="replace").split("\n")
    found: Recording | None = None
    for number, text in enumerate(texts, 1):
        if not text:
            continue
        try:
            line = _line(text)
            if found is None:
                found = Recording(_head(line))
            elif line["is"] == "card":
                found.cards[line["key"]] = _card(line["card"])
            else:
                found.lines.append(line)
        except NotARecording as error:
            if number == len(texts) and found is not None:  # half a line: the manager was killed
                break
            raise NotARecording(f"{file}:{number}: {error}") from error
    if found is None:
        raise NotARecording(f"{file}: it is empty")
    if found.lines and found.lines[-1]["is"] == "end":
        found.end = found.lines[-1]["why"]
    return found


def _line(text: str) -> Line:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        raise NotARecording("this is no line of a recording of arje (arje --record FILE)") from None
    if not isinstance(line, dict) or line.get("is") not in _KINDS or not isinstance(line.get("t"), (int, float)):
        raise NotARecording("this is no line of a recording of arje (arje --record FILE)")
    return line


def _head(line: Line) -> Line:
    if line["is"] != "head":
        raise NotARecording("the head is missing: it is no recording of arje, or its beginning is lost")
    if line.get("format") != FORMAT:
        theirs = line.get("arje", "another arje")
        raise NotARecording(
            f"it is in format {line.get('format')} of {theirs}; this is arje {arje.__version__}: {FORMAT}"
        )
    return line


def _card(encoded: Any) -> Card:
    try:
        found = cache.decode(encoded)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError, RecursionError) as error:
        raise NotARecording(f"a card of another arje: {error}") from error
    if not isinstance(found, Card):
        raise NotARecording("what should be a card is none")
    return found


# -- errors ------------------------------------------------------------------------------------------------------------


def error_line(error: BaseException) -> Line:
    """Return an error that the world gave as an answer, as data."""
    if isinstance(error, SetupFailed):
        words = {"step": error.step.value, "errno": error.errno, "field": error.field, "detail": error.detail}
        return {"kind": "setup", "label": error.label, **words, "hint": error.hint, "line": error.line}
    if isinstance(error, IncarnationRefused):
        return {"kind": "refused", "label": error.label, "losses": cache.encode(error.degradations)}
    if isinstance(error, Unbound):
        words = {"option": error.option, "hint": error.hint}
        return {"kind": "unbound", "errno": error.errno or 0, "text": error.strerror, **words}
    if isinstance(error, trio.ClosedResourceError):
        return {"kind": "closed"}
    if isinstance(error, OSError):
        return {"kind": "os", "errno": error.errno or 0, "text": error.strerror or str(error), "path": error.filename}
    return {"kind": "other", "text": f"{type(error).__name__}: {error}"}


def error_of(line: Line) -> Exception:
    """Return the error that :func:`error_line` told."""
    if line["kind"] == "setup":
        step, words = Step(line["step"]), (line["errno"], line["field"], line["detail"])
        return SetupFailed(line["label"], step, *words, hint=line["hint"], line=line["line"])
    if line["kind"] == "refused":
        return IncarnationRefused(line["label"], cache.decode(line["losses"]))
    if line["kind"] == "unbound":
        return Unbound(OSError(line["errno"], line["text"]), line["option"], line["hint"])
    if line["kind"] == "closed":
        return trio.ClosedResourceError()
    if line["kind"] == "os":
        return OSError(line["errno"], line["text"], line["path"])
    return RuntimeError(line["text"])
