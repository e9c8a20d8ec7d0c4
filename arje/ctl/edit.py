"""``arjectl edit X``: the file that defines a card, or a drop-in of it, in your editor; nothing that is wrong is kept.

A card that lies where packages or a higher layer put it is not touched: a drop-in in the administrator's directory says
what is to be different (``NAME.card.d/60-edit.toml``), as it would with ``--drop-in``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from arje.ctl import forecast
from arje.ctl.arguments import UsageError
from arje.ctl.exitcodes import Action
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

_DROPIN: Final = "60-edit.toml"
_HEAD: Final = "# What is to be different for {label}; made by arjectl edit. The card itself: {file}\n"


def edit(client: Client, args: Arguments, paper: Paper) -> int:
    """Edit, check, save, show what would change, and take it when a person says so. Raises UsageError."""
    label = args.labels[0]
    file = _file(client, label, drop_in=args.drop_in)
    before = file.read_text(encoding="utf-8") if file.exists() else None
    text = before if before is not None else _HEAD.format(label=label, file=_own(client, label))
    while True:
        edited = _edited(file, text)
        if edited == text:
            paper.line(f"{escape(str(file))}: nothing has changed.")
            return Action.DONE
        problems = _problems(client, file, edited, before)
        if not problems:
            break
        forecast.problems(paper, problems)
        text = edited
        if not _agrees("Edit it again?", default=True):
            paper.line(f"{escape(str(file))}: nothing was saved.")
            return Action.CARD_INVALID
    paper.line(f"{escape(str(file))}: saved.")
    return _take(client, args, paper)


def _take(client: Client, args: Arguments, paper: Paper) -> int:
    """Show what the cards on disk would change by now, and take them with ``--now`` or when a person says so."""
    from arje.ctl import plan_verbs

    found = client.call("Plan")["plan"]
    forecast.plan(paper, found)
    if found["problems"]:
        paper.line("Other cards have problems: arjectl apply takes nothing before these are mended.")
        return Action.CARD_INVALID
    if not found["changes"]:
        return Action.DONE
    if not args.now and not _agrees("Take it now?", default=False):
        paper.line(f"Take it with: arjectl apply {found['token']}")
        return Action.DONE
    args.labels, args.confirm = [found["token"]], None
    return plan_verbs.apply(client, args, paper)


def _own(client: Client, label: str) -> str:
    files: list[str] = client.call("Cat", label=label)["files"]
    return next(file for file in files if ".card.d/" not in file)


def _file(client: Client, label: str, *, drop_in: bool) -> Path:
    """Return the file to edit: the card's own where it is the administrator's and may be written, else a drop-in."""
    own, directory = Path(_own(client, label)), Path(client.call("GetManager")["manager"]["cards"][-1])
    if not drop_in and own.parent == directory and os.access(own, os.W_OK):
        return own
    if not os.access(directory, os.W_OK):
        raise UsageError(f"{directory}: you may not write there: become root or the manager's user")
    return directory / f"{label}.card.d" / _DROPIN


def _edited(file: Path, text: str) -> str:
    """Return the text as a person leaves it. Raises UsageError when the editor cannot be run, or fails."""
    import shlex
    import tempfile

    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="arjectl.") as place:
        copy = Path(place, file.name)
        copy.write_text(text, encoding="utf-8")
        status = os.spawnvp(os.P_WAIT, editor[0], [*editor, str(copy)])
        if status:
            why = "cannot be run" if status == 127 else f"ended with {status}"
            raise UsageError(f"{editor[0]}: {why}; nothing was saved. Name another editor: EDITOR=nano arjectl edit …")
        return copy.read_text(encoding="utf-8")


def _problems(client: Client, file: Path, text: str, before: str | None) -> list[dict[str, Any]]:
    """Save a text and return what is wrong with it; what is wrong is taken back. A card is judged before it is saved."""
    if file.name != _DROPIN:
        found: list[dict[str, Any]] = client.call("Check", name=file.name, text=text)["problems"]
        if found:
            return found
    _write(file, text)
    problems: list[dict[str, Any]] = client.call("Plan")["plan"]["problems"]
    mine = [problem for problem in problems if problem["file"] == str(file)]
    if mine and before is not None:
        _write(file, before)
    elif mine:
        file.unlink()
    return mine


def _write(file: Path, text: str) -> None:
    """Write a file whole or not at all. Raises UsageError."""
    new = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(mode=0o755, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        if file.exists():
            new.chmod(file.stat().st_mode & 0o777)
        new.rename(file)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}; nothing was saved") from error


def _agrees(question: str, *, default: bool) -> bool:
    """Ask a person; without one the answer is no."""
    if not sys.stdin.isatty():
        return False
    answer = input(f"{question} [{'Y/n' if default else 'y/N'}] ").strip().lower()
    return answer.startswith("y") or (default and not answer)
