"""What arjectl shows of many services: the table, degradations, causal chains, log lines, results of verbs."""

from __future__ import annotations

import time

from arje.ctl.words import because, clock, duration, escape, many, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.words import Paper

    Data = dict[str, Any]


def cells(paper: Paper, service: Data) -> tuple[str, ...]:
    """Return what each column of the table says of a service."""
    state = service["state"]
    if state == "backoff" and service["backoff_in_s"] is not None:
        state = f"backoff {duration(service['backoff_in_s'] + 0.999)}"
    if service["frozen"]:
        state += " (frozen)"
    return (
        str(service["pid"] or "-"),
        service["label"],
        state,
        "-" if _never_ran(service) else duration(service["since_s"]),
        {True: "yes", False: "no", None: "-"}[service["ready"]],
        str(service["restarts"]),
        iso(service["isolation"]),
        size(service["memory"]),
        escape(remark(paper, service)),
    )


def _never_ran(service: Data) -> bool:
    return bool(service["state"] == "stopped" and not service["enabled"] and not service["last_exit"])


def iso(isolation: Data) -> str:
    if not isolation["requested"]:
        return "-"
    return f"{isolation['granted']}/{isolation['requested']}{'!' * bool(isolation['degradations'])}"


def remark(paper: Paper, service: Data) -> str:
    """What the last column says; of a timed service that does not run, when it will is told first."""
    timer, remark = service["timer"], trouble(paper, service)
    if timer and service["state"] in ("stopped", "done", "failed"):
        due = f"next {clock(timer['next_wall'])}" if timer["next_wall"] is not None else "no time comes any more"
        remark = f"{due if timer['armed'] else 'timer not armed'}{', ' if remark else ''}{remark}"
    return remark


def trouble(paper: Paper, service: Data) -> str:
    """The description of a service that is well, the reason of one that is not."""
    if service["state"] == "waiting":
        return waits(paper, service) or "about to start"
    if service["state"] == "failed":
        return reason(service)
    if service["state"] == "backoff":
        again = service["backoff_in_s"]
        when = f", next start {clock(time.time() + again)}" if again is not None else ""
        failure = service["failure"] or {}
        ended = reason(service) if failure.get("step") else service["last_exit"]
        return f"{ended}{when}"
    if service["cause"]["who"] == "condition":
        return f"skipped: {service['cause']['detail']}"
    if service["masked"]:
        return "masked"
    if service["pinned"] == "stopped" and service["state"] == "stopped":
        return "pinned stopped"
    if service["state"] == "stopped" and service["cause"]["detail"].startswith("skipped: "):
        return str(service["cause"]["detail"])
    return "disabled" if _never_ran(service) and not service["timer"] else str(service["description"])


def waits(paper: Paper, service: Data) -> str:
    """What a waiting service needs, what that needs in its turn, and the state in which the last of them is."""
    told = []
    for need in service["waiting_for"]:
        chain = f" {paper.back} ".join((need["name"], *need["chain"]))
        state = f" ({need['state'] or 'no such service'})" if need["kind"] != "conditions" else ""
        told.append(f"{chain}{state}")
    if not told and service["awaits"]:
        return f"waits for {', '.join(service['awaits'])}"
    return f"needs {', '.join(told)}" if told else ""


def reason(service: Data) -> str:
    """Why a service failed: the closed reason, the step and what happened, in one line."""
    failure = service["failure"]
    if not failure:
        return str(service["cause"]["detail"])
    if failure["reason"] == "isolation-refused":
        lost = [loss["feature"] for loss in service["isolation"]["degradations"] if loss["required"]]
        return f"{failure['reason']}: {', '.join(lost)}"
    what = f"{failure['reason']} at {failure['step']}" if failure["step"] else str(failure["reason"])
    if failure["detail"].startswith(f"{what}: "):  # the start limit names itself
        return str(failure["detail"])
    return f"{what}: {failure['detail']}" if failure["detail"] else what


def degradations(paper: Paper, services: list[Data]) -> None:
    """Every difference between asked and got: feature, cause, remedy. One paragraph per service that has some."""
    for service in services:
        isolation = service["isolation"]
        if not isolation["degradations"]:
            continue
        refused = service["failure"] and service["failure"]["reason"] == "isolation-refused"
        verdict = (
            "refused, nothing of it ran" if refused else f"{isolation['granted']} of {isolation['requested']} granted"
        )
        paper.line(f"{paper.mark(service['state'])}{service['label']}: {verdict}")
        losses(paper, isolation["degradations"], "  ")


def degradations_summary(paper: Paper, services: list[Data]) -> None:
    """One line over all of them."""
    lost = [len(service["isolation"]["degradations"]) for service in services]
    if not sum(lost):
        paper.line("Everything that was asked for is granted.")
        return
    degraded = sum(map(bool, lost))
    paper.line(f"{many(sum(lost), 'degradation')} in {degraded} of {many(len(services), 'service')}.")


def healed(paper: Paper, found: Data) -> None:
    """What the machine grants by now, what was mended in each service, and what is left."""
    for feature in found["changed"]:
        paper.line(f"This machine has {feature['feature']} {'now' if feature['available'] else 'no more'}.")
    for service in found["results"]:
        left = service["degradations"]
        for grant in service["mended"]:
            paper.line(f"{service['label']}: {grant['feature']} is mended: {escape(grant['granted'])}")
        if left:
            paper.line(f"{service['label']}: {many(len(left), 'degradation')} left")
            losses(paper, left, "  ")
    if not any(service["mended"] or service["degradations"] for service in found["results"]):
        paper.line("There is nothing to mend.")


def losses(paper: Paper, found: list[Data], lead: str) -> None:
    """Degradations, a line each and the remedy below; one remedy for several in a row is told once."""
    width = max(len(loss["feature"]) for loss in found)
    for loss, following in zip(found, [*found[1:], None], strict=True):
        required = "  required" if loss["required"] else ""
        paper.line(
            f"{lead}{paper.paint('!', '33')} {loss['feature']:<{width}}  asked: {escape(loss['requested'])}   "
            f"got: {escape(loss['obtained'])}   {escape(because(loss))}{required}"
        )
        if loss["remedy"] and (following is None or following["remedy"] != loss["remedy"]):
            paper.line(f"{lead}  {'':<{width}}  remedy: {escape(loss['remedy'])}")


def cause(found: Data) -> str:
    """Who or what, and the rule or the fact."""
    return escape(f"{found['who']}: {found['detail']}" if found["detail"] else str(found["who"]))


def why(paper: Paper, chain: list[Data]) -> None:
    """A causal chain, nearest cause first, each link indented below what it caused."""
    for link in chain:
        depth = link["depth"]
        arrow = ("  " * (depth - 1) + ("└ " if paper.rich else "` ")) if depth else ""
        state = paper.state(link["state"])
        rule = f"  ({escape(link['rule'])})" if link["rule"] else ""
        paper.line(f"{arrow}{link['label']} is {state} since {clock(link['wall'])}: {cause(link)}{rule}")


def result(paper: Paper, found: Data) -> None:
    """What became of one service that a verb touched."""
    text = {
        "done": found["state"] + " (frozen)" * (found["detail"] == "frozen"),
        "already": f"{found['state']} already",
        "kept": f"{found['state']}: {found['detail']} needs it",
        "not-running": "not running",
        "armed": f"{found['state']}; its timer is armed: {found['detail']}",
        "disarmed": f"{found['state']}; its timer is disarmed",
        "dependents": f"refused: {found['detail']} need it (--force stops them first)",
    }.get(found["result"], f"{found['state']}: {found['detail']}")
    degraded = f"   {found['degraded']} degraded: arjectl degradations {found['label']}" if found["degraded"] else ""
    paper.line(f"{paper.mark(found['state'])}{found['label']}: {escape(text)}{degraded}")
