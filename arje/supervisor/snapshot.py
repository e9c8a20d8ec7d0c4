"""A service as plain data for the control socket: one dict, made at the moment it is asked for.

The types are those of ``control/io.arje.Manager.varlink``; a test holds every reply against them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from arje.card.card import Card
from arje.card.edges import KINDS
from arje.card.log import LogRules
from arje.card.payload import Native
from arje.card.permissions import words
from arje.card.probes import Health, Readiness, way_of
from arje.card.supervision import Kind, Supervision
from arje.errors import errno_name, errno_text
from arje.incarnate.policy import is_required
from arje.incarnation import Degradation, as_json
from arje.kernel import process
from arje.service.budget import Budgets
from arje.service.record import Failure, Service, StateCause
from arje.service.state import WITH_PROCESS, State
from arje.supervisor import activating, conditions, deps, figures, memory_watch
from arje.supervisor.accounts import group_name, user_name
from arje.supervisor.catalogue import masked_by
from arje.supervisor.host import Living
from arje.supervisor.why import broken
from arje.supervisor.wishes import activation

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor


def brief(supervisor: Supervisor, service: Service) -> dict[str, Any]:
    """Return what the table of ``arjectl status`` needs."""
    card, running = service.card, service.incarnation
    outcome = supervisor.outcomes.get(service.label)
    now = supervisor.host.now()
    return {
        "label": service.label,
        "description": card.description,
        "state": service.state.value,
        "cause": _why(service.cause),
        "since_s": now - service.since,
        "since_wall": service.cause.wall,
        "up": service.is_up,
        "ready": service.ready,
        "doing": service.doing,
        "restarts": service.restarts,
        "wanted": service.wanted,
        "enabled": card.enabled,
        "masked": masked_by(card) or None,
        "pinned": card.pinned,
        "template": card.source.template or None,
        "pid": running.pid if running and not has_no_process(service) else None,
        "leader_pid": running.leader_pid if running else None,
        "setup_ms": running.setup_ms if running else None,
        "memory": _number(outcome, "memory.current"),
        "frozen": outcome is not None and outcome.frozen,
        "isolation": isolation(supervisor, service),
        "last_exit": str(service.last_exit) if service.last_exit else None,
        "failure": failure(service),
        "backoff_in_s": max(0.0, service.backoff_until - now) if service.backoff_until else None,
        "waiting_for": list(needs(supervisor, service)),
        "timer": supervisor.timers.status(service.label),
        "awaits": list(service.awaits) if service.is_armed else [],
    }


def has_no_process(service: Service) -> bool:
    """Whether a service is up though its process has ended, as scripted ones are: its number may be a stranger's by now."""
    return service.card.supervision.kind is Kind.SCRIPTED and service.state in (State.RUNNING, State.RELOADING)


def _why(cause: StateCause) -> dict[str, Any]:
    return {"who": cause.who, "detail": cause.detail, "wall": cause.wall}


def _number(outcome: Living | None, file: str) -> int | None:
    """Return the number in a file of the service's cgroup; None when there is none, or it is ``max``."""
    text = outcome.cgroup_file(file) if outcome else None
    return int(text) if text and text.isdigit() else None


def isolation(supervisor: Supervisor, service: Service) -> dict[str, Any]:
    """Return what was requested and granted, by number and one by one."""
    lost = {loss.feature: loss for loss in service.degradations}
    requested = len(service.grants)
    if lost and not requested:  # refused: there was no incarnation to read anything back from
        try:
            requested = supervisor.incarnator.requests(service.card)
        except Exception:  # the card in force is another one by now; one service must not hide the others
            requested = len(lost)
    return {
        "requested": requested,
        "granted": sum(grant.ok for grant in service.grants),
        "grants": as_json(service.grants),
        "degradations": [degradation(loss, service.card) for loss in lost.values()],
    }


def degradation(loss: Degradation, card: Card) -> dict[str, Any]:
    """Return a degradation, where the card asks for it, and whether it refuses to live without."""
    plain: dict[str, Any] = as_json(loss)
    field = f"soma.{loss.feature}"
    where = {"file": card.source.file_of(field), "line": card.source.line_of(field)}
    return plain | where | {"required": is_required(card.soma, loss.feature)}


def failure(service: Service) -> dict[str, Any] | None:
    """Return why a service failed, in fields."""
    if (failed := service.failure) is None:
        return None
    plain: dict[str, Any] = as_json(failed)
    return plain | {
        "errno_name": errno_name(failed.errno) if failed.errno else "",
        "file": service.card.source.file_of(failed.field) if failed.field else "",
        "line": service.card.source.line_of(failed.field),
        "detail": failure_text(failed),
    }


def failure_text(failed: Failure) -> str:
    """Return what happened in one line: ``/no/such/program: ENOENT (No such file or directory)``."""
    if not failed.errno:
        return failed.detail
    kernel = f"{errno_name(failed.errno)} ({errno_text(failed.errno)})"
    return f"{failed.path}: {kernel}" if failed.path else kernel


def needs(supervisor: Supervisor, service: Service) -> Iterator[dict[str, Any]]:
    """Yield each name that a waiting service waits for, with what that waits for in its turn, and the last one's state."""
    if service.state is not State.WAITING:
        return
    for wait in supervisor.needs.waits(service.label):
        chain, seen = [wait.name], {service.label}
        found = _first(supervisor, wait.providers)
        while found and found.state is State.WAITING and found.label not in seen:
            seen.add(found.label)
            if not (further := supervisor.needs.waits(found.label)):
                break
            chain.append(further[0].name)
            found = _first(supervisor, further[0].providers)
        state = found.state.value if found else None
        yield {"kind": wait.kind, "name": wait.name, "chain": chain[1:], "state": state}


def _first(supervisor: Supervisor, labels: Iterable[str]) -> Service | None:
    """Return the service that is meant by several: one that is up, else the first."""
    found = [supervisor.table.get(label) for label in labels if label in supervisor.table]
    return next((service for service in found if service.is_up), found[0] if found else None)


def full(supervisor: Supervisor, service: Service) -> dict[str, Any]:
    """Return everything that is known of a service."""
    card, payload = service.card, service.card.payload
    return (
        brief(supervisor, service)
        | {
            "card_file": card.source.file,
            "card_line": card.source.line_of("label") or 1,
            "card_dropins": [part.file for part in card.source.parts[1:]],
            "card_on_disk": supervisor.catalogue.on_disk(card),
            "payload": type(payload).__name__.lower(),
            "command": [payload.exec, *payload.argv] if isinstance(payload, Native) else [],
            "activation": list(activation(supervisor, service)),
            "kill_method": service.kill_method,
            "status_text": service.status_text,
            **{kind: list(getattr(card, kind)) for kind in KINDS},
            "provides": list(card.provides),
            "dependencies": list(dependencies(supervisor, card)),
            "needed_by": list(supervisor.needs.askers(service.label)),
            "tests": conditions.told(card),
            "live_conditions": supervisor.watched.words(card),
            "broken_edges": broken(supervisor, service.label),
            "history": [_why(cause) | {"state": state.value} for state, cause in service.history],
            "log_dropped": supervisor.logs.of(service.label).dropped,
            "log": log_rules(service.card.log),
            "piped_to": piped_to(supervisor, service),
            "last_lines": [line.as_dict() for line in list(supervisor.logs.of(service.label).lines)[-10:]],
        }
        | activating.of_service(supervisor, service)
        | _life(service, supervisor.host.now(), supervisor.budgets)
        | {"memory_watch": memory_watch.way(card.supervision, supervisor.outcomes.get(service.label))}
        | _body(supervisor.outcomes.get(service.label), service)
    )


def log_rules(rules: LogRules) -> dict[str, Any]:
    """Return how a log is kept."""
    plain: dict[str, Any] = as_json(rules)
    return plain


def piped_to(supervisor: Supervisor, service: Service) -> dict[str, Any] | None:
    """Return who reads what the service writes, and what lies in the pipe between them; None when nobody does."""
    if not (label := service.card.log.to):
        return None
    consumer = supervisor.table.get(label) if label in supervisor.table else None
    waiting = supervisor.logs.pipes.waiting(label)
    return {"label": label, "state": consumer.state.value if consumer else None, "waiting": waiting}


def dependencies(supervisor: Supervisor, card: Card) -> Iterator[dict[str, Any]]:
    """Yield every edge of a card, with the service it means and that one's state; a contract once for each that counts."""
    for kind, name, labels in deps.edges(supervisor, card):
        terms = deps.terms(card, kind, name)
        found = [_first(supervisor, [label]) for label in labels] if kind == "contracts" else []
        for service in found or [_first(supervisor, labels)]:
            label, state = (service.label, service.state.value) if service else (None, None)
            yield {"kind": kind, "name": name, "label": label, "state": state, "terms": terms}


def _life(service: Service, now: float, budgets: Budgets) -> dict[str, Any]:
    """How the service is kept, and where it is in that."""
    supervision, running = service.card.supervision, service.incarnation
    decays = running.started + supervision.healthy_after - now if running and service.step else None
    return {
        "permissions": words(service.card.permissions) if service.card.permissions else None,
        "supervision": rules(service.card),
        "ready_ms": _ready_ms(service),
        "setup_steps": [{"step": step, "ms": ms} for step, ms in running.steps] if running else [],
        "last_exit_wall": _ended(service) if service.last_exit else None,
        "backoff_step": service.step,
        "backoff_steps": _steps(supervision),
        "decays_in_s": decays if decays and decays > 0 else None,
        "budget": budgets.words(service.card, now),
    }


def rules(card: Card) -> dict[str, Any]:
    """Return how a card wants its service kept: numbers as they are, the rest in the words that a card may write."""
    asked = card.supervision
    plain: dict[str, Any] = as_json(asked)
    endings = {
        name: [str(end) for end in getattr(asked, name)] for name in ("success_exit", "restart_on", "no_restart_on")
    }
    reload = asked.reload and (asked.reload.signal or str(asked.reload.exec))
    return (
        plain
        | endings
        | {
            "stop": " ".join(f"{name}/{seconds:g}" for name, seconds in asked.stop),
            "readiness": probe_words(asked.readiness),
            "health": probe_words(asked.health),
            "on_change": f"{asked.on_change.action}: {' '.join(asked.on_change.paths)}" if asked.on_change else "",
            "reload": reload or "",
            "hooks": {name: [str(one) for one in getattr(card.hooks, name)] for name in card.hooks.__slots__},
        }
    )


def probe_words(probe: Readiness | Health | None) -> str:
    """Return a probe as a card may write it: ``notify``, ``tcp:127.0.0.1:80``; empty for none."""
    if probe is None:
        return ""
    way = way_of(probe)
    return way if way == "notify" else getattr(probe, way) if way == "http" else f"{way}:{getattr(probe, way)}"


def _steps(supervision: Supervision) -> int:
    """Return how often the wait doubles before it has reached its most."""
    if not 0 < supervision.initial < supervision.max < math.inf:
        return 0
    return math.ceil(math.log2(supervision.max / supervision.initial))


def _ready_ms(service: Service) -> float | None:
    """Return how long the latest start took from the first step to ready, in milliseconds; None while it does not run."""
    if service.state is not State.RUNNING or len(service.history) < 2:
        return None
    (before, began), (_, ready) = service.history[-2:]
    return (ready.at - began.at) * 1000 if before is State.STARTING else None


def _ended(service: Service) -> float | None:
    """Return when the latest process ended (wall clock); None when the history has forgotten it."""
    lived = {State.RUNNING, State.RELOADING, State.STOPPING}
    if service.card.supervision.kind is Kind.ONE_SHOT:
        lived.add(State.STARTING)
    history = service.history
    for (before, _), (after, why) in zip(reversed(history[:-1]), reversed(history), strict=False):
        if before in lived and after not in WITH_PROCESS:
            return why.wall
    return None


def _body(outcome: Living | None, service: Service) -> dict[str, Any]:
    """What runs now: the main process, the cgroup's counters, the tree."""
    running = service.incarnation
    usage = (outcome.cgroup_file("cpu.stat") if outcome else None) or ""
    micros = next((int(line.split()[1]) for line in usage.splitlines() if line.startswith("usage_usec ")), None)
    tree = outcome.processes() if outcome else ()
    return {
        "main": _main(running.pid) if running and not has_no_process(service) else None,
        "cgroup": running.cgroup if running else "",
        "namespaces": running.namespaces if running else {},
        "tasks": _tasks(outcome),
        "tasks_limit": _number(outcome, "pids.max"),
        "cpu_s": micros / 1e6 if micros is not None else None,
        "usage": as_json(figures.of_living(outcome, [entry.pid for entry in tree])) if outcome else None,
        "last_usage": as_json(service.last_usage),
        "processes": [entry._asdict() for entry in tree],
    }


def _tasks(outcome: Living | None) -> int | None:
    if (counted := _number(outcome, "pids.current")) is not None:
        return counted
    threads = outcome.cgroup_file("cgroup.threads") if outcome else None  # without the pids controller
    return len(threads.split()) if threads else None


def _main(pid: int) -> dict[str, Any] | None:
    """The payload's process: its name and who it is to the host, as the kernel says; None when it is gone."""
    try:
        facts = process.status(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    uid, gid = (int(facts[name].split()[1]) for name in ("Uid", "Gid"))
    return {"pid": pid, "name": facts["Name"], "user": user_name(uid), "group": group_name(gid)}
