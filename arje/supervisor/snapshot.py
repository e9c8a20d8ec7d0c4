"""A service as plain data for the control socket: one dict, made at the moment it is asked for."""

from __future__ import annotations

import time
from typing import Any

from arje.card.payload import Legacy, Native
from arje.errors import errno_name
from arje.incarnate.policy import is_required
from arje.incarnation import as_json
from arje.service.record import Service
from arje.service.state import State
from arje.supervisor.supervisor import Supervisor


def brief(supervisor: Supervisor, service: Service) -> dict[str, Any]:
    """Return what the table of ``arjectl status`` needs."""
    card, running = service.card, service.incarnation
    outcome = supervisor.outcomes.get(service.label)
    memory = outcome.cgroup_file("memory.current") if outcome else None
    return {
        "label": service.label,
        "description": card.description,
        "state": service.state.value,
        "cause": {"who": service.cause.who, "detail": service.cause.detail, "wall": service.cause.wall},
        "since_s": time.monotonic() - service.since,
        "since_wall": service.cause.wall,
        "up": service.is_up,
        "ready": service.ready,
        "restarts": service.restarts,
        "wanted": service.wanted,
        "enabled": card.enabled,
        "pid": running.pid if running else None,
        "leader_pid": running.leader_pid if running else None,
        "setup_ms": running.setup_ms if running else None,
        "memory": int(memory) if memory else None,
        "isolation": isolation(supervisor, service),
        "last_exit": str(service.last_exit) if service.last_exit else None,
        "failure": failure(service),
        "backoff_in_s": max(0.0, service.backoff_until - time.monotonic()) if service.backoff_until else None,
        "waiting_for": list(supervisor.waits_for(service.label)) if service.state is State.WAITING else [],
    }


def isolation(supervisor: Supervisor, service: Service) -> dict[str, Any]:
    """Return what was requested and granted, by number and one by one."""
    lost = {loss.feature: loss for loss in service.degradations}
    requested = len(service.grants)
    if lost and not requested:  # refused: there was no incarnation to read anything back from
        requested = supervisor.incarnator.requests(service.card)
    return {
        "requested": requested,
        "granted": sum(grant.ok for grant in service.grants),
        "grants": as_json(service.grants),
        "degradations": [
            as_json(loss) | {"required": is_required(service.card.soma, loss.feature)} for loss in lost.values()
        ],
    }


def failure(service: Service) -> dict[str, Any] | None:
    """Return why a service failed, in fields."""
    if service.failure is None:
        return None
    plain: dict[str, Any] = as_json(service.failure)
    return plain | {"errno_name": errno_name(service.failure.errno) if service.failure.errno else ""}


def full(supervisor: Supervisor, service: Service) -> dict[str, Any]:
    """Return everything that is known of a service."""
    card, running = service.card, service.incarnation
    outcome = supervisor.outcomes.get(service.label)
    payload = card.payload
    tasks = outcome.cgroup_file("pids.current") if outcome else None
    lines = list(supervisor.logs.of(service.label).lines)[-10:]
    return brief(supervisor, service) | {
        "card_file": card.source.file,
        "card_line": card.source.line_of("label") or 1,
        "payload": "legacy" if isinstance(payload, Legacy) else "native" if isinstance(payload, Native) else "virtual",
        "command": [payload.exec, *payload.argv] if isinstance(payload, Native) else [],
        "cgroup": running.cgroup if running else "",
        "namespaces": running.namespaces if running else {},
        "tasks": int(tasks) if tasks else None,
        "processes": [process._asdict() for process in outcome.processes()] if outcome else [],
        "kill_method": service.kill_method,
        "requires": list(card.requires),
        "wants": list(card.wants),
        "after": list(card.after),
        "before": list(card.before),
        "provides": list(card.provides),
        "supervision": as_json(card.supervision),
        "history": [
            {"state": state.value, "who": why.who, "detail": why.detail, "wall": why.wall}
            for state, why in service.history
        ],
        "last_lines": [line.as_dict() for line in lines],
    }
