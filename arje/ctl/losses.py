"""``arjectl degradations``: what services asked for and did not get, and what would mend it, the most useful first."""

from __future__ import annotations

from arje.ctl import render
from arje.ctl.answers import in_json
from arje.ctl.words import escape, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper


def degradations(client: Client, args: Arguments, paper: Paper) -> int:
    """Show the losses of each service, then the remedies, each with all that it would mend."""
    services = client.call("List", labels=args.labels, full=False, look=True)["services"]
    if args.json:
        in_json(paper, {service["label"]: service["isolation"]["degradations"] for service in services})
        return 0
    render.degradations(paper, services)
    groups = remedies(services)
    if sum(bool(service["isolation"]["degradations"]) for service in services) > 1:
        _mend(paper, groups)
    render.degradations_summary(paper, services)
    return 0


def remedies(services: list[dict[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Return remedy → feature → the services that lack it; the remedy that mends most comes first."""
    found: dict[str, dict[str, list[str]]] = {}
    for service in services:
        for loss in service["isolation"]["degradations"]:
            if loss["remedy"]:
                found.setdefault(loss["remedy"], {}).setdefault(loss["feature"], []).append(service["label"])
    return dict(sorted(found.items(), key=lambda item: -sum(map(len, item[1].values()))))


def _mend(paper: Paper, groups: dict[str, dict[str, list[str]]]) -> None:
    paper.line()
    paper.line("What would mend them:")
    for remedy, features in groups.items():
        labels = dict.fromkeys(label for each in features.values() for label in each)
        count = sum(map(len, features.values()))
        paper.line(f"  {escape(remedy)}")
        paper.line(f"    {many(count, 'degradation')} of {many(len(labels), 'service')}: {', '.join(labels)}")
        paper.line(f"    {', '.join(features)}")
    paper.line("    Afterwards: arjectl heal")
    paper.line()
