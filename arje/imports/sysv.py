"""Scripts of sysvinit with an LSB header (LSB 5.0, "Comment Conventions for Init Scripts"): run as they are.

What starts a daemon in them is anything at all, so the script itself is the service: a scripted one, up from the good end
of ``start`` until ``stop``. Who it needs is in its header.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from arje.errors import CardError
from arje.imports.draft import Draft, Place, Read, label_of, wrong
from arje.imports.source import text_of

BEGIN: Final = "### BEGIN INIT INFO"
_END: Final = "### END INIT INFO"
_FIELD: Final = re.compile(r"#\s*([A-Za-z][A-Za-z-]*):\s*(.*)")
_CASE: Final = re.compile(r"^\s*[\"']?[\w|\"' -]*\breload\b[\w|\"' -]*\)", re.MULTILINE)


def is_script(text: str) -> bool:
    """Whether a text has an LSB header."""
    return text.startswith("#!") and bool(re.search(rf"^{BEGIN}", text, re.MULTILINE))


def read(file: Path, found: Read) -> None:
    """Read one script; what is wrong with it is noted in ``found``."""
    draft = found.draft(file.name.removesuffix(".sh"), Place(str(file)), "an init script")
    try:
        text = text_of(file)
        _service(draft, file, text, _header(file, text))
    except CardError as error:
        found.problems += error.problems
        found.drafts.remove(draft)


def _header(file: Path, text: str) -> dict[str, tuple[str, int]]:
    """Return the fields of the header, each with its line. Raises CardError."""
    fields: dict[str, tuple[str, int]] = {}
    last, inside = "", False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(BEGIN):
            inside = True
        elif line.startswith(_END):
            return fields
        elif inside and (found := _FIELD.fullmatch(line.rstrip())):
            last = found[1].lower()
            fields[last] = (found[2].strip(), number)
        elif inside and last == "description" and re.match(r"#(\t|\s{2,})", line):
            fields[last] = (f"{fields[last][0]} {line[1:].strip()}", fields[last][1])
        elif inside and not line.startswith("#"):
            raise wrong(Place(str(file), number), "a line of the header that is no comment", f'end it with "{_END}"')
    raise wrong(Place(str(file)), "the header has no end", f'write "{_END}"')


def _service(draft: Draft, file: Path, text: str, fields: dict[str, tuple[str, int]]) -> None:
    whole = Place(str(file))
    draft.kept(whole, "start", "payload.exec", str(file))
    draft.fields["payload.argv"] = ["start"]
    if not os.access(file, os.X_OK):
        draft.near(whole, "its mode", "it may not be executed: chmod +x")
    why = "it leaves its parent, so that it is up until it is stopped, and not started again when it dies"
    draft.near(whole, "its daemon", why, "supervision.kind", "scripted")
    draft.kept(whole, "stop", "hooks.stop", [str(file), "stop"])
    if found := _CASE.search(text):
        place = Place(str(file), text.count("\n", 0, found.start()) + 1 + found[0].count("\n"))
        draft.kept(place, "reload", "supervision.reload", [str(file), "reload"])
    draft.near(
        whole, "its environment", "init passes its own on; a card names what it takes", "payload.pass_env", ["PATH"]
    )
    for name, (value, line) in fields.items():
        _field(draft, Place(str(file), line), name, value)


def _field(draft: Draft, place: Place, name: str, value: str) -> None:
    if name == "short-description":
        draft.kept(place, "Short-Description", "description", value)
    elif name == "description":
        if "description" not in draft.fields:
            draft.kept(place, "Description", "description", " ".join(value.split()))
    elif name == "provides":
        for each in value.split():
            if each != draft.label and not each.startswith("$"):
                draft.add(place, f"Provides: {each}", "provides", [each])
            elif each.startswith("$"):
                draft.add(place, f"Provides: {each}", "provides", [label_of(each)])
    elif name in ("required-start", "should-start", "x-start-before"):
        _edges(draft, place, name, value)
    elif name in ("required-stop", "should-stop", "x-stop-after"):
        draft.kept(place, name.title())  # the end is the start turned round
    elif name == "default-start":
        if value:
            draft.near(place, f"Default-Start: {value}", "arje has no runlevels: the manager starts it")
        else:
            draft.kept(place, "Default-Start: none", "enabled", False)
    elif name == "default-stop":
        draft.kept(place, "Default-Stop")
    else:
        draft.lost(place, name.title(), "it is insserv's own")


def _edges(draft: Draft, place: Place, name: str, value: str) -> None:
    field = {"required-start": "requires", "should-start": "after", "x-start-before": "before"}[name]
    for each in value.split():
        what = f"{name.title()}: {each}"
        if each == "$all":
            draft.lost(place, what, "a card names who comes first")
        elif each.startswith("$"):
            why = "what makes it true is no service here; a card that provides this name is waited for"
            draft.add(place, what, "before" if field == "before" else "after", [label_of(each)], why)
        else:
            draft.add(place, what, field, [each])
