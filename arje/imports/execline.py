"""As much of execlineb(1) as a service script needs: one chain of words, without blocks and substitutions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from arje.imports import chain
from arje.imports.chain import NotOurs
from arje.imports.draft import Draft, Place
from arje.imports.shell import Broken, Dynamic

_WORD: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s"{}#\\]|\\.|(?<=\S)#)+', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_LETTERS: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def is_execline(text: str) -> bool:
    """Whether a script is execlineb's, by its first line."""
    return text.startswith("#!") and "execlineb" in text.partition("\n")[0]


def words(text: str) -> list[tuple[str, int]]:
    """Return the words of a script, each with its line. Raises Dynamic for blocks and substitutions, Broken."""
    found: list[tuple[str, int]] = []
    at = 0
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        if text[at].isspace():
            at += 1
        elif text[at] == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif text[at] in "{}":
            raise Dynamic("a block", line)
        elif word := _WORD.match(text, at):
            plain = _plain(word[0])
            if "$" in plain and re.search(r"\$\{?\w", plain):
                raise Dynamic(f"the substitution {plain}", line)
            found.append((plain, line))
            at = word.end()
        else:
            raise Broken("a quote is never closed", line)
    return found


def _plain(word: str) -> str:
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"|((?:[^"\\]|\\.)+)', word, re.DOTALL)
    return "".join(_ESCAPE.sub(lambda m: _LETTERS.get(m[1], m[1]), quoted or bare) for quoted, bare in parts)


def take_apart(draft: Draft, file: Path, text: str) -> None:
    """Put one chain into a draft. Raises Dynamic, NotOurs, Broken."""
    found = words(text)
    if not found:
        raise NotOurs("it is empty")
    rest = [word for word, _ in found]
    while rest:
        place = Place(str(file), found[len(found) - len(rest)][1])
        before = len(rest)
        rest = (_on_check if rest[0] == "s6-notifyoncheck" else _one)(draft, place, rest)
        if len(rest) == before:
            chain.program(draft, place, rest, str(draft.fields.get("soma.chdir", "")))
            return
    raise NotOurs("nothing is run in the end")


def _one(draft: Draft, place: Place, words: list[str]) -> list[str]:
    link = chain.EXECLINE.get(words[0].rpartition("/")[2])
    return link(draft, place, words) if link else words


def _on_check(draft: Draft, place: Place, words: list[str]) -> list[str]:
    rest = words[1:]
    check = "./data/check"
    while rest and rest[0].startswith("-"):
        option, rest = rest[0], rest[1:]
        if option == "-c" and rest:
            check, rest = rest[0], rest[1:]
        elif option[:2] in ("-3", "-s", "-T", "-t", "-w", "-n") and len(option) == 2 and option != "-3":
            rest = rest[1:]
    command = str(Path(place.file).parent / check)
    why = "it is tried each 250 ms until it ends well, whatever the options say"
    draft.near(place, "s6-notifyoncheck", why, "supervision.readiness", {"exec": [command]})
    return rest
