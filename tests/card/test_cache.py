"""Compiled cards: what comes back is what went in, what has changed is judged again, and no strange file is believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card import cache
from arje.card.card import Card, Part, Source
from arje.card.loader import Loaded
from arje.card.shelf import Memory, load_dirs
from arje.errors import CardProblem
from tests.conftest import ROOT, needs_root

CARDS = ROOT / "cards.d"


def loaded(memory: Memory, *directories: Path) -> Loaded:
    return load_dirs(directories, memory)


def compiled(tmp_path: Path, *directories: Path) -> Path:
    memory = Memory()
    loaded(memory, *directories)
    cache.save(tmp_path / "cache", memory.known)
    return tmp_path / "cache"


def test_every_example_comes_back_equal_with_the_line_of_every_field(tmp_path: Path) -> None:
    fresh, memory = Memory(), Memory()
    expected = loaded(fresh, CARDS)
    memory.known = cache.load(compiled(tmp_path, CARDS))
    found = loaded(memory, CARDS)
    assert memory.judged == 0
    assert found.cards == expected.cards
    assert [card.source for card in found.cards] == [card.source for card in expected.cards]


def test_what_is_wrong_with_a_card_comes_back_as_well(tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "bad.toml").write_text("\n[payload]\nexec = 5\n")
    memory = Memory()
    memory.known = cache.load(compiled(tmp_path, tmp_path / "cards"))
    (problem,) = loaded(memory, tmp_path / "cards").problems
    assert (memory.judged, problem.line, problem.field) == (0, 3, "payload.exec")


TEXTS = st.text(max_size=8)
KEPT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(
    extensions=KEPT,
    texts=st.lists(TEXTS, max_size=3),
    lines=st.dictionaries(TEXTS, st.integers(0), max_size=4),
    owners=st.dictionaries(TEXTS, st.integers(0), max_size=4),
    parts=st.lists(st.builds(Part, TEXTS, TEXTS), max_size=3),
)
def test_whatever_a_card_holds_comes_back_equal(
    extensions: Any, texts: list[str], lines: dict[str, int], owners: dict[str, int], parts: list[Part]
) -> None:
    source = Source(file="f", lines=lines, owners=owners, parts=tuple(parts))
    card = Card(label="x", extensions=extensions, requires=tuple(texts), lineage=tuple(texts) or None, source=source)
    whole = Loaded((card,), (CardProblem("f", 1, "a", "b"),))
    found = cache.decode(json.loads(json.dumps(cache.encode(whole))))
    assert found == whole
    assert found.cards[0].source == source
    assert repr(found) == repr(whole)


def test_only_what_has_changed_is_judged_again(tmp_path: Path) -> None:
    cards = tmp_path / "cards"
    (cards / "a.card.d").mkdir(parents=True)
    for name in "abc":
        (cards / f"{name}.toml").write_text('payload = "virtual"\n')
    memory = Memory()
    loaded(memory, cards)
    assert memory.judged == 3
    (cards / "b.toml").write_text('description = "b"\npayload = "virtual"\n')
    (cards / "a.card.d" / "x.toml").write_text('description = "a"\n')
    assert {card.label: card.description for card in loaded(memory, cards).cards} == {"a": "a", "b": "b", "c": ""}
    assert memory.judged == 2
    (cards / "a.card.d" / "x.toml").unlink()
    assert {card.label: card.description for card in loaded(memory, cards).cards} == {"a": "", "b": "b", "c": ""}


def test_another_host_name_is_another_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web@.toml").write_text('copies = 1\ndescription = "%h"\npayload = "virtual"\n')
    monkeypatch.setenv("HOME", "/one")
    memory = Memory()
    assert loaded(memory, tmp_path).cards[0].description == "/one"
    monkeypatch.setenv("HOME", "/two")
    assert loaded(memory, tmp_path).cards[0].description == "/two"


def test_an_unchanged_set_imports_no_pydantic(tmp_path: Path) -> None:
    file = compiled(tmp_path, CARDS)
    script = f"""
import sys
from pathlib import Path
import arje.supervisor.door
from arje.card import cache
from arje.card.shelf import Memory, load_dirs
memory = Memory()
memory.known = cache.load(Path({str(file)!r}))
assert len(load_dirs([Path({str(CARDS)!r})], memory).cards) > 5 and not memory.judged
assert "pydantic" not in sys.modules, "pydantic was imported"
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def refused(file: Path) -> str:
    with pytest.raises(cache.NoCache) as caught:
        cache.load(file)
    return str(caught.value)


def test_a_file_that_is_cut_or_changed_anywhere_is_no_cache(tmp_path: Path) -> None:
    file = compiled(tmp_path, CARDS)
    data = file.read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:cut])
        assert "corrupt" in refused(file)
    for place in (3, 80, 150, len(data) // 2, len(data) - 2):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert "corrupt" in refused(file)


def test_a_cache_of_another_arje_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = compiled(tmp_path, CARDS)
    monkeypatch.setattr(cache, "fingerprint", lambda: "another")
    assert "of another arje" in refused(file)


@pytest.mark.parametrize(
    "body",
    [
        '{"k": ["c", "os:system", {}]}',
        '{"k": ["c", "arje.card.loader:load_text", {}]}',
        '{"k": ["c", "arje.card.cache:os", {}]}',
        '{"k": ["c", "arje.card.card:Card", {"no": 1}]}',
        '{"k": ["c", "arje.card.nowhere:Card", {}]}',
        '{"k": ["e", "arje.card.supervision:Kind", "no"]}',
        '{"k": ["?"]}',
        '{"k": []}',
        "[]",
    ],
)
def test_even_a_file_with_the_right_sum_can_name_nothing_but_what_cards_are_made_of(tmp_path: Path, body: str) -> None:
    file = tmp_path / "cache"
    file.write_bytes(cache._head(body.encode()) + b"\n" + body.encode())
    file.chmod(0o600)
    assert "corrupt" in refused(file)


def test_a_file_that_others_can_write_a_link_a_fifo_and_a_directory_are_no_caches(tmp_path: Path) -> None:
    file = compiled(tmp_path, CARDS)
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o620)
    assert "nobody else can write" in refused(file)
    file.chmod(0o600)
    (tmp_path / "link").symlink_to(file)
    assert "cannot be read" in refused(tmp_path / "link")
    os.mkfifo(tmp_path / "fifo")
    assert "not a file of our own" in refused(tmp_path / "fifo")
    assert "not a file of our own" in refused(tmp_path) or "cannot be read" in refused(tmp_path)
    assert "none yet" in refused(tmp_path / "missing")


@needs_root
def test_a_file_of_another_user_is_no_cache(tmp_path: Path) -> None:
    file = compiled(tmp_path, CARDS)
    os.chown(file, 65534, 65534)
    assert "not a file of our own" in refused(file)


def test_reading_it_takes_no_more_memory_than_it_has_bytes(tmp_path: Path) -> None:
    file = compiled(tmp_path, CARDS)
    script = f"""
import resource
from pathlib import Path
from arje.card import cache
resource.setrlimit(resource.RLIMIT_AS, (160 << 20, 160 << 20))
assert cache.load(Path({str(file)!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
