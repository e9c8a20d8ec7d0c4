"""Compiled cards on disk: a set that has not changed is taken as it was judged, and pydantic is not imported.

What is kept is the memory of the shelf: what each file came to, by the digest of its content and its drop-ins, with what
specifiers said of the surroundings. So a stale entry is never asked for, and one that is asked for is right: also after a
boot, and in the virtual machine for which cards were compiled outside.

The file is JSON under a line with its checksum; nothing in it is executed, and the only classes that it can name are the
frozen dataclasses and enums of cards. It is believed only if it is a regular file of our own that nobody else can
write, and if this very arje wrote it. Anything else is no cache: the cards are judged, and the file is written anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import json
import os
import stat
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

import arje
from arje.card.loader import Loaded

_MOST: Final = 256 * 2**20  # bytes
#: Recordings (arje/replay) name the last two.
_ROOMS: Final = ("arje.card.", "arje.errors", "arje.incarnation", "arje.supervisor.conditions")
#: Parts that are another for each card.
_OWN: Final = {"arje.card.card:Card", "arje.card.card:Source", "arje.card.loader:Loaded"}
Shared = dict[str | tuple[str] | None, Any]


class NoCache(Exception):
    """The file cannot be used; the text says why: missing, foreign, corrupt, of another arje."""


@cache
def fingerprint() -> str:
    """Return what tells this arje's way of judging cards from any other's: its version and what its files say.

    Not when they were written: files that were copied, or packed for a machine, have other times or none.
    """
    place = Path(__file__).parent
    said = hashlib.sha256(arje.__version__.encode())
    for file in sorted(place.glob("*.py")):
        data = file.read_bytes()
        said.update(f"{file.name} {len(data)} ".encode() + data)
    return said.hexdigest()


def load(file: Path) -> dict[str, Loaded]:
    """Return the memory that was saved. Raises NoCache."""
    body = read(file)
    try:
        shared: Shared = {}
        return {key: decode(value, shared) for key, value in json.loads(body).items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError, RecursionError) as error:
        raise NoCache(f"corrupt: {error}") from error


def save(file: Path, known: dict[str, Loaded]) -> None:
    """Keep a memory: whole, or what was there before. Raises OSError."""
    entries = {}
    for key, loaded in known.items():
        with contextlib.suppress(TypeError, RecursionError):  # what cannot be kept is judged again
            entries[key] = encode(loaded)
    write(file, json.dumps(entries, separators=(",", ":")).encode())


def read(file: Path) -> bytes:
    """Return what :func:`write` has written, when nobody else can have. Raises NoCache."""
    head, newline, body = _read(file).partition(b"\n")
    if not newline or head != _head(body):
        raise NoCache("corrupt, or of another arje")
    return body


def write(file: Path, body: bytes) -> None:
    """Keep a text under a line with its checksum: whole, or what was there before. Raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = file.with_name(f".{file.name}.{os.getpid()}")
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as stream:
            stream.write(_head(body) + b"\n" + body)
        name.rename(file)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def _head(body: bytes) -> bytes:
    return f"{fingerprint()} {hashlib.sha256(body).hexdigest()}".encode()


def _read(file: Path) -> bytes:
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NoCache("there is none yet") from error
    except OSError as error:
        raise NoCache(f"cannot be read: {error.strerror}") from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise NoCache("not a file of our own that nobody else can write")
        with open(fd, "rb", closefd=False) as stream:
            return stream.read(min(found.st_size, _MOST))  # what is asked for is allocated at once
    finally:
        os.close(fd)


def encode(value: Any) -> Any:
    """Return a value as JSON has it: a list says in its first item what it is. Raises TypeError."""
    if isinstance(value, Enum):
        return ["e", _name(type(value)), value.value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return ["t" if isinstance(value, tuple) else "l", *map(encode, value)]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a key that is no text")
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (frozenset, bytes)):
        return ["f", *map(encode, sorted(value))] if isinstance(value, frozenset) else ["b", value.hex()]
    if isinstance(value, Path):
        return ["p", str(value)]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} cannot be kept")
    return ["c", _name(type(value)), {name: encode(item) for name, item in _said(value)}]


def _name(kind: type) -> str:
    if not kind.__module__.startswith(_ROOMS):
        raise TypeError(f"{kind.__name__} is no part of a card")
    return f"{kind.__module__}:{kind.__qualname__}"


def _said(value: Any) -> list[tuple[str, Any]]:
    """Return the fields that are not as they are by default."""
    found = ((each, getattr(value, each.name)) for each in dataclasses.fields(value))
    return [(each.name, item) for each, item in found if not (each.init and _is_default(each, item))]


def _is_default(each: dataclasses.Field[Any], item: Any) -> bool:
    default = each.default
    if default is dataclasses.MISSING and each.default_factory is not dataclasses.MISSING:
        default = each.default_factory()
    return type(item) is type(default) and bool(item == default)  # 1 is not True, nor 1.0


def decode(value: Any, shared: Shared | None = None) -> Any:
    """Return the value; of equal frozen ones always the same: a thousand cards differ in little."""
    shared = {} if shared is None else shared
    if isinstance(value, str):
        return shared.setdefault(value, value)
    if isinstance(value, dict):
        return {shared.setdefault(key, key): decode(item, shared) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    match value[0]:
        case "t":
            return tuple([decode(item, shared) for item in value[1:]])
        case "l":
            return [decode(item, shared) for item in value[1:]]
        case "f":
            return frozenset(decode(item, shared) for item in value[1:])
        case "b":
            return bytes.fromhex(value[1])
        case "p":
            return Path(value[1])
        case "e":
            return _kind(value[1])(value[2])
        case "c":
            return _part(value, shared)
    raise ValueError(f"no kind {value[0]!r}")


def _part(value: list[Any], shared: Shared) -> Any:
    """Return a dataclass; of what no two cards have in common none is looked for."""
    kind = _kind(value[1])
    key = None if value[1] in _OWN else (json.dumps(value),)  # a tuple: a card may hold any text
    if key in shared:
        return shared[key]
    made = kind(**(_defaults(kind) | {name: decode(item, shared) for name, item in value[2].items()}))
    if key is not None:
        with contextlib.suppress(TypeError):  # it has a dict in it, which somebody might change
            hash(made)
            shared[key] = made
    return made


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    """Return the defaults of a class that are made for each of its values, and may be one for all: they are frozen."""
    found = {}
    for each in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        if each.init and each.default_factory is not dataclasses.MISSING:
            made = each.default_factory()
            if dataclasses.is_dataclass(made):
                found[each.name] = made
    return found


@cache
def _kind(name: str) -> Any:
    """Return the class of a name: a dataclass or an enum of ours, nothing else. Raises ValueError."""
    module, _, qualname = name.partition(":")
    if not module.startswith(_ROOMS):
        raise ValueError(f"no class of a card: {name}")
    kind = getattr(importlib.import_module(module), qualname)
    if not isinstance(kind, type) or not (dataclasses.is_dataclass(kind) or issubclass(kind, Enum)):
        raise ValueError(f"no class of a card: {name}")
    return kind
