"""What ``arjectl top`` and ``watch`` show: rows made of two looks at the services, and a page of them. Pure."""

from __future__ import annotations

from arje.ctl import render
from arje.ctl.words import clock, duration, escape, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from arje.ctl.words import Paper

    Data = dict[str, Any]

#: Key → column: what to sort by.
SORTS: Final = {"c": "CPU", "m": "MEM", "p": "PRC", "r": "RST", "i": "ISO", "s": "STATE", "t": "SINCE", "n": "SERVICE"}
COLUMNS: Final = ("SERVICE", "STATE", "CPU", "MEM", "PRC", "RST", "ISO", "SINCE", "DESCRIPTION")
_RIGHT: Final = frozenset({"CPU", "MEM", "PRC", "RST", "SINCE"})
#: Who needs a person comes first.
_GRAVITY: Final = ("failed", "backoff", "stopping", "starting", "waiting", "reloading", "running", "done", "stopped")
HELP: Final = "q quit   arrows select   c m p r i s t n sort   l log   e events   h help"


class Row:
    """A service at one look: ``cpu`` is how much of one processor it has used since the look before, None when unknown."""

    def __init__(self, service: Data, figures: Data | None, before: Data | None) -> None:
        self.label: str = service["label"]
        self.state: str = service["state"]
        self.service = service
        self.memory: int | None = figures["memory"] if figures else None
        self.processes: int = figures["processes"] if figures else 0
        self.cpu_s: float | None = figures["cpu_s"] if figures else None
        self.cpu: float | None = None
        if figures and before and self.cpu_s is not None and before["cpu_s"] is not None:
            passed = figures["at"] - before["at"]
            if passed > 0 and self.cpu_s >= before["cpu_s"]:  # a new life counts from zero
                self.cpu = (self.cpu_s - before["cpu_s"]) / passed

    def cells(self, paper: Paper) -> tuple[str, ...]:
        """The columns as text; without a look before, the processor time of the whole life stands for its share."""
        used = "-" if self.cpu_s is None else f"{self.cpu_s:.2f}s"
        service = self.service
        return (
            self.label,
            self.state + " (frozen)" * service["frozen"],
            used if self.cpu is None else f"{self.cpu * 100:.1f}%",
            size(self.memory),
            str(self.processes or "-"),
            str(service["restarts"]),
            render.iso(service["isolation"]),
            duration(service["since_s"]),
            escape(render.remark(paper, service)),
        )

    def rank(self, column: str) -> tuple[float, str]:
        """What it is sorted by in a column, the largest first, then by name."""
        isolation = self.service["isolation"]
        number = {
            "CPU": self.cpu if self.cpu is not None else (self.cpu_s or 0.0) / 1e9,  # a share comes before a sum
            "MEM": self.memory or 0,
            "PRC": self.processes,
            "RST": self.service["restarts"],
            "ISO": len(isolation["degradations"]),
            "STATE": -_GRAVITY.index(self.state) if self.state in _GRAVITY else 0,
            "SINCE": -self.service["since_s"],
            "SERVICE": 0,
        }[column]
        return -float(number), self.label


def rows(services: list[Data], figures: list[Data], before: list[Data], column: str) -> list[Row]:
    """Return a row for each service, sorted."""
    now = {each["label"]: each for each in figures}
    then = {each["label"]: each for each in before}
    found = [Row(each, now.get(each["label"]), then.get(each["label"])) for each in services]
    return sorted(found, key=lambda row: row.rank(column))


class View:
    """What of the rows is seen: the column they are sorted by, which is chosen, which pane stands below them."""

    def __init__(self, sort: str, pane: str) -> None:
        self.sort = sort
        self.pane = pane
        self.chosen = ""
        self.top = 0
        self.help = False

    def key(self, key: str, shown: list[Row], page: int) -> bool:
        """Take a key; return whether to go on."""
        if key in ("q", "escape"):
            return False
        labels = [row.label for row in shown]
        place = labels.index(self.chosen) if self.chosen in labels else 0
        moves = {
            "up": -1,
            "down": 1,
            "k": -1,
            "j": 1,
            "page-up": -page,
            "page-down": page,
            "home": -(10**6),
            "end": 10**6,
        }
        if key in moves and labels:
            self.chosen = labels[min(max(place + moves[key], 0), len(labels) - 1)]
        elif key in SORTS:
            self.sort = SORTS[key]
        elif key in ("l", "e"):
            pane = {"l": "log", "e": "events"}[key]
            self.pane = "" if self.pane == pane else pane
        elif key in ("h", "?"):
            self.help = not self.help
        return True

    def room(self, height: int, count: int) -> tuple[int, int]:
        """Return how many rows and how many lines of the pane there is room for."""
        left = max(height - 3, 1)  # the manager, the names of the columns, the keys
        pane = min(max(left // 3, 3), left - 1) if self.pane and left > 5 else 0
        return min(left - pane, count), left - min(left - pane, count) if pane else 0


def page(paper: Paper, manager: Data, shown: list[Row], view: View, pane: list[str], height: int) -> list[str]:
    """Return the lines of the whole screen."""
    count, below = view.room(height, len(shown))
    labels = [row.label for row in shown]
    place = labels.index(view.chosen) if view.chosen in labels else 0
    view.top = min(max(view.top, place - count + 1), place, max(len(shown) - count, 0))
    lines = [*_head(paper, manager, len(shown)), *table(paper, shown[view.top : view.top + count], view)]
    if below:
        title = {"log": f"log of {view.chosen or 'nobody'}", "events": "events"}[view.pane]
        more = f"   {view.top + count} of {len(shown)}" if len(shown) > count else ""
        lines.append(paper.paint(f"-- {title} --{more}", "36"))
        lines += pane[-(below - 1) :] if below > 1 else []
    lines += [""] * (height - 1 - len(lines))
    return [*lines[: height - 1], paper.paint(HELP if view.help or not below else "h help   q quit", "2")]


def _head(paper: Paper, manager: Data, count: int) -> list[str]:
    found = manager["counts"]
    parts = "  ".join(f"{found[state]} {state}" for state in _GRAVITY if state in found)
    up = duration(manager["uptime"])
    return [f"arje {manager['version']}  {manager['state']}  up {up}  {clock(manager['now'])}  {parts}"]


def table(paper: Paper, shown: list[Row], view: View | None) -> list[str]:
    """Return the names of the columns, and a line for each row; the chosen one stands out, by more than its colour."""
    cells = [row.cells(paper) for row in shown]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    sort = view.sort if view else ""
    head = _columns([f"{name}*" if name == sort and name in _RIGHT else name for name in COLUMNS], widths)
    lines = [(" " * (2 * bool(view)) + "  " * paper.rich + paper.paint(head, "1")).rstrip()]
    for row, words in zip(shown, cells, strict=True):
        chosen = view is not None and row.label == view.chosen
        text = _columns(words, widths).rstrip()
        start = widths[0] + 2
        state = text[start : start + len(words[1])]
        painted = text[:start] + paper.state(row.state, state) + text[start + len(words[1]) :]
        mark = ("> " if chosen else "  ") if view else ""
        lines.append(mark + paper.mark(row.state) + (paper.paint(text, "7") if chosen else painted))
    return lines


def _columns(cells: tuple[str, ...] | list[str], widths: list[int]) -> str:
    return "  ".join(
        cell.rjust(width) if name in _RIGHT else cell.ljust(width)
        for name, cell, width in zip(COLUMNS, cells, widths, strict=True)
    )
