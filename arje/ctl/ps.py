"""``arjectl ps``: the processes of services, and what each of them uses."""

from __future__ import annotations

import json

from arje.ctl.exitcodes import Query
from arje.ctl.words import duration, escape, many, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

    Data = dict[str, Any]

_HEAD = f"{'PID':>7}  {'USER':<8}  S  {'THR':>3}  {'MEM':>5}  {'CPU':>7}  COMMAND"


def ps(client: Client, args: Arguments, paper: Paper) -> int:
    """Show the processes of services, a tree for each service that has some."""
    services = client.call("Processes", labels=args.labels)["services"]
    if args.json:
        paper.line(json.dumps(services))
        return Query.TRUE
    paper.line(_HEAD)
    for service in services:
        if service["processes"] or args.labels:
            _service(paper, service)
    return Query.TRUE


def _service(paper: Paper, service: Data) -> None:
    told = [paper.state(service["state"])]
    if service["usage"]:
        told.append(used(service["usage"]))
    paper.line(f"{paper.mark(service['state'])}{service['label']}: {'  '.join(filter(None, told))}")
    for process, lead in _tree(service["processes"]):
        user = process["user"][:8]
        paper.line(
            f"{process['pid']:>7}  {user:<8}  {process['state']}  {process['threads']:>3}  {size(process['memory']):>5}  "
            f"{seconds(process['cpu_s']):>7}  {lead}{escape(process['command'])}"
        )


def _tree(processes: list[Data]) -> Iterator[tuple[Data, str]]:
    """Yield the processes, each below its parent and indented by how deep it is."""
    known = {process["pid"] for process in processes}
    children: dict[int, list[Data]] = {}
    for process in processes:
        children.setdefault(process["ppid"] if process["ppid"] in known else 0, []).append(process)
    waiting = [(process, 0) for process in reversed(children.get(0, []))]
    while waiting:
        process, depth = waiting.pop()
        yield process, "  " * depth
        waiting += [(child, depth + 1) for child in reversed(children.get(process["pid"], []))]


def seconds(count: float) -> str:
    """Return processor time: ``0.42s``, ``12.3s``, ``3m 20s``."""
    return f"{count:.2f}s" if count < 10 else f"{count:.1f}s" if count < 60 else duration(count)


def used(figures: Data) -> str:
    """Return what is used in one line, and which of it is a sum over processes or only what the kernel tells at the end."""
    told: list[str] = []
    if figures["tasks"] is not None:
        told.append(f"tasks {figures['tasks']}")
    if figures["memory"] is not None or figures["memory_peak"] is not None:
        peak = f" peak {size(figures['memory_peak'])}" if figures["memory_peak"] is not None else ""
        now = f" {size(figures['memory'])}" if figures["memory"] is not None else ""
        told.append(f"mem{now}{peak}")
    if figures["swap"]:
        told.append(f"swap {size(figures['swap'])}")
    if figures["cpu_user"] is not None:
        told.append(f"cpu {seconds(figures['cpu_user'])} user {seconds(figures['cpu_system'] or 0.0)} system")
    for name, (one, other) in {"io": ("io_read", "io_write"), "net": ("net_received", "net_sent")}.items():
        if figures[one] is not None:
            words = ("read", "written") if name == "io" else ("received", "sent")
            told.append(f"{name} {size(figures[one])} {words[0]} {size(figures[other])} {words[1]}")
    if figures["oom_kills"]:
        told.append(many(figures["oom_kills"], "OOM kill"))
    return "  ".join(told) + _sources(figures["sources"])


def _sources(sources: dict[str, str]) -> str:
    """Say of which figures the cgroup does not know; those of a network are nobody else's."""
    ways = {"proc": "summed over processes", "rusage": "of the main process and those it waited for"}
    words = {
        "memory": "mem",
        "memory_peak": "mem",
        "cpu_user": "cpu",
        "io_read": "io",
        "tasks": "tasks",
        "swap": "swap",
    }
    told = []
    for source, way in ways.items():
        names = dict.fromkeys(words[name] for name, found in sources.items() if found == source and name in words)
        if names:
            told.append(f"{', '.join(names)} {way}")
    return f"  ({'; '.join(told)})" if told else ""
