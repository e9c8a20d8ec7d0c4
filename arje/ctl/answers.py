"""What became of services that a verb touched, as lines or JSON, and the exit code that it means."""

from __future__ import annotations

from arje.ctl.exitcodes import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from arje.ctl.arguments import Arguments
    from arje.ctl.words import Paper


def in_json(paper: Paper, value: Any) -> None:
    """Write a value as one line of JSON."""
    from arje.ctl import wire

    paper.line(wire.write(value))


def results(answer: dict[str, Any], args: Arguments, paper: Paper, *, of_running: bool = False) -> int:
    """Show the results of an answer, and return the exit code that they mean.

    ``of_running``: the verb is for services that run, and 7 says that none of these did.
    """
    from arje.ctl import render

    found = answer["results"]
    if args.json:
        in_json(paper, found)
    else:
        for result in found:
            render.result(paper, result)
    if of_running and found and all(result["result"] == "not-running" for result in found):
        return Action.NOT_RUNNING
    return verdict(found, strict=args.strict)


def verdict(results: list[dict[str, Any]], *, strict: bool) -> int:
    """The code of the worst result: a refusal says more than a failure."""
    codes = {"refused": Action.ISOLATION_REFUSED, "dependents": Action.DEPENDENTS, "failed": Action.FAILED}
    found = {codes[result["result"]] for result in results if result["result"] in codes}
    for code in (Action.ISOLATION_REFUSED, Action.DEPENDENTS, Action.FAILED):
        if code in found:
            return code
    if strict and any(result["degraded"] for result in results):
        return Action.DEGRADED
    return Action.DONE
