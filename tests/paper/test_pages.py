"""What is made from the code is of today, whole, and what the readers of man pages accept."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from arje.card.schema import card_schema
from arje.card.specifiers import MEANINGS
from arje.ctl.everywhere import GLOBALS
from arje.ctl.verb import KINDS
from arje.ctl.verbs import VERBS
from arje.init import kernel_line, run, run_limits
from arje.init import main as manager
from arje.service.state import TRANSITIONS, State
from paper import outdated, screen
from tests.conftest import ROOT
from tests.test_linters import need

PAGES = sorted((ROOT / "docs/man").iterdir())


def read(page: str) -> str:
    """Return a page as a reader sees it, in one line."""
    words = [need("mandoc"), "-T", "utf8", "-O", "width=600", str(ROOT / "docs/man" / page)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return re.sub(r".\x08", "", said)


def test_what_is_made_from_the_code_is_of_today() -> None:
    assert outdated() == [], "make paper"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_and_man_have_nothing_to_say(page: Path) -> None:
    done = subprocess.run([need("mandoc"), "-T", "lint", "-W", "style", str(page)], capture_output=True, text=True)
    assert done.stdout + done.stderr == ""
    env = os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "80"}
    words = [need("man"), "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)]
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=True)
    assert done.stderr == ""


def test_every_field_of_a_card_is_on_its_page_and_in_the_reference() -> None:
    schema = card_schema()
    tables = [schema, *(each for each in schema["$defs"].values() if "properties" in each)]
    names = {name for table in tables for name in table["properties"]}
    page, reference = read("card.5"), (ROOT / "docs/card.md").read_text()
    headings = {words[0] for line in page.splitlines() if (words := line.split())}
    assert names - headings == set()
    assert {name for name in names if f"| `{name}` |" not in reference} == set()
    assert {letter for letter in MEANINGS if f"%{letter}" not in page} == set()


def test_every_verb_option_and_exit_code_is_on_arjectl_s_page() -> None:
    page, reference = read("arjectl.1"), (ROOT / "docs/arjectl.md").read_text()
    starts = [line.strip() for line in page.splitlines()]
    for name, verb in VERBS.items():
        assert any(line.startswith((f"{name} ", f"{name}\t")) or line == name for line in starts), name
        assert f"| `{name}" in reference
        for alias in verb.aliases:
            assert alias in page
        for option in (*verb.options, *GLOBALS):
            assert str(option) in page, option
            assert str(option).replace("|", "\\|") in reference
        for code in verb.codes:
            assert any(re.match(rf"{code}\s", line) for line in starts), code
    used = {each.kind for verb in VERBS.values() for each in (*verb.operands, *verb.options)}
    assert {kind for kind in used - {"flag", "choice", "text"} if KINDS[kind] not in page} == set()


@pytest.mark.parametrize(("page", "parser"), [("arje.8", manager.parser()), ("arje-run.1", run.parser())], ids=str)
def test_every_option_of_arje_is_on_its_page(page: str, parser: object) -> None:
    text = read(page)
    options = [name for action in parser._actions for name in action.option_strings]  # type: ignore[attr-defined]
    assert len(options) > 5
    assert {name for name in options if name not in text} == set()
    if page == "arje-run.1":
        for code in (run.USAGE, run.REFUSED, run.BROKEN, run.NOT_FOUND, run_limits.TIMED_OUT):
            assert re.search(rf"^\s+{code}\s", text, re.MULTILINE), code


def test_every_word_of_the_kernel_command_line_is_on_arje_s_page() -> None:
    text = read("arje.8")
    words = set(re.findall(r"``(arje\.\w+)=", kernel_line.__doc__ or ""))
    assert len(words) > 5
    assert {word for word in words if f"{word}=" not in text} == set()


def test_the_picture_of_the_states_has_every_state_and_the_page_every_transition() -> None:
    root = ElementTree.parse(ROOT / "docs/pictures/states.svg").getroot()
    texts = {each.text for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {state.value for state in State} <= texts
    page = (ROOT / "docs/states.md").read_text()
    for (state, event), following in TRANSITIONS.items():
        assert re.search(rf"\| `{state.value}` \| [^|]*\b{event.value}\b[^|]* \| `{following.value}` \|", page)


def test_the_screenshot_is_a_picture_of_a_status() -> None:
    root = ElementTree.parse(ROOT / "docs/pictures/status.svg").getroot()
    said = "".join(root.itertext())
    for card in (ROOT / "cards.d").glob("*.toml"):
        assert card.stem in said
    assert "granted" in said


def test_a_picture_keeps_columns_colours_and_what_xml_would_read_as_its_own() -> None:
    picture = ElementTree.fromstring(screen.svg("x", "\x1b[32mgreen\x1b[0m <&> \x1b[1mbold\x1b[0m\nnext"))
    texts = list(picture.iter("{http://www.w3.org/2000/svg}text"))
    assert [each.text for each in texts] == ["$ x", "green", " <&> ", "bold", "next"]
    assert texts[1].get("fill") == "#7ee787"
    assert float(texts[3].get("x") or 0) - float(texts[1].get("x") or 0) == 10 * 8
