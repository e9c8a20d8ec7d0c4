"""What starts services: ``arjectl sockets``, ``arjectl paths``, and the lines of it in ``arjectl status X``."""

from __future__ import annotations

import json

from arje.ctl.words import duration, escape, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

    Data = dict[str, Any]


def show(client: Client, args: Arguments, paper: Paper) -> int:
    """Be one of the two verbs."""
    return (sockets if args.verb == "sockets" else paths)(client, args, paper)


def sockets(client: Client, args: Arguments, paper: Paper) -> int:
    """Show what is listened on: where, for whom, whether it is open, how many connections are served."""
    rows = [
        socket
        | {"service": service["label"], "state": service["state"], "activated": service["activated"]}
        | {"connections": _served(service, socket["listen"])}
        for service in client.call("List", labels=args.labels, full=True)["services"]
        for socket in service["sockets"]
    ]
    if args.json:
        paper.line(json.dumps(rows))
        return 0
    columns = ("LISTEN", "SERVICE", "STATE", "ACTIVATION", "CONNECTIONS")
    table(paper, columns, [_cells(row) for row in rows])
    return 0


def _served(service: Data, listen: str) -> int | None:
    if service["connected"] is None:
        return None
    return len([each for each in service["connections"] if each["listen"] == listen])


def _cells(row: Data) -> tuple[str, ...]:
    count = "-" if row["connections"] is None else str(row["connections"])
    state = f"listening ({row['state']})" if row["open"] else f"closed ({row['state']})"
    return row["listen"], row["service"], state, row["activated"], count


def paths(client: Client, args: Arguments, paper: Paper) -> int:
    """Show which paths start which services."""
    rows = [
        {"path": path, "service": service["label"], "state": service["state"], "watched": path in service["awaits"]}
        for service in client.call("List", labels=args.labels, full=True)["services"]
        for path in service["paths"]
    ]
    if args.json:
        paper.line(json.dumps(rows))
        return 0
    table(paper, ("PATH", "SERVICE", "STATE"), [_path_cells(row) for row in rows])
    return 0


def _path_cells(row: Data) -> tuple[str, ...]:
    return row["path"], row["service"], f"{'watched' if row['watched'] else 'not watched'} ({row['state']})"


def table(paper: Paper, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as what is in them."""
    lines = [columns, *([escape(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        paper.line("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def details(service: Data) -> Iterator[tuple[str, str]]:
    """Yield the lines of one service: a word and a text."""
    idle = f", stops after {duration(service['idle_timeout'])} without a connection" if service["idle_timeout"] else ""
    how = f"  ({service['activated']}{idle})"
    for socket in service["sockets"]:
        name = f" as {socket['name']}" if socket["name"] != service["label"] else ""
        yield "Listen", f"{socket['listen']}{name}{'' if socket['open'] else ', closed'}{how}"
        how = ""
    for path in service["paths"]:
        yield "Path", f"{path}{'' if path in service['awaits'] else '  (not watched now)'}"
    if (counts := service["connected"]) is not None:
        refused = f", {counts['refused']} refused" if counts["refused"] else ""
        failed = f", {counts['failed']} failed, last: {counts['last_failure']}" if counts["failed"] else ""
        served = f"{len(service['connections'])} of at most {counts['most']}"
        yield "Connections", f"{served}; {counts['accepted']} accepted{refused}{failed}"
    for each in service["connections"]:
        pid = f"pid {each['pid']}" if each["pid"] else "being started"
        yield f"#{each['number']}", f"{each['peer']} on {each['listen']}, {pid}, {duration(each['since_s'])}"
    if service["stored"]:
        told = ", ".join(f"{each['name']} ({each['what']})" for each in service["stored"])
        yield "Stored", f"{many(len(service['stored']), 'descriptor')}: {told}"
