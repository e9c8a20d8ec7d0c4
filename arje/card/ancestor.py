"""The ancestor's ``EntityCard`` documents (JSON) as cards: same words, other shapes.

A seed with ``genesis`` holds further cards; they come before it. Times are milliseconds there, seconds here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from arje.card.normalise import Unreadable


def documents(raw: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every card document in a document with the path of its place (``genesis.0.``), inner ones first."""
    inner = raw.get("genesis")
    if isinstance(inner, list):
        for index, child in enumerate(inner):
            if isinstance(child, dict):
                yield from documents(child, f"{prefix}genesis.{index}.")
    yield prefix, {key: value for key, value in raw.items() if key != "genesis"}


def translate(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the document in the shape of a card. Raises Unreadable."""
    card = dict(raw)
    for name in ("requires", "provides"):
        if card.get(name) is None:
            card.pop(name, None)
    if "payload" in card:
        card["payload"] = _payload(card["payload"])
    if "supervision" in card:
        card["supervision"] = _supervision(card["supervision"])
    if isinstance(card.get("soma"), dict):
        soma = {key: value for key, value in card["soma"].items() if value is not None}
        if isinstance(group := soma.get("cgroup"), dict):
            soma["cgroup"] = {key: value for key, value in group.items() if value is not None}
        card["soma"] = soma
    return card


def _payload(value: Any) -> dict[str, Any]:
    if value == "Virtual":
        return {}
    if isinstance(value, dict) and len(value) == 1:
        ((kind, body),) = value.items()
        if kind == "Wasm":
            raise Unreadable("payload", "Wasm payloads are not run by arje", "compile it to a native program")
        if kind in ("Native", "Legacy") and isinstance(body, dict):
            return _program(body)
    raise Unreadable("payload", "no payload of a kind that is known", 'write "Virtual", {"Native": …} or {"Legacy": …}')


def _program(body: dict[str, Any]) -> dict[str, Any]:
    """The ancestor's argv may begin with the program's own name; ours holds the arguments alone."""
    program = dict(body)
    argv, path = program.get("argv"), str(program.get("exec", ""))
    if isinstance(argv, list) and argv and argv[0] in (path, PurePosixPath(path).name):
        program["argv"] = argv[1:]
    return program


def _supervision(value: Any) -> Any:
    if value == "OneShot":
        return {"kind": "one-shot"}
    if value == "Delegate":
        return {"kind": "delegate"}
    if isinstance(value, dict) and set(value) == {"Restart"} and isinstance(value["Restart"], dict):
        times = {key: ms / 1000 for key, ms in value["Restart"].items() if isinstance(ms, (int, float))}
        return {"kind": "daemon", "restart": "always", **times}
    raise Unreadable("supervision", f"{value!r} is not known", 'write "OneShot", "Delegate" or {"Restart": {…}}')
