"""The documents are true: what they run says what they say, their cards are good, and what they name is there."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from arje.card.loader import load_text
from arje.card.schema import card_schema
from arje.ctl.arguments import UsageError, parse
from paper.transcript import blocks, commands, matches, play
from tests.conftest import ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))
PLAYED = [path for path in DOCS if any(block.language == "console" for block in blocks(path.read_text()))]
WRITTEN = [path for path in DOCS if not path.read_text().startswith("<!-- Made by")]


@pytest.mark.parametrize("document", PLAYED, ids=lambda path: path.stem)
def test_every_command_says_what_the_document_says(document: Path, place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root is needed: documents are played in a network of their own")
    wrong = [f"$ {each.command}\n{each.got}" for each in play(document, place / "doc") if not each.right]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("document", WRITTEN, ids=lambda path: path.stem)
def test_every_card_is_good_or_is_meant_to_be_bad(document: Path) -> None:
    for number, block in enumerate(blocks(document.read_text())):
        if block.language == "toml" and "restrat" not in block.text:
            loaded = load_text(Path(f"/cards/{document.stem}-{number}.toml"), block.text)
            assert loaded.problems == (), block.text


def named(text: str) -> list[str]:
    """Return what a document says between backquotes, outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def simple(words: str) -> list[list[str]]:
    """Return the simple commands of a line, as a shell splits it."""
    found: list[list[str]] = [[]]
    lexer = shlex.shlex(words, posix=True, punctuation_chars=";|&<>()")
    lexer.whitespace_split = True
    for word in lexer:
        if word[0] in ";|&<>()":
            found.append([])
        else:
            found[-1].append(word)
    return found


def can_be_typed(words: list[str]) -> bool:
    """Return whether arjectl knows these words; a verb that is only mentioned may lack its operands."""
    try:
        parse(words)
    except UsageError as error:
        return "missing" in str(error)
    return True


@pytest.mark.parametrize("document", WRITTEN, ids=lambda path: path.stem)
def test_every_arjectl_command_can_be_typed(document: Path) -> None:
    text = document.read_text()
    spoken = [words for words in named(text) if words.startswith("arjectl ")]
    spoken += [line for block in blocks(text) if block.language == "console" for line, _ in commands(block.text)]
    for words in spoken:
        for typed in simple(words.replace("…", "x")):
            if typed[:1] == ["arjectl"] and "VERB" not in typed:
                assert can_be_typed(typed[1:]), words


@pytest.mark.parametrize("document", WRITTEN, ids=lambda path: path.stem)
def test_every_field_that_is_named_is_one(document: Path) -> None:
    schema = card_schema()
    tops = schema["properties"]

    def below(place: str) -> set[str]:
        found = str(tops[place])
        return {
            name for ref in re.findall(r"#/\$defs/(\w+)'", found) for name in schema["$defs"][ref].get("properties", {})
        }

    for words in named(document.read_text()):
        top, dot, field = words.partition(".")
        if dot and top in tops and re.fullmatch(r"[a-z_]+", field):
            assert field in below(top), words


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.stem)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text()
    headings = {
        re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = link.partition("#")
        if file:
            assert (document.parent / file).exists(), link
        else:
            assert anchor in headings, link


def test_the_containerfile_in_the_document_is_the_one_that_is_built() -> None:
    recipe = (ROOT / "ship/Containerfile").read_text()
    (shown,) = [
        block.text for block in blocks((ROOT / "docs/containers.md").read_text()) if block.language == "dockerfile"
    ]
    assert recipe.endswith(shown)


def test_the_unit_in_the_document_and_its_card_say_the_same() -> None:
    text = (ROOT / "docs/from-systemd.md").read_text()
    unit, card = (block.text for block in blocks(text) if block.language in ("ini", "toml"))
    for word in ("/usr/bin/front", "8080", "live", "www-data", "256M", "4096", "@system-service", "Front end"):
        assert word in unit
        assert word in card


@pytest.mark.parametrize(
    ("expected", "got", "right"),
    [
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a\nc\n", False),
        ("a\n…\nb\n", "a\nx\ny\nb\n", True),
        ("a\n…\nb\n", "a\nb\n", True),
        ("a\n", "a", True),
        ("a\n", "a\nb\n", False),
        ("", "", True),
        ("", "x\n", False),
    ],
)
def test_three_dots_stand_for_anything(expected: str, got: str, right: bool) -> None:
    assert matches(expected, got) is right
