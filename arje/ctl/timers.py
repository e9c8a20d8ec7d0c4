"""Timers: the table of ``arjectl timers``, and the lines about one in ``arjectl status X``."""

from __future__ import annotations

import json
import time

from arje.ctl.exitcodes import Query
from arje.ctl.words import clock, duration, escape, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.render import Data
    from arje.ctl.words import Paper

_COLUMNS = ("NEXT", "LEFT", "LAST", "PASSED", "SERVICE", "WHAT")


def timers(client: Client, args: Arguments, paper: Paper) -> int:
    """The verb: the timers of some services, or of all that have one."""
    services = client.call("List", labels=args.labels, full=False)["services"]
    timed = [service for service in services if service["timer"]]
    if args.json:
        paper.line(json.dumps({service["label"]: service["timer"] for service in timed}))
    else:
        table(paper, timed)
    return Query.TRUE


def table(paper: Paper, services: list[Data]) -> None:
    """One line per timed service, the next one first; who is not armed comes last."""
    if not services:
        paper.line("No service has a timer.")
        return
    services = sorted(
        services, key=lambda service: (service["timer"]["next_wall"] is None, service["timer"]["next_wall"])
    )
    rows = [_COLUMNS, *(_row(service) for service in services)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        paper.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(service: Data) -> tuple[str, ...]:
    timer = service["timer"]
    due = timer["next_wall"] is not None
    rest = "no time comes any more" if timer["armed"] else "not armed"
    return (
        _moment(timer["next_wall"]),
        duration(timer["next_in_s"] + 0.999) if due else "-",
        _moment(timer["last_wall"]),
        _passed(timer["last_wall"]),
        service["label"],
        escape(", ".join([timer["next_rule"] if due else rest, *_trouble(timer)])),
    )


def _trouble(timer: Data) -> Iterator[str]:
    if timer["queued"]:
        yield "a run waits for the end of the last one"
    if timer["skipped"]:
        yield f"{timer['skipped']} skipped"
    if timer["problem"]:
        yield timer["problem"]


def lines(timer: Data) -> Iterator[str]:
    """Yield what there is to say of one timer: when it is due, what has been, what was skipped, what the card says."""
    if not timer["armed"]:
        yield "not armed"
    elif timer["next_wall"] is None:
        yield f"armed by {timer['armed_by']}; no time comes any more"
    else:
        left = duration(timer["next_in_s"] + 0.999)
        yield f"armed by {timer['armed_by']}; next {_moment(timer['next_wall'])} (in {left}), {timer['next_rule']}"
    if timer["last_wall"] is not None:
        last = f"{_moment(timer['last_wall'])} ({_passed(timer['last_wall'])} ago), {timer['last_rule']}"
        yield f"{many(timer['runs'], 'run')}, the last {last}"
    if timer["queued"]:
        yield "a run waits for the end of the last one"
    if timer["skipped"]:
        yield f"{timer['skipped']} skipped, the last {clock(timer['skip_wall'])}: {timer['skip_reason']}"
    if timer["problem"]:
        yield f"! {timer['problem']}"
    yield from timer["rules"]


def _moment(wall: float | None) -> str:
    return "-" if wall is None else time.strftime("%a %Y-%m-%d %H:%M:%S", time.localtime(wall))


def _passed(wall: float | None) -> str:
    return "-" if wall is None else duration(max(0.0, time.time() - wall))
