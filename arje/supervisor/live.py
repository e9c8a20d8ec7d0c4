"""What is changed on a service while it runs: its limits, and whether it runs at all (the freezer of cgroup v2)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import trio

from arje import log
from arje.card import live
from arje.errors import NotRunning
from arje.incarnate.change import change, merged
from arje.incarnation import as_json
from arje.service.record import Service
from arje.service.state import State
from arje.supervisor import snapshot

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
#: States in which the main process is there and nobody has told it to go.
_RUNS = frozenset({State.STARTING, State.RUNNING, State.RELOADING})


def set_limits(supervisor: Supervisor, label: str, changes: dict[str, str], who: str) -> dict[str, Any]:
    """Change limits of a running service, and let its record say so.

    Raises NoSuchService, NotRunning, and CardError for names and values that no card may have either; nothing is changed
    then.
    """
    service, outcome = supervisor.table.get(label), supervisor.outcome(label)
    if outcome is None or service.state not in _RUNS:
        raise NotRunning(label, service.state.value)
    asked = live.read(changes, "arjectl set")
    live.refuse_blinding(service.card, asked, "arjectl set")
    found = change(outcome, asked, supervisor.incarnator.capabilities)
    done = tuple(grant for grant in found.grants if grant.ok)
    outcome.soma = merged(outcome.soma, asked, [grant.feature for grant in done])
    outcome.drifted.difference_update(grant.feature for grant in done)
    supervisor.table.regrant(label, done)
    told = {grant.feature: grant.granted if grant.ok else "refused" for grant in found.grants}
    LOG.info("limits changed", service=label, who=who, limits=told)
    return {
        "grants": as_json(found.grants),
        "degradations": [snapshot.degradation(loss, service.card) for loss in found.degradations],
        "lasts": f"until {label} starts again; to keep it, write it into {service.card.source.file}: arjectl apply",
    }


async def freeze(supervisor: Supervisor, service: Service, who: str, *, frozen: bool) -> dict[str, Any]:
    """Freeze or thaw a service. Returns result and detail of its answer: done, already, not-running or failed."""
    outcome = supervisor.outcome(service.label)
    if outcome is None or service.state not in _RUNS:
        return {"result": "not-running"}
    if outcome.cgroup is not None and outcome.frozen == frozen:
        return {"result": "already", "detail": ""}
    try:
        done = await trio.to_thread.run_sync(functools.partial(outcome.freeze, frozen=frozen))
    except OSError as error:
        return {"result": "failed", "detail": f"cannot be {'frozen' if frozen else 'thawed'}: {error.strerror}"}
    LOG.info("frozen" if frozen else "thawed", service=service.label, who=who)
    if done:
        return {"result": "done", "detail": "frozen" if frozen else ""}
    return {
        "result": "failed",
        "detail": "asked to, but something in it sleeps in the kernel and cannot be stopped yet",
    }
