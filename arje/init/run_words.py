"""What the options of ``arje run`` say, as a card's soma would say it in TOML. The card's own rules judge the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arje.card.normalise import PRESETS
from arje.card.unreadable import Unreadable, shown


def text(word: str) -> str:
    """Return the word as it is."""
    return word


def yes(_: str) -> bool:
    """Return true: the option is there."""
    return True


def listed(word: str) -> list[str]:
    """Return the words between the commas."""
    return [part for part in word.split(",") if part]


def number(word: str) -> Any:
    """Return a number when it is one; the card's rule tells what else is wrong."""
    return int(word) if word.isascii() and word.removeprefix("-").isdigit() and len(word) < 21 else word


def numbers(word: str) -> list[Any]:
    """Return the numbers between the commas; ``none`` is the empty list."""
    return [] if word == "none" else [number(part) for part in word.split(",")]


def kinds(word: str) -> list[str]:
    """Return kinds of namespaces, those of a preset one by one."""
    return [kind for part in listed(word) for kind in PRESETS.get(part, (part,))]


def path(word: str) -> str:
    """Return a path of this side, absolute: the command may have another working directory."""
    return str(Path.cwd() / word) if word else word


def dashed(word: str) -> str:
    """Return a path that may have a dash before it, absolute."""
    dash = "-" * word.startswith("-")
    return dash + path(word.removeprefix("-"))


def bind(how: str, *, optional: bool = False) -> Any:
    """Return the reader of ``SRC[:DST]`` for a bind that is ``rw`` or ``ro``."""

    def read(word: str) -> str:
        source, colon, target = word.partition(":")
        if not source or (colon and not target) or ":" in target:
            raise Unreadable("", f"{shown(word)} is no bind", "write SRC or SRC:DST")
        return f"{'-' * optional}{path(source)}:{target or path(source)}:{how}"

    return read


def overlay(word: str) -> dict[str, Any]:
    """Return the table of ``LOWER[,upper=DIR,work=DIR | ,tmpfs=SIZE][,at=DIR]``; further layers: ``LOWER:LOWER``."""
    lower, *rest = word.split(",")
    table: dict[str, Any] = {"lower": [path(layer) for layer in lower.split(":") if layer]}
    names = {"upper": "upper", "work": "work", "tmpfs": "tmpfs_upper", "at": "merged"}
    for part in rest:
        name, equals, value = part.partition("=")
        if name not in names or not value or not equals:
            raise Unreadable("", f"{shown(part)} is no word of an overlay", "upper=DIR, work=DIR, tmpfs=SIZE, at=DIR")
        table[names[name]] = path(value) if name in ("upper", "work") else value
    return table


def file(word: str) -> dict[str, str]:
    """Return the table of ``SRC:DST``: a copy of the file."""
    source, _, target = word.partition(":")
    if not source or not target:
        raise Unreadable("", f"{shown(word)} names no two files", "write SRC:DST")
    return {"source": path(source), "path": target}


def symlink(word: str) -> dict[str, str]:
    """Return the table of ``TO:PATH``."""
    to, _, link = word.partition(":")
    if not to or not link:
        raise Unreadable("", f"{shown(word)} is no link", "write TO:PATH, as in usr/bin:/bin")
    return {"to": to, "path": link}


def network(word: str) -> Any:
    """Return the network of ``none``, ``loopback``, ``host``, ``pasta[:PORT,…]`` or ``veth:BRIDGE[,ADDRESS[,GATEWAY]]``."""
    kind, _, rest = word.partition(":")
    parts = listed(rest)
    if kind == "pasta":
        ports = [part for part in parts if not part.endswith("/udp")]
        return {"pasta": {"tcp": ports, "udp": [part.removesuffix("/udp") for part in parts if part not in ports]}}
    if kind == "veth":
        if not 1 <= len(parts) <= 3:
            raise Unreadable("", f"{shown(word)} names no bridge", "write veth:br0,10.0.0.2/24,10.0.0.1")
        bridge, *address = parts
        return {"veth": {"bridge": bridge, "address": address[:1], "gateway": address[1:]}}
    if word not in ("none", "loopback", "host"):
        raise Unreadable("", f"no network {shown(word)}", "write none, loopback, host, pasta[:PORT,…] or veth:BRIDGE,…")
    return word


def seccomp(word: str) -> dict[str, list[Any]]:
    """Return what a list of calls and sets says: ``@set`` allows, ``~call`` denies, ``call:EPERM`` answers so."""
    found: dict[str, list[Any]] = {}
    for part in listed(word):
        call, colon, answer = part.partition(":")
        if part.startswith("~"):
            found.setdefault("deny", []).append(part[1:])
        elif colon:
            found.setdefault("errno", []).append([call, answer])
        else:
            found.setdefault("allow", []).append(part)
    if not found:
        raise Unreadable("", "it names no system call", "write @system-service, or ~ptrace")
    return found


def capabilities(word: str) -> Any:
    """Return a list of capabilities: names, ``none`` for the empty one, or ``all``."""
    return "all" if word == "all" else [] if word == "none" else listed(word)


def id_map(word: str) -> dict[str, Any]:
    """Return a line of an id map, ``INSIDE:OUTSIDE[:COUNT]``."""
    parts = [number(part) for part in word.split(":")]
    if not 2 <= len(parts) <= 3:
        raise Unreadable("", f"{shown(word)} is no line of a map", "write INSIDE:OUTSIDE or INSIDE:OUTSIDE:COUNT")
    return dict(zip(("inside", "outside", "count"), parts, strict=False))
