"""The ancestor's ``permissions``: isolation said in a few words, compiled into the parts of a soma that they mean.

A word is the wish; what the soma says itself is more exact and wins. A soma that says the opposite is a contradiction, and
a problem that names both. Shapes that are no word (the ancestor's may be any) are kept and shown, and enforce nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from arje.card.nearest import nearest
from arje.card.unreadable import Unreadable, shown

Table = dict[str, Any]


class Meant(NamedTuple):
    """What a word means: the soma's ``network``, and the features that may degrade because the word says so."""

    network: dict[str, Any]
    prefer: tuple[str, ...] = ()


#: Word → what it means. ``outbound``: connections go out and none comes in, which is what pasta does without a port; where
#: it cannot be had the service has the host's network, and a degradation says so.
NETWORKING: Final = {
    "none": Meant({"mode": "none"}),
    "loopback": Meant({"mode": "loopback"}),
    "outbound": Meant({"pasta": {"fallback": "host"}}, ("network.pasta",)),
    "full": Meant({"mode": "host"}),
}
#: Words from the narrowest to the widest; a list means its widest.
_ORDER: Final = {
    "networking": tuple(NETWORKING),
    "filesystem": ("none", "read-only", "read-write"),
    "ipc": ("none", "full"),
    "processes": ("none", "full"),
}
#: Other ways to say them.
_ALSO: Final[dict[str, dict[str, str]]] = {
    "networking": {"host": "full", "localhost": "loopback"},
    "filesystem": {"ro": "read-only", "rw": "read-write", "full": "read-write"},
    "ipc": {"private": "none", "own": "none", "host": "full", "shared": "full"},
    "processes": {"private": "none", "own": "none", "host": "full", "shared": "full", "all": "full"},
}
#: Of the host's files, what programs need to run at all: shown read-only where ``filesystem`` is ``none``.
_PROGRAMS: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/etc/ld.so.cache")


def networking(word: str) -> Meant:
    """Return what a word of ``permissions.networking`` means. Raises KeyError with the nearest right word, or nothing."""
    try:
        return NETWORKING[word]
    except (KeyError, TypeError):
        raise KeyError(nearest(str(word), NETWORKING) or "") from None


def word_of(name: str, value: Any) -> str | int | None:
    """Return the word that a permission says, a number of ``processes``, or None for a shape that enforces nothing.

    True is the widest word, false the narrowest. Raises Unreadable for a word that is not known.
    """
    if isinstance(value, bool):
        return _ORDER[name][-1 if value else 0]
    if isinstance(value, str):
        return _known(name, value)
    if name == "processes":
        if isinstance(value, dict) and len(value) == 1:
            value = next((value[key] for key in ("max", "limit") if key in value), value)
        if isinstance(value, int) and not isinstance(value, bool):
            if not 1 <= value <= 2**22:  # the kernel's own limit of pids
                raise Unreadable(f"permissions.{name}", f"{value} processes", f"write a number from 1 to {2**22}")
            return value
    if isinstance(value, list) and value and all(isinstance(item, str) and not item.startswith("/") for item in value):
        words = [_known(name, item) for item in value]
        return max(words, key=_ORDER[name].index)
    return None


def _known(name: str, value: str) -> str:
    plain = value.strip().lower().replace("_", "-").replace(" ", "-")
    plain = plain.replace("readonly", "read-only").replace("readwrite", "read-write")
    word = _ALSO[name].get(plain, plain)
    if word not in _ORDER[name]:
        near = nearest(plain, (*_ORDER[name], *_ALSO[name]))
        remedy = f"did you mean {near!r}?" if near else f"write {', '.join(_ORDER[name])}"
        raise Unreadable(f"permissions.{name}", f"no {name} {shown(value)}", remedy)
    return word


def words(permissions: Any) -> dict[str, str]:
    """Return what the permissions of a card mean, a word each; a shape that enforces nothing says so."""
    said = {name: getattr(permissions, name) for name in _MEANS}
    meant = {name: word_of(name, value) for name, value in said.items() if value is not None}
    return {name: f"{shown(said[name])} (not enforced)" if word is None else str(word) for name, word in meant.items()}


def compiled(card: Table, wrong: list[Unreadable]) -> Table:
    """Return a card's table with its permissions compiled into its soma, whose shorthand is spelled out already.

    What is not known or contradicts the soma is told in ``wrong``.
    """
    asked = card.get("permissions")
    if not isinstance(asked, dict):
        return card
    soma: Table = dict(card["soma"]) if isinstance(card.get("soma"), dict) else {}
    for name, means in _MEANS.items():
        try:
            word = word_of(name, asked.get(name))
        except Unreadable as error:
            wrong.append(error)
            continue
        if word is None:
            continue
        said = [place for place, opposite in _opposites(name, word, soma) if opposite]
        if said:
            message = f"{shown(word)} is contradicted by {' and '.join(said)}"
            wrong.append(Unreadable(f"permissions.{name}", message, "keep one of them"))
        else:
            means(soma, word, card.get("payload"))
    return card | {"soma": soma} if soma else card


def _says(soma: Table, place: str, *values: Any) -> tuple[str, bool]:
    """Whether the soma itself says one of the values at a place."""
    table, _, name = place.rpartition(".")
    inside = soma.get(table) if table else soma
    return f"soma.{place}", isinstance(inside, dict) and name in inside and inside[name] in values


def _opposites(name: str, word: str | int, soma: Table) -> Iterator[tuple[str, bool]]:
    """Yield each place of the soma that could say the opposite, and whether it does."""
    if name == "networking":
        network = soma.get("network")
        mode = (
            ("veth" if "veth" in network else "pasta" if "pasta" in network else network.get("mode")) if network else ""
        )
        good = {
            "none": ("none",),
            "loopback": ("loopback",),
            "outbound": ("pasta", "veth"),
            "full": ("host", "veth", "pasta"),
        }
        yield "soma.network", bool(network) and mode not in good[str(word)]
        yield (
            _says(soma, "namespaces.net", word == "full" and not network)
            if word == "full"
            else _says(soma, "namespaces.net", False)
        )
    elif name == "filesystem" and word == "read-write":
        yield _says(soma, "read_only_root", True)
    elif name == "filesystem":
        yield _says(soma, "namespaces.mount", False)
        yield _says(soma, "read_only_root", False)
        if word == "none":
            yield from ((f"soma.{root}", bool(soma.get(root))) for root in ("root", "overlay", "pivot_root"))
    elif name == "ipc":
        yield _says(soma, "namespaces.ipc", word == "full")
    elif isinstance(word, int):
        place, said = "soma.cgroup.pids_max", _table(soma, "cgroup").get("pids_max", word)
        yield place, said != word
    else:
        yield _says(soma, "namespaces.pid", word == "full")
        if word == "none":
            yield _says(soma, "namespaces.mount", False)


# -- what the words mean -----------------------------------------------------------------------------------------------


def _networking(soma: Table, word: str | int, payload: Any) -> None:
    meant = networking(str(word))
    if not soma.get("network"):
        soma["network"] = dict(meant.network)
        if isinstance(prefer := soma.get("prefer", []), list) and not _named(soma, meant.prefer):
            soma["prefer"] = [*prefer, *meant.prefer]


def _named(soma: Table, features: tuple[str, ...]) -> bool:
    """Whether the soma itself says whether it can live without these."""
    lists = [soma.get(of) for of in ("require", "prefer")]
    return any(feature in names for names in lists if isinstance(names, list) for feature in features)


def _table(soma: Table, name: str) -> Table:
    found = soma.get(name)
    return found if isinstance(found, dict) else {}


def _filesystem(soma: Table, word: str | int, payload: Any) -> None:
    if word == "read-write":
        return
    _spaces(soma, "mount")
    soma.setdefault("read_only_root", True)
    if word == "none":
        program = payload.get("exec") if isinstance(payload, dict) else None
        shows = [*_PROGRAMS]
        if (
            isinstance(program, str)
            and program.startswith("/")
            and not program.startswith(tuple(f"{p}/" for p in shows))
        ):
            shows.append(program)
        binds, tmpfs = soma.get("binds", []), soma.get("tmpfs", [])
        own = {bind.get("target") or bind.get("source") for bind in binds if isinstance(bind, dict)}
        soma["tmpfs"] = [{"target": "/"}, *tmpfs]
        soma["binds"] = [
            *(
                {"source": path, "target": path, "read_only": True, "optional": True}
                for path in shows
                if path not in own
            ),
            *binds,
        ]
        soma.setdefault("dev", "minimal")


def _ipc(soma: Table, word: str | int, payload: Any) -> None:
    if word == "none":
        _spaces(soma, "ipc")


def _processes(soma: Table, word: str | int, payload: Any) -> None:
    if word == "none":
        _spaces(soma, "pid", "mount")
    elif isinstance(word, int) and isinstance(soma.get("cgroup", {}), dict):
        soma["cgroup"] = {"pids_max": word} | _table(soma, "cgroup")


def _spaces(soma: Table, *kinds: str) -> None:
    known = soma.get("namespaces", {})
    if isinstance(known, dict):
        soma["namespaces"] = dict.fromkeys(kinds, True) | known


_MEANS: Final[dict[str, Callable[[Table, str | int, Any], None]]] = {
    "networking": _networking,
    "filesystem": _filesystem,
    "ipc": _ipc,
    "processes": _processes,
}
