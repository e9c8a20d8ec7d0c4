"""Docker compose files (https://docs.docker.com/reference/compose-file/): each service a card with a root of its own.

arje has no images. A card says where the image's files belong, how to put them there, and is skipped until they are: its
condition says so. Services share the host's network and find each other by name in an /etc/hosts of theirs.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arje.card import env_file
from arje.card.disk import NoText
from arje.errors import CardError
from arje.imports import compose_service
from arje.imports.draft import Place, Read, label_of, wrong
from arje.imports.source import text_of
from arje.imports.yaml import load
from arje.imports.yaml_nodes import Mapping, Node, Scalar, Sequence

_VARIABLE: Final = re.compile(
    r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:?[-?+])((?:[^{}]|\{[^{}]*\})*))?\})", re.ASCII
)
_WRITE_OUT: Final = 'run "docker compose config" and import what it writes'
_TOP: Final = {
    "version": "compose itself ignores it",
    "networks": "services share the host's network",
    "volumes": "a named volume is a directory below /var/lib/arje/volumes",
}


def is_compose(file: Path, text: str) -> bool:
    """Whether a file is one of docker compose's, by its suffix and its services."""
    return file.suffix in (".yml", ".yaml") and bool(re.search(r"^[\"']?services[\"']?\s*:", text, re.MULTILINE))


@dataclass(frozen=True, slots=True)
class Whole:
    """What services refer to: where the file is, and what it names beside them."""

    directory: Path
    project: str
    names: tuple[str, ...]
    secrets: dict[str, Node]
    configs: dict[str, Node]
    awaited: frozenset[str]
    ending: frozenset[str]


def read(file: Path, found: Read) -> None:
    """Read a compose file; what is wrong with it is noted in ``found``."""
    try:
        top = load(file, text_of(file))
        _document(file, top, found)
    except CardError as error:
        found.problems += error.problems


def _document(file: Path, top: Node, found: Read) -> None:
    if not isinstance(top, Mapping):
        raise wrong(Place(str(file), top.line), "a compose file is a table", "write services:")
    services = top.items.get("services")
    if not isinstance(services, Mapping):
        raise wrong(
            Place(str(file), top.keys.get("services", 1)), "there are no services", "write services: and a name"
        )
    directory = file.absolute().parent
    fill = _Filler(file, directory)
    for name in top.items:
        place = Place(str(file), top.keys[name])
        if name in _TOP:
            found.lost(place, name, _TOP[name])
        elif name == "include":
            found.wrong(place, "include is not read", _WRITE_OUT)
        elif not name.startswith("x-") and name not in ("services", "name", "secrets", "configs"):
            found.lost(place, name, "docker compose does not know such a key")
    filled = fill(services)
    assert isinstance(filled, Mapping)
    whole = Whole(
        directory,
        _text(top.items.get("name")) or label_of(directory.name.lower()),
        tuple(services.items),
        _table(top.items.get("secrets")),
        _table(top.items.get("configs")),
        frozenset(_awaited(filled, "service_healthy")),
        frozenset(_awaited(filled, "service_completed_successfully")),
    )
    for name, node in filled.items.items():
        place = Place(str(file), filled.keys[name])
        draft = found.draft(name, place, f"docker compose's service {name}")
        try:
            if not isinstance(node, Mapping):
                raise wrong(place, f"the service {name} is no table", "write image: or command: below it", name)
            compose_service.describe(draft, name, node, whole)
            for line, what, why in fill.told.get(name, ()):
                draft.near(Place(str(file), line), what, why)
        except CardError as error:
            found.problems += error.problems
            found.drafts.remove(draft)


class _Filler:
    """Puts values in the place of variables, as compose does before it reads a service."""

    def __init__(self, file: Path, directory: Path) -> None:
        self._file = str(file)
        self._values: dict[str, str] = {}
        if (directory / ".env").is_file():
            try:
                self._values = env_file.read(str(directory / ".env"))
            except NoText as error:
                raise CardError([error.problem]) from error
        self.told: dict[str, list[tuple[int, str, str]]] = {}
        self._service = ""
        self._filled: dict[tuple[str, int], Node] = {}

    def __call__(self, node: Node, depth: int = 0) -> Node:
        """Return the node with every text filled in. Raises CardError."""
        if isinstance(node, Scalar):
            text = (
                _VARIABLE.sub(lambda found: self._value(found, node.line), node.text) if "$" in node.text else node.text
            )
            return Scalar(text, node.line, node.quoted)
        if depth > 32:
            raise wrong(Place(self._file, node.line), "an anchor that holds itself, or too many levels")
        if (known := self._filled.get((self._service, id(node)))) is not None:
            return known  # an alias: what it stands for is filled in once, however often it is named
        if isinstance(node, Sequence):
            done = Sequence(tuple(self(item, depth + 1) for item in node.items), node.line)
            self._filled[self._service, id(node)] = done
            return done
        filled: dict[str, Node] = {}
        for name, item in node.items.items():
            if depth == 0:
                self._service = name
            filled[name] = self(item, depth + 1)
        table = Mapping(filled, node.keys, node.line)
        self._filled[self._service, id(node)] = table
        return table

    def _value(self, found: re.Match[str], line: int) -> str:
        if found[1]:
            return "$"
        name, sign, word = found[2] or found[3], found[4] or "", found[5] or ""
        value = os.environ.get(name, self._values.get(name))
        there = bool(value) if ":" in sign else value is not None
        if sign.endswith("+"):
            return word if there else ""
        if there and value is not None:
            self._tell(line, found[0], "its value of now is written down, and stays when it changes")
            return value
        if sign.endswith("?"):
            raise wrong(Place(self._file, line), f"{name} has no value: {word}", f"set {name} and import again")
        if sign.endswith("-"):
            return _VARIABLE.sub(lambda inner: self._value(inner, line), word)
        self._tell(line, found[0], f"{name} is not set: it is empty")
        return ""

    def _tell(self, line: int, what: str, why: str) -> None:
        self.told.setdefault(self._service, []).append((line, what, why))


def _awaited(services: Mapping, condition: str) -> list[str]:
    """Return the services that others wait for in this way."""
    names = []
    for service in services.items.values():
        depends = service.items.get("depends_on") if isinstance(service, Mapping) else None
        if isinstance(depends, Mapping):
            for name, terms in depends.items.items():
                if isinstance(terms, Mapping) and _text(terms.items.get("condition")) == condition:
                    names.append(name)
    return names


def _text(node: Node | None) -> str:
    return node.text if isinstance(node, Scalar) else ""


def _table(node: Node | None) -> dict[str, Node]:
    return node.items if isinstance(node, Mapping) else {}
