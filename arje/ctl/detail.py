"""One service, as much as a person wants to read: ``arjectl status X``."""

from __future__ import annotations

from arje.ctl.log_verbs import show
from arje.ctl.ps import used
from arje.ctl.render import cause, losses, reason, waits
from arje.ctl.words import clock, duration, escape, many, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from arje.ctl.render import Data
    from arje.ctl.words import Paper

_INDENT = " " * 13


def detail(paper: Paper, service: Data) -> None:
    """Write everything that there is to say; what does not apply has no line."""
    description = f" - {escape(service['description'])}" if service["description"] else ""
    paper.line(f"{paper.mark(service['state'])}{service['label']}{description}")
    _field(paper, "Card", _card(service))
    for number, dropin in enumerate(service["card_dropins"]):
        _field(paper, "" if number else "Drop-ins", escape(dropin))
    _field(paper, "State", _state(paper, service))
    if service["masked"]:
        _field(paper, "Masked", escape(f"{service['masked']} (arjectl unmask {service['label']})"))
    if service["pinned"]:
        _field(paper, "Pinned", f"{service['pinned']} (arjectl unpin {service['label']})")
    if service["activation"]:
        _field(paper, "Activation", "; ".join(_wish(wish, service["label"]) for wish in service["activation"]))
    if service["doing"]:
        _field(paper, "Doing", escape(service["doing"]))
    if service["status_text"]:
        _field(paper, "Status", escape(service["status_text"]))
    if service["state"] == "waiting":
        _field(paper, "Waiting", escape(waits(paper, service)) or "about to start")
    if service["timer"]:
        from arje.ctl import timers

        for line in timers.lines(service["timer"]):
            _field(paper, "Timer", escape(line))
    _failure(paper, service)
    _field(paper, "Restart", escape(_restart(service)))
    if service["budget"]:
        _field(paper, "Budget", escape(f"{service['budget']}{_then(service['supervision']['budget'])}"))
    if service["memory_watch"]:
        _field(paper, "Memory", escape(service["memory_watch"]))
    if service["setup_steps"]:
        _field(paper, "Set-up", _setup(service))
    _main(paper, service)
    _isolation(paper, service)
    _processes(paper, service)
    _usage(paper, service)
    if any(service[name] for name in ("sockets", "paths", "connections", "stored")):
        from arje.ctl import sockets

        for name, text in sockets.details(service):
            _field(paper, name, escape(text))
    if service["kill_method"]:
        _field(paper, "Stopped by", service["kill_method"])
    if deps := "; ".join(_dependencies(paper, service)):
        _field(paper, "Deps", deps)
    if service["tests"]:
        _field(paper, "Conditions", escape("; ".join(service["tests"])))
    if service["live_conditions"]:
        _field(paper, "", escape(f"live: {service['live_conditions']}"))
    for told in service["broken_edges"]:
        _field(paper, "Order", escape(told))
    _log(paper, service)
    for line in service["last_lines"]:
        show(paper, line, "short")


def _field(paper: Paper, name: str, text: str) -> None:
    paper.line(f"{name:>11}: {text}".rstrip())


def _card(service: Data) -> str:
    where = escape(f"{service['card_file']}:{service['card_line']}")
    if service["card_on_disk"] == "same":
        return where
    return f"{where}  ({service['card_on_disk']} since loaded: arjectl plan {service['label']})"


def _state(paper: Paper, service: Data) -> str:
    text = f"{paper.state(service['state'])} since {clock(service['since_wall'])}; {duration(service['since_s'])} ago"
    if service["frozen"]:
        text = f"{paper.state(service['state'])} (frozen){text.removeprefix(paper.state(service['state']))}"
    if service["backoff_in_s"] is not None:
        text += f"; next start in {duration(service['backoff_in_s'] + 0.999)}"
    times = []
    if service["ready_ms"] is not None:
        times.append(f"ready after {_ms(service['ready_ms'])}")
    if service["setup_ms"] is not None:
        times.append(f"set-up {_ms(service['setup_ms'])}")
    if times:
        text += f"     ({'; '.join(times)})"
    if service["state"] not in ("running", "waiting", "failed"):
        text += f"     {cause(service['cause'])}"
    return text


def _setup(service: Data) -> str:
    """The steps of the start, each with its time."""
    steps = ", ".join(f"{entry['step']} {entry['ms']:.2f}" for entry in service["setup_steps"])
    return f"{_ms(service['setup_ms'])}: {steps}"


def _ms(count: float) -> str:
    return f"{count:.0f} ms" if count >= 10 else f"{count:.1f} ms"


def _wish(wish: Data, label: str) -> str:
    """One link of the chain; the links after the first speak of other services."""
    subject = f"{wish['label']} is " if wish["label"] != label else ""
    if wish["how"] == "needed":
        return escape(f"{subject}needed by {wish['who']}")
    if wish["how"] == "due":
        return f"{subject}started by its timer, {clock(wish['wall'])}"
    if wish["how"] == "enabled":
        return f"{subject}enabled in cards.d"
    return escape(f"{subject}explicitly {wish['how']} by {wish['who']}, {clock(wish['wall'])}")


def _failure(paper: Paper, service: Data) -> None:
    failure, label = service["failure"], service["label"]
    if not failure:
        return
    _field(paper, "Failure", escape(reason(service)))
    if failure["field"]:
        place = f" ({failure['file']}:{failure['line']})" if failure["line"] else ""
        _field(paper, "Card field", escape(f"{failure['field']}{place}"))
    if failure["hint"]:
        _field(paper, "Remedy", escape(failure["hint"]))
    mend = "mend the card, then arjectl apply; " if failure["field"] else ""
    look = f"arjectl doctor; arjectl plan {label}; " if failure["reason"] == "isolation-refused" else ""
    logs = f"arjectl logs {label}; " if service["last_lines"] else ""
    _field(paper, "Next", f"{mend}{look}arjectl why {label}; {logs}arjectl start {label}")


def _restart(service: Data) -> str:
    kept = service["supervision"]
    kind = f"{kept['kind']}, " if kept["kind"] != "daemon" else ""
    kind += "its end is arje's, " if kept["ends_arje"] else ""
    rate = kept["rate_limit"]
    limit = (
        f" (limit {rate['starts']} in {duration(rate['interval'])}{_then(rate)})" if rate["action"] != "none" else ""
    )
    text = f"{kind}{kept['restart']}; {many(service['restarts'], 'restart')}{limit}"
    if service["last_exit"]:
        text += f", last: {service['last_exit']}"
        if service["last_exit_wall"] is not None:
            text += f" at {clock(service['last_exit_wall'])}"
    if service["backoff_step"]:
        steps = service["backoff_steps"]
        text += f"; backoff step {service['backoff_step']}{f' of {steps}' if service['backoff_step'] <= steps else ''}"
        if service["decays_in_s"] is not None:
            text += f", decays in {duration(service['decays_in_s'] + 0.999)}"
    return text


def _then(limit: Data) -> str:
    return f"; when it is hit: {limit['action']}" if limit["action"] != "none" else ""


def _main(paper: Paper, service: Data) -> None:
    main = service["main"]
    if main:
        reaper = f", reaper {service['leader_pid']}" if service["leader_pid"] != service["pid"] else ""
        _field(
            paper, "Main PID", escape(f"{main['pid']} ({main['name']}), user {main['user']}:{main['group']}{reaper}")
        )
    if service["command"]:
        _field(paper, "Command", escape(" ".join(service["command"])))


def _isolation(paper: Paper, service: Data) -> None:
    isolation = service["isolation"]
    if not isolation["requested"]:
        return
    _field(paper, "Isolation", f"{isolation['granted']} of {isolation['requested']} granted")
    for grant in isolation["grants"]:
        if grant["ok"]:
            paper.line(f"{_INDENT}{paper.paint('+', '32')} {grant['feature']:<16} {escape(grant['granted'])}")
    if isolation["degradations"]:
        losses(paper, isolation["degradations"], _INDENT)


def _processes(paper: Paper, service: Data) -> None:
    if not service["processes"]:
        return
    parts = [escape(service["cgroup"])]
    if service["tasks"] is not None:
        limit = f" (limit {service['tasks_limit']})" if service["tasks_limit"] is not None else ""
        parts.append(f"tasks {service['tasks']}{limit}")
    if service["memory"] is not None:
        parts.append(f"mem {size(service['memory'])}")
    if service["cpu_s"] is not None:
        parts.append(f"cpu {service['cpu_s']:.1f}s" if service["cpu_s"] < 60 else f"cpu {duration(service['cpu_s'])}")
    _field(paper, "CGroup" if service["cgroup"] else "Processes", "  ".join(filter(None, parts)))
    for line in _tree(service["processes"], rich=paper.rich):
        paper.line(_INDENT + escape(line))


def _usage(paper: Paper, service: Data) -> None:
    """What it uses now, and what the latest life that has ended had used."""
    for name, figures in (("Usage", service["usage"]), ("Last life", service["last_usage"])):
        if figures and (told := used(figures)):
            _field(paper, name, told)


def _log(paper: Paper, service: Data) -> None:
    """Who reads what it says, and what was lost of its log, by reason."""
    if pipe := service["piped_to"]:
        reader = (
            paper.beside(pipe["label"], pipe["state"])
            if pipe["state"]
            else f"{escape(pipe['label'])} (no such service)"
        )
        held = f"; {size(pipe['waiting'])} in the pipe wait to be read" if pipe["waiting"] else ""
        _field(paper, "Log", f"stdout goes to {reader}{held}")
    if lost := ", ".join(f"{many(count, 'line')} ({reason})" for reason, count in service["log_dropped"].items()):
        _field(paper, "Log", f"dropped: {lost}")


def _tree(processes: list[Data], *, rich: bool) -> list[str]:
    known = {process["pid"] for process in processes}
    tee, last, bar = ("├─", "└─", "│ ") if rich else ("|-", "`-", "| ")
    lines: list[str] = []

    def walk(parent: int | None, lead: str) -> None:
        if parent is None:
            children = [p for p in processes if p["ppid"] not in known]
        else:
            children = [p for p in processes if p["ppid"] == parent]
        for child in children:
            final = child is children[-1]
            lines.append(f"{lead}{last if final else tee}{child['pid']} {child['command']}")
            walk(child["pid"], lead + ("  " if final else bar))

    walk(None, "")
    return lines


def _dependencies(paper: Paper, service: Data) -> Iterator[str]:
    """Yield the edges kind by kind, each name with the state of the service that it means."""
    words = {"requires": "needs", "contracts": "needs", "requisite": "needs running", "waits_for": "waits for"}
    words["log.to"] = "writes to"
    kinds = dict.fromkeys(edge["kind"] for edge in service["dependencies"])
    for kind, word in {kind: words.get(kind, kind.replace("_", " ")) for kind in kinds}.items():
        edges = [edge for edge in service["dependencies"] if edge["kind"] == kind]
        if kind == "contracts":
            yield from (f"{word} {contract}" for contract in _contracts(paper, edges))
        elif edges:
            yield f"{word} {', '.join(_edge(paper, edge) for edge in edges)}"
    if service["needed_by"]:
        yield f"needed by {', '.join(service['needed_by'])}"


def _contracts(paper: Paper, edges: list[Data]) -> Iterator[str]:
    """Yield each contract with all who count for it."""
    for name in dict.fromkeys(edge["name"] for edge in edges):
        counted = [edge for edge in edges if edge["name"] == name and edge["label"] is not None]
        yield f"{escape(name)}: {', '.join(paper.beside(edge['label'], edge['state']) for edge in counted) or 'none'}"


def _edge(paper: Paper, edge: Data) -> str:
    if edge["label"] is None:
        return f"{escape(edge['name'])} (no such service)"
    name = edge["name"] if edge["name"] == edge["label"] else f"{edge['name']} = {edge['label']}"
    terms = f" [{escape(edge['terms'])}]" if edge["terms"] else ""
    return f"{paper.beside(name, edge['state'])}{terms}"
