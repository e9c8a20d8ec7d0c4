"""What would be: a plan of cards, and the forecast of a start."""

from __future__ import annotations

from arje.ctl.render import losses
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from arje.ctl.render import Data
    from arje.ctl.words import Paper


def plan(paper: Paper, found: Data) -> None:
    """What the cards on disk would change, and their problems."""
    problems(paper, found["problems"])
    if found["problems"]:  # the changes of a set with a hole in it are none: apply would refuse
        return
    if found["undone"]:
        paper.line(f"{undone(found['undone'])}; the files still hold what was undone.")
    changes(paper, found["changes"])
    if not found["changes"]:
        paper.line("The cards on disk are the ones in force.")


def problems(paper: Paper, found: list[Data]) -> None:
    """Each thing wrong with a card, as compilers tell it."""
    for problem in found:
        paper.line(problem_text(problem))


def problem_text(problem: Data) -> str:
    """One thing wrong with a card, in a line."""
    where = f"{problem['file']}:{problem['line']}" if problem["line"] else problem["file"]
    what = f"{problem['field']}: {problem['message']}" if problem["field"] else problem["message"]
    return escape(f"{where}: {what}" + (f" ({problem['remedy']})" if problem["remedy"] else ""))


def changes(paper: Paper, found: list[Data]) -> None:
    """Each service that would change, and what its process feels."""
    signs = {"add": ("+", "32"), "remove": ("-", "31"), "modify": ("~", "33"), "keep": ("=", "36")}
    for change in found:
        sign, code = signs[change["change"]]
        fields = f" ({', '.join(change['fields'])})" if change["fields"] else ""
        words = {
            "nothing": "nothing" if change["change"] == "keep" else "no process is touched",
            "rebinds": "rebinds; it waits for its sockets, no process is touched",
        }
        feels = words.get(change["feels"], change["feels"])
        why = f" ({change['why']})" if change["why"] else ""
        paper.line(f"{paper.paint(sign, code)} {change['label']}{fields}: {feels}{escape(why)}")


def undone(found: Data) -> str:
    """When a rollback was, and what for."""
    from arje.ctl.words import clock

    return f"Rolled back at {clock(found['wall'])}: {escape(found['why'])}"


def forecasts(paper: Paper, found: Data, where: str = "here") -> None:
    """What a start of cards would get here, or elsewhere. Nothing was started for it."""
    problems(paper, found["problems"])
    if not found["problems"]:
        changes(paper, found.get("changes", []))
    for number, each in enumerate(found["forecasts"]):
        if number or found["problems"] or found.get("changes"):
            paper.line()
        _forecast(paper, each, where)


def _forecast(paper: Paper, found: Data, where: str) -> None:
    if not found["operations"]:
        paper.line(f"{found['label']}: it has no process; nothing is to be isolated")
        return
    granted = f"{found['granted']} of {found['requested']} granted"
    verdict = paper.paint("would be refused", "31") if found["refusal"] else "would start"
    paper.line(f"{found['label']}: {verdict} {where}, {granted}. Nothing was started.")
    if found["refusal"]:
        required = [loss["feature"] for loss in found["degradations"] if loss["required"]]
        paper.line(f"  The card requires: {', '.join(required)}")
    width = max((len(ask["feature"]) for ask in found["asks"]), default=0)
    for ask in found["asks"]:
        if ask["foreseen"]:
            paper.line(f"  {paper.paint('+', '32')} {ask['feature']:<{width}}  {escape(ask['requested'])}")
    if found["degradations"]:
        losses(paper, found["degradations"], "  ")
    paper.line(f"  In this order{', if it were not refused' if found['refusal'] else ''}:")
    for number, operation in enumerate(found["operations"], 1):
        paper.line(f"  {number:>3}. {escape(operation)}")
