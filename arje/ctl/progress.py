"""Progress: once a verb takes longer than half a second, a terminal is told what is waited for and what is in the way.

It goes to stderr and is erased at the end, so that what stays is what would stay without it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

AFTER: Final = 0.5  # seconds without an answer until something is shown, and from one look to the next
_MOST: Final = 8  # lines


class Progress:
    """While it is entered, an answer of ``client`` that does not come is explained: who of ``labels`` (all for none), and
    of those that they wait for, is on its way."""

    def __init__(self, client: Client, args: Arguments, paper: Paper, labels: list[str]) -> None:
        self._client = client
        self._labels = labels
        self._shown = 0
        self._other: Client | None = None
        self._paper = paper
        self._wanted = not (args.json or args.quiet or args.plain or args.no_wait) and sys.stderr.isatty()

    def __enter__(self) -> Progress:
        if self._wanted:
            self._client.patience = (AFTER, self.look)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.patience = None
        self._erase()
        if self._other is not None:
            self._other.close()

    def look(self) -> None:
        """Ask who is on its way, on a connection of its own, and show it in the place of what was shown before."""
        from arje.ctl.client import CallError, Client, TimedOut, Unreachable

        try:
            if self._other is None:
                self._other = Client(self._client.path, AFTER)
            services = self._other.call("Moving", labels=self._labels)["services"]
        except (CallError, TimedOut, Unreachable):  # a pattern that nobody matches any more, a manager that is busy
            services = []
            if self._other is not None:  # its answer may still come
                self._other.close()
                self._other = None
        self.show(services)

    def show(self, services: list[dict[str, Any]]) -> None:
        """Draw a line for each service; the longest on their way last, right above what comes next."""
        import shutil

        from arje.ctl.screen import fit
        from arje.ctl.words import Paper

        paper = Paper(sys.stderr)
        width = shutil.get_terminal_size().columns
        told = [f"{paper.mark(each['state'])}{_told(paper, each)}" for each in services]
        more = len(told) - _MOST
        lines = told[:_MOST] + ([f"and {more} more"] if more > 0 else [])
        self._erase()
        for line in lines:
            sys.stderr.write(fit(line, width - 1) + "\n")
        sys.stderr.flush()
        self._shown = len(lines)

    def _erase(self) -> None:
        if self._shown:
            sys.stderr.write(f"\x1b[{self._shown}A\r\x1b[J")
            sys.stderr.flush()
            self._shown = 0


def _told(paper: Paper, service: dict[str, Any]) -> str:
    """Say what one service is at, since when, and what is in its way."""
    from arje.ctl.render import trouble, waits
    from arje.ctl.words import duration, escape

    state = service["state"]
    what = service["doing"]
    if state == "waiting":
        what = waits(paper, service)
    elif state == "backoff":
        what = trouble(paper, service)
    elif not what:
        what = {"starting": "not ready yet", "stopping": "its processes have not ended yet"}.get(state, "")
    return escape(f"{service['label']}  {state} {duration(service['since_s'])}  {what}".rstrip())
