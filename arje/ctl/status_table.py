"""The table of ``arjectl status``: made column by column, which takes a thousand services a few milliseconds."""

from __future__ import annotations

from arje.ctl.exitcodes import Query
from arje.ctl.words import duration, escape, many, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

    Data = dict[str, Any]

COLUMNS: Final = ("PID", "SERVICE", "STATE", "SINCE", "READY", "RST", "ISO", "MEM", "DESCRIPTION")
_RIGHT: Final = frozenset({"PID", "RST", "MEM"})
_READY: Final = {True: "yes", False: "no", None: "-"}
_LEAST: Final = 12  # columns of a terminal that a description gets at least


def status(client: Client, args: Arguments, paper: Paper) -> int:
    """The table of services, or some in detail; 3 when one that was named is not up."""
    if not args.labels and not args.json:
        show(paper, client.call("Table"))
        return Query.TRUE
    services = client.call("List", labels=args.labels, full=bool(args.labels), look=bool(args.labels))["services"]
    if args.json:
        from arje.ctl.answers import in_json

        in_json(paper, {"manager": client.call("GetManager")["manager"], "services": services})
    else:
        from arje.ctl import detail

        for number, service in enumerate(services):
            if number:
                paper.line()
            detail.detail(paper, service)
    return Query.TRUE if not args.labels or all(service["up"] for service in services) else Query.NOT_RUNNING


def show(paper: Paper, answer: Data) -> None:
    """The header, one line per service, and below them what was asked for and not granted."""
    header(paper, answer["manager"])
    others = answer["others"]
    columns = _columns(answer["plain"])
    states: list[str] = list(answer["plain"]["state"])
    if others:
        from arje.ctl import render
    for place, service in zip(answer["places"], others, strict=True):
        states.insert(place, service["state"])
        for column, cell in zip(columns, render.cells(paper, service), strict=True):
            column.insert(place, cell)
    for line in lines(paper, columns, states):
        paper.line(line)
    if any(service["isolation"]["degradations"] for service in others):
        paper.line()
        render.degradations(paper, others)


def header(paper: Paper, manager: Data) -> None:
    """The manager in one line."""
    counts = manager["counts"]
    order = ("running", "reloading", "starting", "waiting", "stopping", "backoff", "failed", "done", "stopped")
    boot = manager.get("boot")
    booted = f"  booted in {boot['up_s']:.2f} s" if boot and boot["up_s"] is not None else ""
    parts = ", ".join(f"{counts[state]} {state}" for state in order if state in counts)
    paper.line(
        f"arje {manager['version']}  pid {manager['pid']}  {manager['state']}  up {duration(manager['uptime'])}{booted}   "
        f"{many(sum(counts.values()), 'service')}{': ' + parts if parts else ''}   {manager['degraded']} degraded"
    )
    if boot and boot["failed"]:
        paper.line(f"{many(len(boot['failed']), 'step')} of the boot failed: {', '.join(boot['failed'])}: arjectl boot")
    if problems := manager.get("problems"):
        paper.line(f"{many(problems, 'bad card')}: arjectl plan shows what is wrong with them.")
    if manager["changed_on_disk"]:
        paper.line("The cards on disk have changed: arjectl plan shows what would change, arjectl apply takes them.")


def _columns(plain: Data) -> list[list[str]]:
    """Return the cells of the plain services, a list for each column."""
    times = {whole: duration(whole) for whole in set(map(int, plain["since_s"]))}
    sizes = {count: size(count) for count in set(plain["memory"])}
    descriptions: list[str] = plain["description"]
    if not "".join(descriptions).isascii() or not "".join(descriptions).isprintable():
        descriptions = [escape(text) for text in descriptions]
    asleep = [state == "stopped" for state in plain["state"]]
    return [
        [str(pid) if pid else "-" for pid in plain["pid"]],
        plain["label"],
        plain["state"],
        ["-" if sleeps else times[int(since)] for sleeps, since in zip(asleep, plain["since_s"], strict=True)],
        [_READY[ready] for ready in plain["ready"]],
        [str(count) for count in plain["restarts"]],
        [f"{count}/{count}" if count else "-" for count in plain["requested"]],
        [sizes[count] for count in plain["memory"]],
        ["disabled" if sleeps else text for sleeps, text in zip(asleep, descriptions, strict=True)],
    ]


def lines(paper: Paper, columns: list[list[str]], states: list[str]) -> list[str]:
    """Return the names of the columns and a line per service; on a terminal cut where it ends, the description first."""
    widths = [max(len(name), max(map(len, column), default=0)) for name, column in zip(COLUMNS, columns, strict=True)]
    form = "  ".join(
        f"%{width}s" if name in _RIGHT else f"%-{width}s" for name, width in zip(COLUMNS[:-1], widths, strict=False)
    )
    form += "  %s"
    head = form % COLUMNS
    if not paper.rich:
        return [head.rstrip(), *(map(str.rstrip, map(form.__mod__, zip(*columns, strict=True))))]
    words = {text: text.ljust(widths[2]) for text in set(columns[2])}
    pairs = set(zip(states, columns[2], strict=True))
    if paper.colour:  # a word is painted, not the spaces behind it
        painted = {pair: paper.state(*pair) + words[pair[1]][len(pair[1]) :] for pair in pairs}
        columns[2] = [painted[pair] for pair in zip(states, columns[2], strict=True)]
    marks = {state: paper.mark(state) for state in set(states)}
    found = ["  " + head.rstrip()]
    found += [
        marks[state] + (form % row).rstrip() for state, row in zip(states, zip(*columns, strict=True), strict=True)
    ]
    return _cut(found, sum(widths[:-1]) + 2 * len(widths), paper)


def _cut(found: list[str], before: int, paper: Paper) -> list[str]:
    """Cut the lines to the terminal, unless that would leave nothing of the descriptions: then they may wrap."""
    width = paper.width
    if width is None or max(map(len, found)) <= width or width < before + _LEAST:
        return found
    from arje.ctl.screen import fit

    return [fit(line, width) for line in found]
