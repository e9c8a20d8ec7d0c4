"""The ancestor's ``EntityCard`` documents (JSON) as cards: same words, other shapes.

A seed with ``genesis`` holds further cards; they come before it. Times are milliseconds there, seconds here. ``null`` means
there that a field is absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from arje.card.lines import Places
from arje.card.unreadable import Unreadable, shown

#: Fields that arje keeps as they are, with the nulls in them.
_KEPT: Final = ("permissions", "lifecycle", "priority", "flow", "references", "extensions")
_KINDS: Final = 'write "Virtual", {"Native": {…}} or {"Legacy": {…}}'
_LIVES: Final = 'write "OneShot", "Delegate" or {"Restart": {"initial": 200, "max": 10000}}'
_VARIANT: Final = re.compile(
    r"^(payload)\.(?:Native|Legacy)\.|^(supervision)\.Restart\.|^(contracts\.[0-9]+)\.(?:Quorum|quorum)\."
)
_INNER: Final = re.compile(r"genesis\.[0-9]+(?:\.|$)")


@dataclass(slots=True)
class Document:
    """One card document. ``prefix`` is the path of its place (``genesis.0.``), ``wrong`` what is wrong with it so far."""

    prefix: str
    raw: dict[str, Any]
    wrong: list[Unreadable] = field(default_factory=list)


def documents(raw: dict[str, Any], prefix: str = "") -> Iterator[Document]:
    """Yield every card document in a document, inner ones first."""
    own = Document(prefix, {key: value for key, value in raw.items() if key != "genesis"})
    inner = raw.get("genesis")
    if inner is not None and not isinstance(inner, list):
        own.wrong.append(Unreadable("genesis", f"{shown(inner)} is not a list of cards", 'write [{"label": …}, …]'))
    for index, child in enumerate(inner if isinstance(inner, list) else ()):
        if isinstance(child, dict):
            yield from documents(child, f"{prefix}genesis.{index}.")
        else:
            own.wrong.append(Unreadable(f"genesis.{index}", f"{shown(child)} is no card", 'write {"label": …}'))
    yield own


def places_of_each(places: Places) -> dict[str, Places]:
    """Return the places of each document by its prefix, with the paths that a card's fields have."""
    found: dict[str, Places] = {}
    for path, line in places.lines.items():
        prefix, rest = _split(path)
        found.setdefault(prefix, Places()).lines.setdefault(rest, line)
        if not rest:  # the inner card's own place; for the outer one it is an item of its genesis
            parts = prefix.removesuffix(".").split(".")
            outer = "".join(f"{part}." for part in parts[:-2])
            found.setdefault(outer, Places()).lines.setdefault(".".join(parts[-2:]), line)
    for path, line in places.twice.items():
        prefix, rest = _split(path)
        found.setdefault(prefix, Places()).twice[rest] = line
    return found


def _split(path: str) -> tuple[str, str]:
    """Part ``genesis.0.soma`` into the prefix ``genesis.0.`` and ``soma``."""
    end = 0
    while inner := _INNER.match(path, end):
        end = inner.end()
    prefix = path[:end] if path[:end].endswith(".") or not end else f"{path[:end]}."
    rest = _VARIANT.sub(lambda match: f"{match[match.lastindex or 0]}.", path[end:])
    return prefix, rest


def translate(raw: dict[str, Any], wrong: list[Unreadable]) -> dict[str, Any]:
    """Return the document in the shape of a card; what cannot be is left out and told in ``wrong``."""
    card = {}
    for name, value in raw.items():
        try:
            if value is not None and (shape := _translate(name, value, wrong)) is not None:
                card[name] = shape
        except Unreadable as error:
            wrong += error.all()
    return card


def _translate(name: str, value: Any, wrong: list[Unreadable]) -> Any:
    if name == "payload":
        return _payload(value)
    if name == "supervision":
        return _supervision(value, wrong)
    return value if name in _KEPT else _present(value)


def _present(value: Any) -> Any:
    """Return a value without the members that are null, at every level."""
    if isinstance(value, dict):
        return {name: _present(item) for name, item in value.items() if item is not None}
    return value


def _payload(value: Any) -> dict[str, Any] | None:
    """Return the program, None for a virtual one."""
    kind, body = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (value, None)
    if kind == "Virtual" and body in (None, {}):
        return None
    if kind == "Wasm":
        raise Unreadable("payload", "Wasm payloads are not run by arje", "compile it to a native program")
    if kind not in ("Native", "Legacy"):
        raise Unreadable("payload", f"{shown(value)} is no payload of a kind that is known", _KINDS)
    if not isinstance(body, dict):
        raise Unreadable("payload", f"{kind} holds no program", f'write {{"{kind}": {{"exec": …}}}}')
    program = _present(body)
    if kind == "Legacy":
        program.setdefault("fakes", [])
    elif "fakes" in program:
        raise Unreadable("payload.fakes", "a Native payload has none", 'write {"Legacy": {…}}')
    return _without_own_name(program)


def _without_own_name(program: dict[str, Any]) -> dict[str, Any]:
    """The ancestor's argv may begin with the program's own name; ours holds the arguments alone."""
    argv, path = program.get("argv"), str(program.get("exec", ""))
    if isinstance(argv, list) and argv and argv[0] in (path, PurePosixPath(path).name):
        program["argv"] = argv[1:]
    return program


def _supervision(value: Any, wrong: list[Unreadable]) -> Any:
    if value == "OneShot":
        return {"kind": "one-shot"}
    if value == "Delegate":
        return {"kind": "delegate"}
    body = value.get("Restart", 0) if isinstance(value, dict) and len(value) == 1 else 0
    if body is not None and not isinstance(body, dict):
        raise Unreadable("supervision", f"{shown(value)} is not known", _LIVES)
    # It never gave up: that is a rate limit of ours without a limit.
    kept = {"kind": "daemon", "restart": "always", "rate_limit": {"starts": 0}}
    return kept | _times(_present(body or {}), wrong)


def _times(body: dict[str, Any], wrong: list[Unreadable]) -> dict[str, Any]:
    """Return seconds of milliseconds."""
    times = {}
    for name, ms in body.items():
        if name not in ("initial", "max"):
            times[name] = ms  # no such field, as the loader will say
        elif isinstance(ms, bool) or not isinstance(ms, (int, float)):
            wrong.append(Unreadable(f"supervision.{name}", f"{shown(ms)} is no number", "write milliseconds: 200"))
        elif not 0 <= ms <= 10**12:
            wrong.append(Unreadable(f"supervision.{name}", f"{shown(ms)} is out of range", "0 to 10¹² milliseconds"))
        else:
            times[name] = ms / 1000
    return times
