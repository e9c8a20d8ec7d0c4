"""Where a service's descriptors 0, 1 and 2 lead: what its card says, opened for the length of one spawn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import trio

from arje.card.card import Card
from arje.errors import SetupFailed
from arje.incarnate.spawn import StdioFds
from arje.incarnation import Step
from arje.supervisor.logs import ServiceLog

_FILES = {
    "file": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "append": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


@contextmanager
def opened(card: Card, log: ServiceLog, nursery: trio.Nursery) -> Iterator[StdioFds]:
    """Open the three descriptors. Raises SetupFailed that names the card's field."""
    wanted = card.soma.stdio
    with ExitStack() as stack:

        def one(name: str, what: str, own: int) -> int:
            kind, _, path = what.partition(":")
            if kind == "log" and own:
                return log.descriptor(name, nursery)
            if kind == "inherit":
                return own
            flags = os.O_RDONLY if not own else _FILES.get(kind, os.O_WRONLY)
            target = path if kind in ("file", "append") else "/dev/null"
            if kind not in ("null", "file", "append") or (not own and kind == "append"):
                raise _failed(
                    card, name, 0, f"{what!r} is not known", "write null, log, inherit, file:PATH, append:PATH"
                )
            try:
                fd = os.open(target, flags | os.O_CLOEXEC | os.O_NOCTTY, 0o640)
            except OSError as error:
                raise _failed(card, name, error.errno or 0, target, "") from error
            stack.callback(os.close, fd)
            return fd

        yield StdioFds(one("stdin", wanted.stdin, 0), one("stdout", wanted.stdout, 1), one("stderr", wanted.stderr, 2))


def _failed(card: Card, name: str, number: int, detail: str, hint: str) -> SetupFailed:
    field = f"soma.stdio.{name}"
    return SetupFailed(card.label, Step.PREPARE, number, field, detail, hint=hint, line=card.source.line_of(field))
