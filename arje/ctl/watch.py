"""``arjectl top`` and ``watch``: the page of top.py, drawn anew on each event, and every few seconds for the figures.

Nobody else pays for it: the manager reads the figures when they are asked for, and tells events and lines as they come.
"""

from __future__ import annotations

import select
import sys
import time

from arje.ctl import top
from arje.ctl.answers import in_json
from arje.ctl.client import CallError, Client
from arje.ctl.words import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.words import Paper

    Data = dict[str, Any]

_KEPT: Final = 200  # lines of a pane
_CALM: Final = 0.2  # seconds between two drawings: a storm of events is not drawn one by one


def show(client: Client, args: Arguments, paper: Paper) -> int:
    """Be one of the two verbs: on a terminal until q, else one plain table."""
    sort, pane = ("CPU", "log") if args.verb == "top" else ("STATE", "events")
    if args.json or not paper.rich or not sys.stdin.isatty():
        return _once(client, args, paper, sort)
    with Watch(client, args.labels, args.delay, top.View(sort, pane), paper) as watch:
        try:
            watch.run()
        except KeyboardInterrupt:  # as good an end as q
            return 0
    return 0


def _once(client: Client, args: Arguments, paper: Paper, sort: str) -> int:
    services = client.call("List", labels=args.labels)["services"]
    figures = client.call("Figures", labels=args.labels)["figures"]
    if args.json:
        in_json(paper, figures)
        return 0
    for line in top.table(paper, top.rows(services, figures, [], sort), None):
        paper.line(line)
    return 0


class Watch:
    """The screen, and the connections that tell when to look again: events of all services, lines of the chosen one."""

    def __init__(self, client: Client, labels: list[str], delay: float, view: top.View, paper: Paper) -> None:
        self._client = client
        self._labels = labels
        self._delay = max(delay, _CALM)
        self._view = view
        self._paper = paper
        self._events = Client(client.path)
        self._log: Client | None = None
        self._log_of = ""
        self._lines: dict[str, list[str]] = {"events": [], "log": []}
        self._rows: list[top.Row] = []
        self._services: list[Data] = []
        self._figures: tuple[list[Data], list[Data]] = ([], [])
        self._manager: Data = {}

    def __enter__(self) -> Watch:
        from arje.ctl.screen import Screen

        self._screen = Screen()
        self._events.begin("Monitor", labels=self._labels, lines=_KEPT // 4)
        self._look()
        self._screen.__enter__()
        return self

    def __exit__(self, *why: Any) -> None:
        self._screen.__exit__(*why)
        self._events.close()
        if self._log is not None:
            self._log.close()

    def run(self) -> None:
        """Draw, wait for a key, an event, a line or the time, and so on until q."""
        from arje.ctl.screen import read_keys

        due, drawn = time.monotonic() + self._delay, 0.0
        stale = False
        while True:
            now = time.monotonic()
            if now >= due or (stale and now - drawn >= _CALM):
                self._look(figures=now >= due)
                due = now + self._delay if now >= due else due
                stale = False
            self._draw()
            drawn = time.monotonic()
            wait = max(0.0, min(due, drawn + _CALM if stale else due) - drawn)
            heard: list[Any] = [0, self._events, *([self._log] if self._log else [])]
            ready = select.select(heard, [], [], wait)[0]
            if 0 in ready and not all(self._key(key) for key in read_keys()):
                return
            if self._events in ready:
                stale = self._hear(self._events, "events") or stale
            if self._log is not None and self._log in ready:
                self._hear(self._log, "log")

    def _key(self, key: str) -> bool:
        page = self._view.room(self._screen.size[1], len(self._rows))[0]
        go_on = self._view.key(key, self._rows, page)
        self._rows.sort(key=lambda row: row.rank(self._view.sort))
        self._follow()
        return go_on

    def _look(self, *, figures: bool = True) -> None:
        """Ask for the services again, and for what they use. A pattern that nobody matches any more shows nobody."""
        try:
            self._services = self._client.call("List", labels=self._labels)["services"]
            if figures:
                found = self._client.call("Figures", labels=self._labels)["figures"]
                self._figures = (self._figures[1] or found, found)
        except CallError as error:
            if error.name != "NoSuchService" or not self._manager:
                raise
            self._services = []
        self._manager = self._client.call("GetManager")["manager"] | {"now": time.time()}
        before, now = self._figures
        self._rows = top.rows(self._services, now, before, self._view.sort)
        if not self._view.chosen and self._rows:
            self._view.chosen = self._rows[0].label
        self._follow()

    def _follow(self) -> None:
        """Let the log be that of the chosen service."""
        if self._view.pane != "log" or self._log_of == self._view.chosen:
            return
        if self._log is not None:
            self._log.close()
        self._log, self._log_of, self._lines["log"] = Client(self._client.path), self._view.chosen, []
        self._log.begin("Follow", labels=[self._view.chosen], lines=_KEPT // 4)

    def _hear(self, client: Client, pane: str) -> bool:
        """Take what has come; return whether something has."""
        try:
            found = [self._told(reply) for reply in client.waiting() if "line" in reply or "event" in reply]
        except CallError:  # the service has gone from the table
            if client is self._log:
                client.close()
                self._log = None
            return True
        self._lines[pane] = [*self._lines[pane], *found][-_KEPT:]
        return bool(found)

    def _told(self, reply: Data) -> str:
        from arje.ctl import event_verbs, log_verbs

        if "event" in reply:
            return event_verbs.told(self._paper, reply["event"])
        line = reply["line"]
        return log_verbs.text(self._paper, line, clock(line["wall"]))

    def _draw(self) -> None:
        height = self._screen.size[1]
        pane = self._lines.get(self._view.pane, [])
        self._screen.draw(top.page(self._paper, self._manager, self._rows, self._view, pane, height))
