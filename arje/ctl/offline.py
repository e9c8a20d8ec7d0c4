"""``--root DIR``: what sticks, in a root where no manager runs: an image that is being made, a disk of another machine.

The same files are written as a manager writes (supervisor/stick.py; a test holds the two beside each other), and nothing
else is done: whoever boots from there finds services enabled, disabled or masked.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from arje.ctl.answers import in_json
from arje.ctl.exitcodes import Action, Query
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.words import Paper

#: As arje/paths.py and the drop-ins of supervisor/stick.py have them; the latest directory hides the others.
DIRECTORIES: Final = ("usr/lib/arje/cards.d", "etc/arje/cards.d")
NAME: Final = "50-arjectl.toml"
HEAD: Final = "# Written by arjectl; to undo it, change it there or remove this file: arjectl apply\n"
_WRITES: Final = {"enable": ("enabled", True), "disable": ("enabled", False), "mask": ("masked", True)}


class NoSuchCard(Exception):
    """There is no card of this label in the root."""


def write(args: Arguments, paper: Paper) -> int:
    """Be enable, disable, mask or unmask. Whatever is not there changes nothing at all. Raises UsageError."""
    try:
        cards = {label: _card(args.root, label) for label in args.labels}
    except NoSuchCard as error:
        return _missing(args, str(error), Action.NO_SUCH_SERVICE)
    key, value = _WRITES.get(args.verb, ("masked", None))
    told = [_write(args.root, label, key, value) for label in cards]
    if args.json:
        in_json(paper, told)
    else:
        for each in told:
            paper.line(f"{each['label']}: {escape(str(each['detail']))}")
    return Action.FAILED if any(each["result"] == "failed" for each in told) else Action.DONE


def is_enabled(args: Arguments, paper: Paper) -> int:
    """Whether a manager that boots there would start one of these by itself."""
    try:
        words = {label: _word(args.root, label) for label in args.labels}
    except NoSuchCard as error:
        return _missing(args, str(error), Query.NO_SUCH_SERVICE)
    if args.json:
        in_json(paper, words)
    else:
        for word in words.values():
            paper.line(word)
    return Query.TRUE if "enabled" in words.values() else Query.FALSE


def _missing(args: Arguments, label: str, code: int) -> int:
    from arje.ctl.main import complain

    where = ", ".join(f"{args.root}/{directory}" for directory in DIRECTORIES)
    return complain("NoSuchService", f"no card of {label!r} in {where}", code, in_json=args.json)


def _card(root: str, label: str) -> Path:
    """Return the file of a card, of an instance its template's. Raises NoSuchCard."""
    template = label.partition("@")[0] + "@" if "@" in label else label
    for directory in reversed(DIRECTORIES):
        for name in (label, template):
            for suffix in (".toml", ".card.toml"):
                if (file := Path(root, directory, name + suffix)).exists() or file.is_symlink():
                    return file
    raise NoSuchCard(label)


def _word(root: str, label: str) -> str:
    """Return enabled, disabled or masked: what the card says, and its drop-ins over it, the later one last."""
    card = _card(root, label)
    return "masked" if _is_mask(card) else _said(card, *_dropins(root, label))


def _is_mask(file: Path) -> bool:
    """Whether a file says nothing but that what it hides is not to start: a link to /dev/null, or no byte."""
    return (file.is_symlink() and os.readlink(file) == "/dev/null") or (file.is_file() and not file.stat().st_size)


def _dropins(root: str, label: str) -> list[Path]:
    template = label.partition("@")[0] + "@"
    scopes = ["_all", *([template] if "@" in label else []), label]
    found: list[Path] = []
    for scope in dict.fromkeys(scopes):
        named: dict[str, Path] = {}
        for directory in DIRECTORIES:  # a name in a later one hides the same name in an earlier one
            place = Path(root, directory, f"{scope}.card.d")
            named |= {file.name: file for file in place.glob("*.toml")} if place.is_dir() else {}
        found += [named[name] for name in sorted(named)]
    return found


def _said(*files: Path) -> str:
    whole: dict[str, Any] = {}
    for file in files:
        whole |= _read(file)
    return "masked" if whole.get("masked") else "enabled" if whole.get("enabled", True) else "disabled"


def _read(file: Path) -> dict[str, Any]:
    """Return what a file says. Raises UsageError."""
    from arje.ctl.arguments import UsageError

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: {error}; arje check tells more") from error


def _write(root: str, label: str, key: str, value: bool | None) -> dict[str, Any]:
    """Set a key of arjectl's drop-in of a label, or take it out (None); a mask in the card's place goes with it."""
    place = Path(root, DIRECTORIES[-1], f"{label}.card.d")
    file = place / NAME
    before = _read(file) if file.exists() else {}
    said = {name: item for name, item in (before | {key: value}).items() if item is not None}
    own = _card(root, label)
    masked = key == "masked" and not value and own.parent == place.parent and _is_mask(own)
    word = key if value else {"enabled": "disabled", "masked": "not masked"}[key]
    if said == before and not masked:
        return {"label": label, "result": "already", "detail": f"{word} already"}
    try:
        if masked:
            own.unlink()
        _save(place, file, said)
    except OSError as error:
        return {"label": label, "result": "failed", "detail": f"failed: {error.filename}: {error.strerror}"}
    return {"label": label, "result": "done", "detail": f"{word} ({file})"}


def _save(place: Path, file: Path, said: dict[str, Any]) -> None:
    if not said:
        file.unlink(missing_ok=True)
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
        return
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = place / f".{NAME}.new"
    with new.open("w") as stream:
        import json

        stream.write(HEAD + "".join(f"{name} = {json.dumps(item)}\n" for name, item in said.items()))
        stream.flush()
        os.fsync(stream.fileno())
    new.chmod(0o644)
    new.rename(file)
