"""``arjectl analyze``: where the time of the manager's start, or of the latest apply, went.

Every time is the manager's own monotonic clock; nothing is guessed from log lines. *Own* is what a service took itself,
from the moment when nothing was in its way to ready; *waited* is what it waited for others before.
"""

from __future__ import annotations

from arje.ctl.answers import in_json
from arje.ctl.words import clock, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

    Start = dict[str, Any]


def analyze(client: Client, args: Arguments, paper: Paper) -> int:
    """Show who took how long, the chain that the end waited for, or all of it as a picture."""
    from arje.ctl.arguments import UsageError

    what, *labels = args.labels
    if labels:
        labels = [service["label"] for service in client.call("List", labels=labels)["services"]]
    found = client.call("Analyze", apply=args.apply)
    if found["span"] is None:
        paper.line("null") if args.json else paper.line("No cards have been applied since the manager's start.")
        return 1
    if args.json:
        in_json(paper, found)
    elif what == "blame":
        blame(paper, found)
    elif what == "critical-chain":
        unknown = set(labels) - {start["label"] for start in found["starts"]}
        if unknown:
            raise UsageError(f"{', '.join(sorted(unknown))}: not started then; arjectl analyze blame tells who was")
        critical(paper, found, labels)
    else:
        from arje.ctl import analyze_svg

        for line in analyze_svg.svg(found).splitlines():
            paper.line(line)
    return 0


def head(found: dict[str, Any]) -> str:
    """Return one line about the whole: what it was, when, how long, and whether all is over."""
    span, starts = found["span"], found["starts"]
    ends = [start["ended_s"] for start in starts if start["ended_s"] is not None]
    what = "The manager started" if span["what"] == "start" else "Cards were applied"
    own = f", after {ms(span['loading_s'])} of its own" if span["loading_s"] is not None else ""
    took = f"; the last of {many(len(starts), 'service')} was there after {ms(max(ends))}" if ends else ""
    left = len(starts) - len(ends)
    return f"{what} at {clock(span['wall'])}{own}{took}" + (f", {left} still on the way." if left else ".")


def ms(seconds: float) -> str:
    """Return a short length of time: ``0.8ms``, ``182ms``, ``2.41s``, ``1min 04s``."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.2f}s" if seconds < 60 else f"{int(seconds) // 60}min {int(seconds) % 60:02d}s"


def own(start: Start) -> float | None:
    """Return the seconds that a service took itself; None while it is on the way."""
    if start["began_s"] is None or start["ended_s"] is None:
        return None
    return max(0.0, float(start["ended_s"] - start["began_s"]))


def blame(paper: Paper, found: dict[str, Any]) -> None:
    """Who took longest itself comes first."""
    from arje.ctl.sockets import table

    paper.line(head(found))
    rows: list[tuple[str, ...]] = []
    for start in sorted(found["starts"], key=lambda start: -(own(start) or 0.0)):
        took, setup = own(start), start["setup_ms"]
        waited = (start["began_s"] if start["began_s"] is not None else found["span"]["passed_s"]) - start["wanted_s"]
        rows.append(
            (
                "-" if took is None else ms(took),
                ms(max(0.0, waited)),
                "-" if setup is None else ms(setup / 1000),
                start["became"],
                start["label"],
                ", ".join(f"{wait['kind']} {wait['label']}" for wait in start["waited_for"][-1:]),
            )
        )
    table(paper, ("OWN", "WAITED", "SET-UP", "BECAME", "SERVICE", "LAST WAITED FOR"), rows)


def chain(found: dict[str, Any], label: str) -> list[Start]:
    """Return a start, whom it waited for last, whom that waited for last, and so on to one that waited for nobody."""
    known = {start["label"]: start for start in found["starts"]}
    links = [known[label]]
    while waits := links[-1]["waited_for"]:
        last = known.get(waits[-1]["label"])
        if last is None or last in links:
            break
        links.append(last)
    return links


def critical(paper: Paper, found: dict[str, Any], labels: list[str]) -> None:
    """The chain that each of these ends waited for; of the last one when none is named."""
    paper.line(head(found))
    over = [start for start in found["starts"] if start["ended_s"] is not None]
    ends = labels or [start["label"] for start in over[-1:]]
    if not ends:
        paper.line("Nothing has come up yet.")
    paper.line("@ when it was there, + what it took itself, by the field of the card for which it was waited")
    for label in ends:
        paper.line()
        links = chain(found, label)
        for depth, start in enumerate(links):
            lead = ("  " * (depth - 1) + ("└ " if paper.rich else "` ")) if depth else ""
            kind = ""
            if depth:
                waits = links[depth - 1]["waited_for"]
                kind = next(f"{wait['kind']} " for wait in waits if wait["label"] == start["label"])
            there = "" if start["ended_s"] is None else f" @{ms(start['ended_s'])}"
            took = own(start)
            paper.line(
                f"{lead}{kind}{start['label']}{there}{'' if took is None else f' +{ms(took)}'} ({start['became']})"
            )
