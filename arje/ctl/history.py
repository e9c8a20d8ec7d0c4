"""``arjectl history``: the last states of services; below each the change of another service that caused it, and so on."""

from __future__ import annotations

from arje.ctl.answers import in_json
from arje.ctl.render import cause
from arje.ctl.words import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

    Moment = dict[str, Any]

_DEEPEST: Final = 8  # links of a chain; a cause is never later than what it caused, so there is no circle


class Histories:
    """The histories of services, each asked for once; a subject that is no service has none."""

    def __init__(self, client: Client, services: list[dict[str, Any]]) -> None:
        self._client = client
        self._known: dict[str, list[Moment]] = {each["label"]: each["history"] for each in services}

    def chain(self, moment: Moment) -> Iterator[tuple[str, Moment]]:
        """Yield what caused a moment, nearest first: the services, and what became of each right before."""
        for _ in range(_DEEPEST):
            who = moment["who"]
            before = [each for each in self._of(who) if each["wall"] <= moment["wall"] + 0.001]
            if not before:
                return
            moment = before[-1]
            yield who, moment

    def _of(self, who: str) -> list[Moment]:
        from arje.ctl.client import CallError

        if who not in self._known:
            self._known[who] = []
            if who not in ("supervisor", "cards.d", "condition") and " " not in who:
                try:
                    self._known[who] = self._client.call("List", labels=[who], full=True)["services"][0]["history"]
                except CallError as error:
                    if error.name != "NoSuchService":
                        raise
        return self._known[who]


def history(client: Client, args: Arguments, paper: Paper) -> int:
    """Show the states of services, oldest first, each with its causes across services."""
    services = client.call("List", labels=args.labels, full=True)["services"]
    if args.json:
        in_json(paper, {service["label"]: service["history"] for service in services})
        return 0
    found = Histories(client, services)
    for service in services:
        for moment in service["history"]:
            paper.line(_line(paper, service["label"], moment, ""))
            for depth, (who, why) in enumerate(found.chain(moment)):
                paper.line(_line(paper, who, why, "  " * depth + ("└ " if paper.rich else "` ")))
    return 0


def _line(paper: Paper, label: str, moment: Moment, lead: str) -> str:
    state = paper.state(moment["state"], f"{moment['state']:<9}")
    mark = paper.mark(moment["state"])
    return f"{clock(moment['wall'])}  {lead}{label}  {mark}{state}  {cause(moment)}"
