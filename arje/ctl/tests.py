"""Verbs that answer with their exit code, for scripts: 0 when it is so of at least one service, as systemctl has them."""

from __future__ import annotations

import json

from arje.ctl.exitcodes import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

    Service = dict[str, Any]


def _each(client: Client, args: Arguments, paper: Paper, word: Callable[[Service], str], good: tuple[str, ...]) -> bool:
    """Say a word of each service; return whether one of them is a good one."""
    services = client.call("List", labels=args.labels, full=False)["services"]
    words = {service["label"]: word(service) for service in services}
    if args.json:
        paper.line(json.dumps(words, ensure_ascii=True))
    else:
        for each in words.values():
            paper.line(each)
    return any(each in good for each in words.values())


def is_active(client: Client, args: Arguments, paper: Paper) -> int:
    """Whether one is up; 3 when none is."""

    def word(service: Service) -> str:
        return "active" if service["up"] else "failed" if service["state"] == "failed" else str(service["state"])

    return Query.TRUE if _each(client, args, paper, word, ("active",)) else Query.NOT_RUNNING


def is_ready(client: Client, args: Arguments, paper: Paper) -> int:
    """Whether one is ready; 3 when none is."""

    def word(service: Service) -> str:
        return "ready" if service["ready"] or (service["up"] and service["ready"] is None) else str(service["state"])

    return Query.TRUE if _each(client, args, paper, word, ("ready",)) else Query.NOT_RUNNING


def is_failed(client: Client, args: Arguments, paper: Paper) -> int:
    """Whether one has failed."""
    return _truth(_each(client, args, paper, lambda service: str(service["state"]), ("failed",)))


def is_enabled(client: Client, args: Arguments, paper: Paper) -> int:
    """Whether the manager starts one by itself."""

    def word(service: Service) -> str:
        return "masked" if service["masked"] else "enabled" if service["enabled"] else "disabled"

    return _truth(_each(client, args, paper, word, ("enabled",)))


def is_degraded(client: Client, args: Arguments, paper: Paper) -> int:
    """Whether one lacks isolation that its card asks for."""

    def word(service: Service) -> str:
        lost = service["isolation"]["degradations"]
        return f"degraded ({', '.join(each['feature'] for each in lost)})" if lost else "undegraded"

    services = client.call("List", labels=args.labels, full=False)["services"]
    _each(client, args, paper, word, ())
    return _truth(any(service["isolation"]["degradations"] for service in services))


def is_system_running(client: Client, args: Arguments, paper: Paper) -> int:
    """Whether all that is wanted is up: running, or else starting, degraded (something has failed), or stopping."""
    manager = client.call("GetManager")["manager"]
    counts = manager["counts"]
    word = "running"
    if manager["state"] == "stopping":
        word = "stopping"
    elif counts.get("failed") or counts.get("backoff") or manager["problems"]:
        word = "degraded"
    elif counts.get("waiting") or counts.get("starting"):
        word = "starting"
    if args.json:
        paper.line(json.dumps({"state": word}))
    else:
        paper.line(word)
    return _truth(word == "running")


def _truth(found: bool) -> int:
    return Query.TRUE if found else Query.FALSE
