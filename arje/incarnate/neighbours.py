"""The namespaces of running services, held open while another service is being put into them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from arje.card.join import Join
from arje.errors import SetupFailed
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.families.joins import PLACE
from arje.incarnation import Incarnation, Step
from arje.kernel.process import NAMESPACE_FILES

#: Returns the running incarnation of a label, or None.
Neighbours = Callable[[str], Incarnation | None]


def nobody(label: str) -> None:
    """There are no neighbours: a program without a table of services."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Descriptors of namespaces: in the order of PLACE for the child's steps, and the one that it is born in, or -1."""

    joins: tuple[int, ...]
    pid_namespace: int


#: Of a service that enters no namespace.
CLOSED: Final = Doors((), -1)
_NOBODY: Final = Join()


def enters(blueprint: Blueprint) -> bool:
    """Whether a plan enters any namespace of others, so that :func:`opened` has something to do."""
    return blueprint.soma.join != _NOBODY


@contextlib.contextmanager
def opened(blueprint: Blueprint, neighbours: Neighbours) -> Iterator[tuple[Blueprint, Doors]]:
    """Lend the namespaces that a plan enters, and the plan that knows which they are. Raises SetupFailed."""
    fds = dict.fromkeys(Join.__slots__, -1)
    links = {}
    with contextlib.ExitStack() as stack:
        for kind, label in blueprint.soma.join.asked().items():
            if f"join.{kind}" not in blueprint.has:
                continue
            fds[kind], links[kind] = _open(blueprint, kind, label, neighbours)
            stack.callback(os.close, fds[kind])
        joins = tuple(fds[kind] if kind != "pid" else -1 for kind in PLACE)
        yield replace(blueprint, joined=tuple(links.items())) if links else blueprint, Doors(joins, fds["pid"])


def _open(blueprint: Blueprint, kind: str, label: str, neighbours: Neighbours) -> tuple[int, str]:
    """Return a namespace's descriptor and link. It is the one that the service was given, not one of a recycled pid."""
    running = neighbours(label)
    if running is None:
        raise _failed(blueprint, kind, 0, f"service {label!r} is not running", label)
    try:
        fd = os.open(f"/proc/{running.pid}/ns/{NAMESPACE_FILES[kind]}", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise _failed(blueprint, kind, error.errno or 0, f"service {label!r} is ending", label) from error
    except OSError as error:
        raise _failed(blueprint, kind, error.errno or 0, f"the {kind} namespace of {label!r}", label) from error
    link = os.readlink(f"/proc/self/fd/{fd}")
    if link != running.namespaces.get(kind, link):
        os.close(fd)
        raise _failed(blueprint, kind, 0, f"service {label!r} has left its {kind} namespace", label)
    return fd, link


def _failed(blueprint: Blueprint, kind: str, errno: int, detail: str, label: str) -> SetupFailed:
    field, card = f"soma.join.{kind}", blueprint.card
    hint = f'let it start first: after = ["{label}"], requires = ["{label}"]'
    return SetupFailed(card.label, Step.PREPARE, errno, field, detail, hint=hint, line=card.source.line_of(field))
