"""Heal and drift: causes of degradations looked at again, what can be mended in place mended, the rest marked.

Nothing here runs by a timer: whoever asks for a status is told what is so now, ``arjectl heal`` mends, and an apply
looks at the machine again. What a start would grant by now has the remedy that a restart would mend it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import trio

from arje import log
from arje.card.payload import Virtual
from arje.card.soma import Soma
from arje.errors import SetupFailed
from arje.incarnate import drift
from arje.incarnate.change import change, is_live, merged
from arje.incarnate.family import Answer
from arje.incarnate.forecast import Forecast
from arje.incarnate.furnishing import bare
from arje.incarnate.outcome import Outcome
from arje.incarnation import Degradation, Grant, as_json
from arje.service.record import FailureReason, Service
from arje.service.state import State
from arje.supervisor import snapshot

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_RUNS: Final = frozenset({State.STARTING, State.RUNNING, State.RELOADING})
_PASTA: Final = "network.pasta"
#: Lost for what may come and go between two starts: not foreseen by a plan, but by a forecast.
_COMES_AND_GOES: Final = frozenset({"network.veth", "cpu_affinity"})


def _running(supervisor: Supervisor, labels: Iterable[str]) -> list[tuple[Service, Outcome]]:
    found = []
    for label in labels:
        outcome = supervisor.outcome(label)
        if outcome is not None and label in supervisor.table and supervisor.table.get(label).state in _RUNS:
            found.append((supervisor.table.get(label), outcome))
    return found


# -- drift -------------------------------------------------------------------------------------------------------------


async def look(supervisor: Supervisor, labels: Iterable[str]) -> None:
    """Let the records of these services say what they have now. A thread reads; a service that has gone on is left."""
    seen = [(service, outcome) for service, outcome in _running(supervisor, labels) if outcome.plan is not None]
    jobs = [
        (outcome, {grant.feature for grant in service.grants if grant.ok} | outcome.drifted)
        for service, outcome in seen
    ]
    answers = await trio.to_thread.run_sync(_read, jobs) if jobs else []
    for (service, outcome), answer in zip(seen, answers, strict=True):
        label = service.label
        if supervisor.outcomes.get(label) is not outcome or outcome.ended or not _running(supervisor, [label]):
            continue
        if any(slot.exit for slot in supervisor.helpers.get(label, {}).values()):
            answer[_PASTA] = Answer("none", False)
        _tell(supervisor, supervisor.table.get(label), outcome, answer)


def _read(jobs: list[tuple[Outcome, set[str]]]) -> list[dict[str, Answer]]:
    found = []
    for outcome, features in jobs:
        try:
            found.append(drift.look(outcome, features))
        except OSError as error:
            LOG.warning("a service cannot be looked at", service=outcome.incarnation.label, error=str(error))
            found.append({})
    return found


def helper_ended(supervisor: Supervisor, label: str) -> None:
    """Let the record of a service say that it has lost its network, unless it is ending itself."""
    for service, outcome in _running(supervisor, [label]):
        if not outcome.ended:
            LOG.warning("a helper has ended before its service, which has lost its network", service=label)
            _tell(supervisor, service, outcome, {_PASTA: Answer("none", False)})


def _tell(supervisor: Supervisor, service: Service, outcome: Outcome, answers: dict[str, Answer]) -> None:
    """Write what was seen into the record, when it is something else than what stands there."""
    label, grants, losses = service.label, list[Grant](), list[Degradation]()
    lost = {loss.feature: loss for loss in service.degradations}
    for grant in service.grants:
        answer = answers.get(grant.feature)
        if answer is None or not (grant.ok or grant.feature in outcome.drifted):
            continue
        seen = Grant(
            grant.feature, grant.requested, answer.granted if not (answer.ok and grant.ok) else grant.granted, answer.ok
        )
        if seen == grant:
            continue
        grants.append(seen)
        if answer.ok:
            outcome.drifted.discard(grant.feature)
            continue
        outcome.drifted.add(grant.feature)
        loss = drift.degradation(grant, answer, _remedy(outcome, label, grant.feature))
        before = lost.get(grant.feature)
        losses.append(replace(loss, since=before.since) if before else loss)
        if before is None:
            LOG.warning("a running service is not what was granted any more", service=label, loss=str(loss))
    if grants:
        supervisor.table.regrant(label, tuple(grants), tuple(losses))


def _mendable(outcome: Outcome, feature: str) -> bool:
    if feature == "cgroup":
        return feature in outcome.drifted
    return is_live(outcome.soma, feature)


def _remedy(outcome: Outcome, label: str, feature: str) -> str:
    return f"arjectl heal {label}" if _mendable(outcome, feature) else _restart(label)


def _restart(label: str) -> str:
    return f"restart would mend: arjectl restart {label}"


# -- healing -----------------------------------------------------------------------------------------------------------


async def heal(supervisor: Supervisor, labels: list[str], who: str) -> dict[str, Any]:
    """Look at the machine and at these services again, mend what can be mended in place, and mark the rest."""
    changed = recheck(supervisor, mark_all=False)
    await look(supervisor, labels)
    mended = {service.label: _mend(supervisor, service, outcome) for service, outcome in _running(supervisor, labels)}
    results = []
    for label in labels:
        if label not in supervisor.table:
            continue
        mark(supervisor, label)
        service, done = supervisor.table.get(label), mended.get(label, ())
        if done:
            LOG.info("healed", service=label, who=who, features=[grant.feature for grant in done])
        results.append(
            {
                "label": label,
                "state": service.state.value,
                "mended": as_json(done),
                "degradations": [snapshot.degradation(loss, service.card) for loss in service.degradations],
            }
        )
    features = supervisor.incarnator.capabilities.features
    return {"changed": [as_json(features[name]) for name in changed if name in features], "results": results}


def recheck(supervisor: Supervisor, *, mark_all: bool = True) -> tuple[str, ...]:
    """Look at the machine again, and mark what a start would grant by now. Returns the features that have changed."""
    try:
        changed = supervisor.incarnator.recheck()
    except OSError as error:
        LOG.warning("this machine cannot be looked at again", error=str(error))
        return ()
    if changed:
        LOG.info("this machine grants something else than before", features=list(changed))
    for service in list(supervisor.table) if mark_all else ():
        mark(supervisor, service.label)
    return changed


def _mend(supervisor: Supervisor, service: Service, outcome: Outcome) -> tuple[Grant, ...]:
    """Do again what can be done to a running service. Returns what is granted by it."""
    features = [loss.feature for loss in service.degradations if _mendable(outcome, loss.feature)]
    grants: list[Grant] = []
    losses: list[Degradation] = []
    if "cgroup" in features:
        features.remove("cgroup")
        try:
            drift.bring_back(outcome)
        except OSError as error:
            LOG.warning("processes cannot be moved back", service=service.label, error=str(error))
        answer = drift.look(outcome, ["cgroup"]).get("cgroup")
        if answer is not None and answer.ok:
            grants += [
                Grant("cgroup", grant.requested, *answer) for grant in service.grants if grant.feature == "cgroup"
            ]
    if features:
        found = change(outcome, merged(Soma(), outcome.soma, features), supervisor.incarnator.capabilities)
        grants += [grant for grant in found.grants if grant.ok]
        losses = [_as_before(loss, service) for loss in found.degradations]
    outcome.drifted.difference_update(grant.feature for grant in grants)
    if grants or losses:
        supervisor.table.regrant(service.label, tuple(grants), tuple(losses))
    return tuple(grants)


def _as_before(loss: Degradation, service: Service) -> Degradation:
    before = next((known for known in service.degradations if known.feature == loss.feature), loss)
    return replace(loss, since=before.since)


# -- marking -----------------------------------------------------------------------------------------------------------


def mark(supervisor: Supervisor, label: str) -> None:
    """Give each degradation of a service the cause and remedy that it has by now; none is added or taken away."""
    service, outcome = supervisor.table.get(label), supervisor.outcome(label)
    if not service.degradations or isinstance(service.card.payload, Virtual):
        return
    try:
        foreseen = supervisor.incarnator.forecast(bare(service.card))
    except SetupFailed:
        return
    refused = service.failure is not None and service.failure.reason is FailureReason.ISOLATION_REFUSED
    if outcome is not None and service.state in _RUNS:
        losses = tuple(_of_running(loss, outcome, label, foreseen) for loss in service.degradations)
    elif refused:
        losses = tuple(_of_refused(loss, label, foreseen) for loss in service.degradations)
    else:
        return
    if losses != service.degradations:
        supervisor.table.regrant(label, (), losses)


def _of_running(loss: Degradation, outcome: Outcome, label: str, foreseen: Forecast) -> Degradation:
    again = next((each for each in foreseen.degradations if each.feature == loss.feature), None)
    if loss.feature in outcome.drifted:
        return loss if again is None else replace(loss, remedy=again.remedy)
    planned = {each.feature for each in outcome.plan.losses} if outcome.plan else set()
    if loss.feature not in planned | _COMES_AND_GOES:
        return loss  # nobody has foreseen it, so that nobody foresees it now says nothing
    if again is None:
        return replace(loss, remedy=_restart(label))
    return replace(again, since=loss.since, obtained=loss.obtained)


def _of_refused(loss: Degradation, label: str, foreseen: Forecast) -> Degradation:
    again = next((each for each in foreseen.degradations if each.feature == loss.feature), None)
    if again is not None:
        return replace(again, since=loss.since)
    return replace(loss, remedy=f"start would grant it now: arjectl start {label}")
