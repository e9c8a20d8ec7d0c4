"""Where the time of a start went: of the manager's own, or of the latest apply. Read from what the records remember.

Times are CLOCK_MONOTONIC, told in seconds since the span began. A service is in it with its first start since then. It
*waited* for another when an order between them says so and that one came up between the wish for it and its own
beginning: what is ordered but was up already cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arje.service.record import HISTORY, Service
from arje.service.state import State

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_BECAME: Final = {
    State.RUNNING: "ready",
    State.DONE: "done",
    State.FAILED: "failed",
    State.BACKOFF: "failed",
    State.STOPPED: "stopped",
    State.STOPPING: "stopped",
}
_SLACK: Final = 0.001  # seconds between an end that is felt and the beginning that follows


def process_age() -> float:
    """Return how long this process has lived, in seconds, to a hundredth (proc_pid_stat(5), starttime)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / 100)


def starts(supervisor: Supervisor, began: float) -> list[dict[str, Any]]:
    """Return the first start of each service since ``began``, in the order in which they came up."""
    found = {service.label: start for service in supervisor.table if (start := _start(service, began))}
    for label, start in found.items():
        start["waited_for"] = sorted(_waited(supervisor, found, label), key=lambda wait: wait["until_s"])
    return sorted(found.values(), key=lambda start: (start["ended_s"] is None, start["ended_s"], start["wanted_s"]))


def _start(service: Service, began: float) -> dict[str, Any] | None:
    """Return the first start of a service: when it was wanted, began, and was over; None when there was none."""
    history = list(service.history)
    forgotten = len(history) == HISTORY and history[0][1].at > began
    place = next(
        (i for i, (state, why) in enumerate(history) if state is State.WAITING and why.at >= began - _SLACK), None
    )
    if place is None or forgotten:  # what was first is not known any more
        return None
    wanted = history[place][1]
    start: dict[str, Any] = {
        "label": service.label,
        "who": wanted.who,
        "wanted_s": wanted.at - began,
        "began_s": None,
        "ended_s": None,
        "became": "waiting",
        "setup_ms": None,
    }
    ended = None
    for state, why in history[place + 1 :]:
        if state is State.STARTING and start["began_s"] is None:
            start |= {"began_s": why.at - began, "became": "starting"}
        elif state in _BECAME:
            start |= {"ended_s": why.at - began, "became": _BECAME[state]}
            ended = why.at
            break
    running = service.incarnation
    if running is not None and start["began_s"] is not None and (ended is None or running.started <= ended + _SLACK):
        start["setup_ms"] = running.setup_ms
    return start


def _waited(supervisor: Supervisor, found: dict[str, dict[str, Any]], label: str) -> Iterator[dict[str, Any]]:
    """Yield whom a service waited for, by which field of a card, and until when."""
    start = found[label]
    for edge in supervisor.graph.edges_before(label) if label in supervisor.graph else ():
        other = found.get(edge.first)
        if other is None or other["ended_s"] is None or other["ended_s"] < start["wanted_s"]:
            continue
        if start["began_s"] is None or other["ended_s"] <= start["began_s"] + _SLACK:
            yield {"label": edge.first, "kind": edge.field, "until_s": other["ended_s"]}
