"""What arjectl shows: the table, one service in detail, degradations, a causal chain, a doctor's report, a plan."""

from __future__ import annotations

from typing import Any

from arje.ctl.words import Paper, because, clock, duration, escape, size

Data = dict[str, Any]
_COLUMNS = ("PID", "SERVICE", "STATE", "SINCE", "READY", "RST", "ISO", "MEM", "DESCRIPTION")
_RIGHT = {"PID", "RST", "MEM"}


def table(paper: Paper, manager: Data, services: list[Data]) -> None:
    """The header and one line per service."""
    header(paper, manager)
    rows = [(service, _row(service)) for service in services]
    widths = [max(len(row[i]) for row in [_COLUMNS, *(row for _, row in rows)]) for i in range(len(_COLUMNS))]
    lead = "  " if paper.rich else ""
    paper.line((lead + _columns(_COLUMNS, widths)).rstrip())
    for service, row in rows:
        text = _columns(row, widths).rstrip()
        start = widths[0] + widths[1] + 4
        state = text[start : start + len(row[2])]
        text = text[:start] + paper.state(service["state"], state) + text[start + len(row[2]) :]
        paper.line(paper.mark(service["state"]) + text)


def header(paper: Paper, manager: Data) -> None:
    """The manager in one line."""
    counts = manager["counts"]
    order = ("running", "reloading", "starting", "waiting", "stopping", "backoff", "failed", "done", "stopped")
    parts = ", ".join(f"{counts[state]} {state}" for state in order if state in counts)
    total = sum(counts.values())
    paper.line(
        f"arje {manager['version']}  pid {manager['pid']}  {manager['state']}  up {duration(manager['uptime'])}   "
        f"{total} service{'s' * (total != 1)}{': ' + parts if parts else ''}   {manager['degraded']} degraded"
    )
    if manager["changed_on_disk"]:
        paper.line("The cards on disk have changed: arjectl plan shows what would change, arjectl apply takes them.")


def _columns(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(
        cell.rjust(width) if name in _RIGHT else cell.ljust(width)
        for name, cell, width in zip(_COLUMNS, cells, widths, strict=True)
    )


def _row(service: Data) -> tuple[str, ...]:
    state = service["state"]
    if state == "backoff" and service["backoff_in_s"] is not None:
        state = f"backoff {duration(service['backoff_in_s'] + 0.999)}"
    return (
        str(service["pid"] or "-"),
        service["label"],
        state,
        duration(service["since_s"]),
        {True: "yes", False: "no", None: "-"}[service["ready"]],
        str(service["restarts"]),
        _iso(service["isolation"]),
        size(service["memory"]),
        escape(_remark(service)),
    )


def _iso(isolation: Data) -> str:
    if not isolation["requested"]:
        return "-"
    return f"{isolation['granted']}/{isolation['requested']}{'!' * bool(isolation['degradations'])}"


def _remark(service: Data) -> str:
    """What the last column says: the description of a service that is well, the reason of one that is not."""
    if service["state"] == "waiting":
        return "needs " + ", ".join(service["waiting_for"]) if service["waiting_for"] else "about to start"
    if service["state"] in ("failed", "backoff"):
        failure = service["failure"] or {}
        reason = failure.get("reason", "")
        if reason == "isolation-refused":
            lost = [loss["feature"] for loss in service["isolation"]["degradations"] if loss["required"]]
            return f"{reason}: {', '.join(lost)}"
        return f"{reason}: {service['last_exit'] or failure.get('detail', '')}".strip(": ")
    if service["state"] == "stopped" and not service["enabled"] and not service["last_exit"]:
        return "disabled"
    if service["state"] == "stopped" and service["cause"]["who"] == "condition":
        return "skipped: " + str(service["cause"]["detail"])
    return str(service["description"])


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
        _losses(paper, isolation["degradations"], "  ")


def _losses(paper: Paper, losses: list[Data], lead: str) -> None:
    width = max(len(loss["feature"]) for loss in losses)
    for loss in losses:
        required = "  required" if loss["required"] else ""
        paper.line(
            f"{lead}{paper.paint('!', '33')} {loss['feature']:<{width}}  asked: {escape(loss['requested'])}   "
            f"got: {escape(loss['obtained'])}   {escape(because(loss))}{required}"
        )
        if loss["remedy"]:
            paper.line(f"{lead}  {'':<{width}}  remedy: {escape(loss['remedy'])}")


def detail(paper: Paper, service: Data) -> None:
    """One service, as much as a person wants to read."""
    description = f" - {escape(service['description'])}" if service["description"] else ""
    paper.line(f"{paper.mark(service['state'])}{service['label']}{description}")

    def field(name: str, text: str) -> None:
        paper.line(f"{name:>11}: {text}")

    field("Card", f"{service['card_file']}:{service['card_line']}")
    since = f"since {clock(service['since_wall'])}; {duration(service['since_s'])} ago"
    made = f"     (set-up {service['setup_ms']:.1f} ms)" if service["setup_ms"] is not None else ""
    field("State", f"{paper.state(service['state'])} {since}{made}")
    field("Cause", escape(_cause(service["cause"])))
    _failure(service, field)
    field("Restart", _restart(service))
    if service["pid"]:
        reaper = f", reaper {service['leader_pid']}" if service["leader_pid"] != service["pid"] else ""
        field("Main PID", f"{service['pid']} ({escape(' '.join(service['command']))}){reaper}")
    elif service["command"]:
        field("Command", escape(" ".join(service["command"])))
    isolation = service["isolation"]
    if isolation["requested"]:
        field("Isolation", f"{isolation['granted']} of {isolation['requested']} granted")
        for grant in isolation["grants"]:
            if grant["ok"]:
                paper.line(f"{'':13}+ {grant['feature']:<16} {escape(grant['granted'])}")
        if isolation["degradations"]:
            _losses(paper, isolation["degradations"], " " * 13)
    _processes(paper, service, field)
    if service["kill_method"]:
        field("Stopped by", service["kill_method"])
    needs = [f"{verb} {', '.join(service[verb])}" for verb in ("requires", "wants", "after", "before") if service[verb]]
    if needs:
        field("Deps", "; ".join(needs))
    for line in service["last_lines"]:
        log_line(paper, line)


def _cause(cause: Data) -> str:
    return f"{cause['who']}: {cause['detail']}" if cause["detail"] else str(cause["who"])


def _failure(service: Data, field: Any) -> None:
    failure = service["failure"]
    if not failure:
        return
    parts = [failure["reason"]]
    if failure["step"]:
        parts.append(f"at {failure['step']}")
    if failure["errno_name"]:
        parts.append(failure["errno_name"])
    field("Failure", escape(": ".join([" ".join(parts), failure["detail"]]) if failure["detail"] else " ".join(parts)))
    if failure["field"]:
        field("Card field", failure["field"])
    if failure["hint"]:
        field("Remedy", escape(failure["hint"]))
    field("Next", f"arjectl why {service['label']}; arjectl logs {service['label']}; arjectl start {service['label']}")


def _restart(service: Data) -> str:
    count = service["restarts"]
    text = f"{service['supervision']['restart']}; {count} restart{'s' * (count != 1)}"
    if service["last_exit"]:
        text += f", last: {service['last_exit']}"
    if service["backoff_in_s"] is not None:
        text += f"; again in {duration(service['backoff_in_s'] + 0.999)}"
    return text


def _processes(paper: Paper, service: Data, field: Any) -> None:
    if not service["processes"]:
        return
    tasks = f"  tasks {service['tasks']}" if service["tasks"] is not None else ""
    memory = f"  mem {size(service['memory'])}" if service["memory"] is not None else ""
    field("CGroup" if service["cgroup"] else "Processes", f"{service['cgroup']}{tasks}{memory}".strip())
    for line in _tree(service["processes"], rich=paper.rich):
        paper.line(" " * 13 + escape(line))


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


def log_line(paper: Paper, line: Data) -> None:
    """One line of a service's log."""
    who = f"{line['label']}[{line['pid']}]:" if line["pid"] else f"{line['label']}:"
    paper.line(f"{clock(line['wall'])} {paper.paint(who, '36')} {escape(line['text'])}")


def why(paper: Paper, chain: list[Data]) -> None:
    """A causal chain, nearest cause first, each link indented below what it caused."""
    for depth, link in enumerate(chain):
        arrow = ("  " * (depth - 1) + ("└ " if paper.rich else "` ")) if depth else ""
        state = paper.state(link["state"])
        paper.line(f"{arrow}{link['label']} is {state} since {clock(link['wall'])}: {escape(_cause(link))}")


def doctor(paper: Paper, features: list[Data]) -> None:
    """What this machine can isolate; what it cannot, why, and how to mend it."""
    width = max(len(found["feature"]) for found in features)
    for found in features:
        name = f"{found['feature']:<{width}}"
        if found["available"]:
            how = "with a user namespace" if found["needs_user"] else "yes"
            paper.line(f"{paper.paint('+', '32')} {name}  {how}")
        else:
            paper.line(f"{paper.paint('!', '33')} {name}  no: {escape(because(found))}")
            if found["remedy"]:
                paper.line(f"  {'':<{width}}  remedy: {escape(found['remedy'])}")


def plan(paper: Paper, found: Data) -> None:
    """What the cards on disk would change, and their problems."""
    for problem in found["problems"]:
        where = f"{problem['file']}:{problem['line']}" if problem["line"] else problem["file"]
        what = f"{problem['field']}: {problem['message']}" if problem["field"] else problem["message"]
        paper.line(escape(f"{where}: {what}" + (f" ({problem['remedy']})" if problem["remedy"] else "")))
    signs = {"add": ("+", "32"), "remove": ("-", "31"), "modify": ("~", "33")}
    for change in found["changes"]:
        sign, code = signs[change["change"]]
        fields = f" ({', '.join(change['fields'])})" if change["fields"] else ""
        feels = change["feels"] if change["feels"] != "nothing" else "no process is touched"
        paper.line(f"{paper.paint(sign, code)} {change['label']}{fields}: {feels}")
    if not found["changes"] and not found["problems"]:
        paper.line("The cards on disk are the ones in force.")


def result(paper: Paper, found: Data) -> None:
    """What became of one service that a verb touched."""
    text = {
        "done": found["state"],
        "already": f"{found['state']} already",
        "not-running": "not running",
        "dependents": f"refused: {found['detail']} need it (--force stops them first)",
    }.get(found["result"], f"{found['state']}: {found['detail']}")
    degraded = f"   {found['degraded']} degraded: arjectl degradations {found['label']}" if found["degraded"] else ""
    paper.line(f"{paper.mark(found['state'])}{found['label']}: {escape(text)}{degraded}")
