"""Programs that change their own process and then become the next one: what chpst(8), s6-setuidgid, env and nice ask for.

A card says the same in its soma; the chain is taken apart from the left until the first word that is none of these.
"""

from __future__ import annotations

import getopt
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

from arje.card.soma import RLIMITS
from arje.imports.draft import Draft, Place

_ONE: Final = "arje itself sees to it that only one of it runs"
_CHPST_LIMITS: Final = {"d": "data", "o": "nofile", "p": "nproc", "f": "fsize", "c": "core", "r": "rss", "t": "cpu"}
_SOFT_LIMITS: Final = {
    "a": "as",
    "c": "core",
    "d": "data",
    "f": "fsize",
    "l": "memlock",
    "o": "nofile",
    "p": "nproc",
    "r": "rss",
    "s": "stack",
    "t": "cpu",
}


class NotOurs(ValueError):
    """A chain that says what no card can; the text says what."""


Link = Callable[[Draft, Place, list[str]], list[str]]


def unchain(draft: Draft, place: Place, words: list[str]) -> list[str]:
    """Return the words of the program that is run in the end; what comes before goes into the draft. Raises NotOurs."""
    while words and (link := LINKS.get(PurePosixPath(words[0]).name)):
        words = link(draft, place, words)
    return words


def program(draft: Draft, place: Place, words: list[str], base: str = "") -> None:
    """Set what runs. A relative path is one below ``base``."""
    if not words:
        raise NotOurs("nothing is run in the end")
    path = words[0]
    if "/" in path and not path.startswith("/") and base:
        path = str(PurePosixPath(base, path))
    draft.kept(place, f"run {words[0]}", "payload.exec", path)
    if words[1:]:
        draft.fields["payload.argv"] = words[1:]


def limit(draft: Draft, place: Place, what: str, name: str, amount: str) -> None:
    """Set a resource limit, hard and soft."""
    if name not in RLIMITS:
        raise NotOurs(f"{what}: {name} is no limit")
    number = "infinity" if amount in ("unlimited", "=", "-") else int(amount) if amount.isdecimal() else amount
    draft.merge(place, what, "soma.rlimits", {name: number})


def user(draft: Draft, place: Place, what: str, text: str) -> None:
    """Set who it runs as, ``user``, ``user:group`` or ``:uid:gid``; further groups are a card's own table."""
    names = text.lstrip(":").split(":")
    if names[2:]:
        table = {"user": _id(names[0]), "group": _id(names[1]), "groups": [_id(name) for name in names[2:]]}
        draft.kept(place, what, "soma.run_as", table)
    elif text.startswith(":") or any(name.isdecimal() for name in names):
        draft.kept(place, what, "soma.run_as", dict(zip(("user", "group"), map(_id, names), strict=False)))
    else:
        draft.kept(place, what, "soma.run_as", ":".join(names))


def environment_of(directory: Path) -> dict[str, str]:
    """Return the variables of an environment directory (envdir(8)). Raises OSError."""
    found = {}
    for file in sorted(directory.iterdir()):
        if file.name.startswith(".") or "=" in file.name or not file.is_file():
            continue
        with file.open("rb") as stream:
            first = stream.readline(64 * 1024)
        if first:
            found[file.name] = first.decode(errors="replace").rstrip("\n\t ").replace("\0", "\n")
    return found


def _id(name: str) -> str | int:
    return int(name) if name.isdecimal() else name


def _options(words: list[str], known: str) -> tuple[list[tuple[str, str]], list[str]]:
    try:
        found, rest = getopt.getopt(words[1:], known)
    except getopt.GetoptError as error:
        raise NotOurs(f"{words[0]}: {error}") from error
    return [(name[1:], value) for name, value in found], rest


def _chpst(draft: Draft, place: Place, words: list[str]) -> list[str]:
    options, rest = _options(words, "u:U:b:e:m:d:o:p:f:c:r:t:/:n:l:L:C:vP012V")
    for name, given in options:
        what = f"chpst -{name} {given}".strip()
        if name == "u":
            user(draft, place, what, given)
        elif name in _CHPST_LIMITS:
            limit(draft, place, what, _CHPST_LIMITS[name], given)
        elif name == "m":
            for each in ("data", "stack", "memlock", "as"):
                limit(draft, place, what, each, given)
        elif name == "e":
            _directory(draft, place, what, given)
        else:
            _chpst_rest(draft, place, name, what, given)
    return rest


def _chpst_rest(draft: Draft, place: Place, name: str, what: str, given: str) -> None:
    if name == "b":
        draft.kept(place, what, "payload.argv0", given)
    elif name == "/":
        draft.kept(place, what, "soma.root", given)
        draft.kept(place, what, "soma.namespaces", ["mount"])
    elif name == "C":
        draft.kept(place, what, "soma.chdir", given)
    elif name == "n":
        draft.kept(place, what, "soma.nice", int(given))
    elif name in "lL":
        draft.near(place, what, f"no lock file is held; {_ONE}")
    elif name == "P":
        draft.kept(place, what, "soma.new_session", True)
    elif name in "012":
        stream = ("stdin", "stdout", "stderr")[int(name)]
        draft.near(place, what, "it is not closed, it leads to /dev/null", f"soma.stdio.{stream}", "null")
    elif name == "U":
        draft.lost(place, what, "a card sets no UID and GID variables; write them into payload.env")


def _directory(draft: Draft, place: Place, what: str, given: str) -> None:
    base = Path(draft.fields.get("soma.chdir", "") or Path(place.file).parent)
    try:
        found = environment_of(base / given)
    except OSError as error:
        raise NotOurs(f"{what}: {error.strerror}") from error
    why = "its files were read now, and are not read again at each start"
    draft.merge(place, what, "payload.env", found, why)


def _softlimit(draft: Draft, place: Place, words: list[str]) -> list[str]:
    options, rest = _options(words, "hHa:c:d:f:l:m:o:p:r:s:t:")
    for name, given in options:
        what = f"{words[0]} -{name} {given}".strip()
        if name == "m":
            for each in ("data", "stack", "memlock", "as"):
                limit(draft, place, what, each, given)
        elif name in _SOFT_LIMITS:
            limit(draft, place, what, _SOFT_LIMITS[name], given)
    return rest


def _setuidgid(draft: Draft, place: Place, words: list[str]) -> list[str]:
    options, rest = _options(words, "inN")
    if options or not rest:
        raise NotOurs(f"{words[0]} with options")
    user(draft, place, f"{words[0]} {rest[0]}", rest[0])
    return rest[1:]


def _envdir(draft: Draft, place: Place, words: list[str]) -> list[str]:
    _, rest = _options(words, "iIfFnNLlcv:C:")
    if not rest:
        raise NotOurs(f"{words[0]} without a directory")
    _directory(draft, place, f"{words[0]} {rest[0]}", rest[0])
    return rest[1:]


def _setlock(draft: Draft, place: Place, words: list[str]) -> list[str]:
    _, rest = _options(words, "nNxXrswt:d:")
    draft.near(place, f"{words[0]} {' '.join(rest[:1])}", f"no lock file is held; {_ONE}")
    return rest[1:]


def _env(draft: Draft, place: Place, words: list[str]) -> list[str]:
    rest = words[1:]
    while rest and re.fullmatch(r"[A-Za-z_]\w*=.*", rest[0], re.DOTALL):
        name, _, given = rest[0].partition("=")
        draft.merge(place, f"env {name}", "payload.env", {name: given})
        rest = rest[1:]
    if rest and rest[0].startswith("-"):
        raise NotOurs(f"env {rest[0]}")
    return rest


def _nice(draft: Draft, place: Place, words: list[str]) -> list[str]:
    found = re.match(r"nice (?:(?:-n ?|--adjustment=|-)(-?\d+) )?", " ".join(["nice", *words[1:]]) + " ")
    skip = len(found[0].split()) if found else 1
    level = int(found[1]) if found and found[1] else 10
    draft.kept(place, " ".join(words[:skip]), "soma.nice", level)
    return words[skip:]


def _plain(draft: Draft, place: Place, words: list[str]) -> list[str]:
    draft.kept(place, words[0])
    rest = words[1:]
    while rest and rest[0].startswith("-"):
        if words[0] == "exec" and rest[0] == "-a":
            raise NotOurs("exec -a")
        rest = rest[1:]
    return rest


def _fdmove(draft: Draft, place: Place, words: list[str]) -> list[str]:
    if words[1:4] not in (["-c", "2", "1"], ["-c", "1", "2"]):
        raise NotOurs(" ".join(words[:4]))
    draft.kept(place, "fdmove -c 2 1", "soma.stdio.stderr", "log")
    return words[4:]


def _cd(draft: Draft, place: Place, words: list[str]) -> list[str]:
    draft.kept(place, f"cd {words[1]}", "soma.chdir", words[1])
    return words[2:]


def _umask(draft: Draft, place: Place, words: list[str]) -> list[str]:
    draft.kept(place, f"umask {words[1]}", "soma.umask", words[1])
    return words[2:]


def _export(draft: Draft, place: Place, words: list[str]) -> list[str]:
    draft.merge(place, f"export {words[1]}", "payload.env", {words[1]: words[2]})
    return words[3:]


def _runuser(draft: Draft, place: Place, words: list[str]) -> list[str]:
    if len(words) < 4 or words[1] != "-u":
        raise NotOurs(" ".join(words[:3]))
    user(draft, place, " ".join(words[:3]), words[2])
    return words[4:] if words[3] == "--" else words[3:]


def _guarded(link: Link) -> Link:
    """A chain that ends in the middle is none of ours."""

    def guarded(draft: Draft, place: Place, words: list[str]) -> list[str]:
        try:
            return link(draft, place, words)
        except (IndexError, ValueError) as error:
            raise NotOurs(f"{words[0]}: {error}") from error

    return guarded


LINKS: Final[dict[str, Link]] = {
    name: _guarded(link)
    for names, link in (
        (("chpst",), _chpst),
        (("softlimit", "s6-softlimit"), _softlimit),
        (("setuidgid", "s6-setuidgid", "su-exec", "gosu"), _setuidgid),
        (("envdir", "s6-envdir"), _envdir),
        (("setlock", "s6-setlock"), _setlock),
        (("env",), _env),
        (("nice",), _nice),
        (("exec", "setsid", "s6-setsid", "nohup"), _plain),
        (("runuser",), _runuser),
    )
    for name in names
}
#: What only execline has as programs of their own; in a shell they are built in.
EXECLINE: Final[dict[str, Link]] = LINKS | {
    "fdmove": _guarded(_fdmove),
    "cd": _guarded(_cd),
    "umask": _guarded(_umask),
    "s6-umask": _guarded(_umask),
    "export": _guarded(_export),
}


def unchain_execline(draft: Draft, place: Place, words: list[str]) -> list[str]:
    """As :func:`unchain`, for the words of an execline script."""
    while words and (link := EXECLINE.get(PurePosixPath(words[0]).name)):
        words = link(draft, place, words)
    return words
