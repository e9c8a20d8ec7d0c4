"""The states of a service and the one table of transitions between them.

Facts first. A service is *wanted* or not; it has a process or not; and between the two lie waits: for dependencies
(``waiting``), for a set-up and readiness (``starting``), for a process to go (``stopping``), for a time (``backoff``).
``done`` and ``failed`` are rests in which somebody may read what happened. Nothing leaves them by itself, with one
exception: who failed only because something that it requires had failed starts again when that recovers.

What follows from that, and is easy to get wrong:

* **A retry goes through** ``waiting``. Between the death and the retry a dependency may have gone as well, so
  ``RETRY_DUE`` leads to ``waiting``, and the dependencies are looked at again.
* **A start by hand bypasses** the wait and the start limit: ``WANTED`` leaves ``backoff`` and ``failed`` at once, and the
  table forgets the earlier starts (:mod:`arje.service.table`).
* **Two words for stopping.** ``STOP`` is for states that may have a process: it leads to ``stopping``, and only
  ``STOPPED`` (the whole tree is reaped) leads out. ``UNWANTED`` is for states without one: it leads to ``stopped`` at
  once. :data:`STOP_WITH` says which of them fits a state.
* **A restart by hand** is ``STOP``, then ``WANTED`` while ``stopping``. That changes the wish and not the state; after
  ``STOPPED`` the supervisor looks at the wish and fires ``WANTED`` again. ``UNWANTED`` takes the wish back.
* **A set-up can be overtaken by a stop**: the process may be confirmed (``SPAWNED``), refused or broken while
  ``stopping``; the first is recorded so that it can be killed, the others are the end of the stop.
* **A requirement that fails for good is felt.** Who runs on it gets ``STOP`` with the wish kept; at the end of that stop,
  or out of ``waiting``, ``DEPENDENCY_FAILED`` leads to ``failed``. ``RECOVERED`` leads back to ``waiting``; the wish was
  never taken back, so it is no start by hand and forgets nothing.
* **An end that arje brings about** (a watchdog, a start that takes too long, a clean-up after the process) goes through
  ``stopping`` with the wish kept, and its last word is that of any ending: ``EXITED_RETRY``, ``EXITED_DONE`` or
  ``EXITED_FAILED``. Who takes the wish back meanwhile makes a stop of it: ``STOPPED``.
* **A stop may be stuck**: the kernel does not let us signal the process, or it does not die. ``STUCK`` keeps ``stopping``
  and records why; whoever waits for the stop need not wait longer, and the end of the process is still its end.
* **Who waits to be started by its sockets or paths** is ``waiting``, and up: that is what activation is for. ``ARMED`` says
  that it is so far; ``EXITED_WAITS`` leads back there, whatever became of the run, as the next may be better.
* **Events may keep the state** (``SPAWNED`` in ``starting``): the record learns something, since and cause stay.

A pair that is not in the table is :class:`~arje.errors.InvalidTransition`: the caller logs it and nothing has changed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from arje.errors import InvalidTransition


class State(StrEnum):
    """Where a service is."""

    STOPPED = "stopped"
    """Not wanted, or skipped: no process."""
    WAITING = "waiting"
    """Wanted; a dependency or a condition is missing, or nothing has come to its sockets or paths yet."""
    STARTING = "starting"
    """Being set up, or running and not ready yet."""
    RUNNING = "running"
    RELOADING = "reloading"
    STOPPING = "stopping"
    """Told to go; its process tree is not reaped yet."""
    BACKOFF = "backoff"
    """Will start again at a known time."""
    DONE = "done"
    """Ended well and need not run again."""
    FAILED = "failed"
    """Ended badly, and nothing will start it but a hand."""


class Event(StrEnum):
    """What can happen to a service."""

    WANTED = "wanted"
    """A hand, a dependent or the boot wants it to run."""
    UNWANTED = "unwanted"
    """Nobody wants it, and it has no process. Also clears ``done`` and ``failed``."""
    DEPENDENCIES_MET = "dependencies-met"
    ARMED = "armed"
    """Its sockets are open, its paths are watched: it starts when one of them says so."""
    SKIPPED = "skipped"
    """A condition of the card does not hold, or it yields to one that it conflicts with."""
    ASSERT_FAILED = "assert-failed"
    """Something that the card asserts does not hold."""
    SPAWNED = "spawned"
    """Exec is confirmed; the incarnation is known."""
    READY = "ready"
    """Ready after a start or a reload; without a readiness protocol it follows ``SPAWNED`` at once."""
    REFUSED = "refused"
    """Policy: required isolation is not obtainable here."""
    SPAWN_FAILED = "spawn-failed"
    """A step of the set-up failed and will not be tried again by itself."""
    EXITED_RETRY = "exited-retry"
    """It ended (or its set-up failed) and will start again."""
    EXITED_DONE = "exited-done"
    EXITED_FAILED = "exited-failed"
    EXITED_WAITS = "exited-waits"
    """It ended, and waits for its sockets or paths to start it again."""
    RETRY_DUE = "retry-due"
    DEPENDENCY_FAILED = "dependency-failed"
    """Something that it requires failed for good; it has no process, or has just ended its stop."""
    RECOVERED = "recovered"
    """What it had failed for is on its way again."""
    RELOAD = "reload"
    STOP = "stop"
    """The process is to go."""
    STOPPED = "stopped"
    """After ``STOP``: the whole tree is reaped."""
    STUCK = "stuck"
    """It was told to go and killed, and is still there."""
    FAULT = "fault"
    """Arje itself failed at this service: an exception in its runner."""


def _table() -> dict[tuple[State, Event], State]:
    """Write the table down, a paragraph per state."""
    s, e = State, Event
    table = {
        (s.STOPPED, e.WANTED): s.WAITING,
        (s.WAITING, e.DEPENDENCIES_MET): s.STARTING,
        (s.WAITING, e.ARMED): s.WAITING,
        (s.WAITING, e.SKIPPED): s.STOPPED,
        (s.WAITING, e.ASSERT_FAILED): s.FAILED,
        (s.WAITING, e.UNWANTED): s.STOPPED,
        (s.WAITING, e.DEPENDENCY_FAILED): s.FAILED,
        (s.STARTING, e.SPAWNED): s.STARTING,
        (s.STARTING, e.READY): s.RUNNING,
        (s.STARTING, e.REFUSED): s.FAILED,
        (s.STARTING, e.SPAWN_FAILED): s.FAILED,
        (s.RUNNING, e.RELOAD): s.RELOADING,
        (s.RELOADING, e.READY): s.RUNNING,
        (s.STOPPING, e.WANTED): s.STOPPING,
        (s.STOPPING, e.UNWANTED): s.STOPPING,
        (s.STOPPING, e.SPAWNED): s.STOPPING,
        (s.STOPPING, e.REFUSED): s.STOPPED,
        (s.STOPPING, e.SPAWN_FAILED): s.STOPPED,
        (s.STOPPING, e.STUCK): s.STOPPING,
        (s.STOPPING, e.STOPPED): s.STOPPED,
        (s.STOPPING, e.DEPENDENCY_FAILED): s.FAILED,
        (s.STOPPING, e.EXITED_RETRY): s.BACKOFF,
        (s.STOPPING, e.EXITED_DONE): s.DONE,
        (s.STOPPING, e.EXITED_FAILED): s.FAILED,
        (s.STOPPING, e.EXITED_WAITS): s.WAITING,
        (s.BACKOFF, e.RETRY_DUE): s.WAITING,
        (s.BACKOFF, e.WANTED): s.WAITING,
        (s.BACKOFF, e.UNWANTED): s.STOPPED,
        (s.DONE, e.WANTED): s.WAITING,
        (s.DONE, e.UNWANTED): s.STOPPED,
        (s.FAILED, e.WANTED): s.WAITING,
        (s.FAILED, e.RECOVERED): s.WAITING,
        (s.FAILED, e.UNWANTED): s.STOPPED,
    }
    for alive in (s.STARTING, s.RUNNING, s.RELOADING):
        table[alive, e.EXITED_RETRY] = s.BACKOFF
        table[alive, e.EXITED_DONE] = s.DONE
        table[alive, e.EXITED_FAILED] = s.FAILED
        table[alive, e.EXITED_WAITS] = s.WAITING
        table[alive, e.STOP] = s.STOPPING
    for busy in (s.WAITING, s.STARTING, s.RUNNING, s.RELOADING, s.STOPPING, s.BACKOFF):
        table[busy, e.FAULT] = s.FAILED
    return table


#: (state, event) → next state. What is not here has no meaning.
TRANSITIONS: Final[dict[tuple[State, Event], State]] = _table()

#: The states in which a service may have a process.
WITH_PROCESS: Final = frozenset({State.STARTING, State.RUNNING, State.RELOADING, State.STOPPING})

#: The states in which a start is under way or promised: what is ordered after such a service waits for it.
COMING: Final = frozenset({State.WAITING, State.STARTING})

#: State → the event that makes the service stop; ``stopped`` has none.
STOP_WITH: Final[dict[State, Event]] = {
    state: event for state in State for event in (Event.STOP, Event.UNWANTED) if (state, event) in TRANSITIONS
}


def next_state(label: str, state: State, event: Event) -> State:
    """Return the state that follows; raise InvalidTransition when the table does not know the pair."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InvalidTransition(label, state.value, event.value) from None


def diagram() -> str:
    """Return the table as text, made from :data:`TRANSITIONS`: one line per state and successor, with the events."""
    edges: dict[tuple[State, State], list[str]] = {}
    for (state, event), following in TRANSITIONS.items():
        edges.setdefault((state, following), []).append(event.value)
    width = max(len(state.value) for state in State)
    ranked = sorted(edges.items(), key=lambda edge: [list(State).index(state) for state in edge[0]])
    return "\n".join(f"{a.value:<{width}} → {b.value:<{width}}  {', '.join(events)}" for (a, b), events in ranked)
