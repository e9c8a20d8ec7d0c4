"""Drop-ins over a card: tables deep, the rest replaced, lists longer when asked for; and every field's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card.loader import load_text, parse
from arje.card.merge import Document, Merged, merge


def document(text: str, name: str = "x.toml") -> Document:
    parsed = parse(Path(name), text)
    assert isinstance(parsed, tuple), parsed
    return parsed[0]


def merged(*texts: str) -> Merged:
    return merge([document(text, f"{number}.toml") for number, text in enumerate(texts)])


def test_tables_are_merged_deep_and_lists_replaced() -> None:
    found = merged(
        "[soma]\nbinds = ['/a', '/b']\nrlimits = {nofile = 1}", "[soma]\nbinds = ['/c']\nrlimits = {core = 0}"
    )
    assert found.raw == {"soma": {"binds": ["/c"], "rlimits": {"nofile": 1, "core": 0}}}
    assert "soma.binds.1" not in found.lines


def test_append_adds_to_a_list_and_makes_one_that_is_not_there() -> None:
    found = merged("requires = ['a']", "[append]\nrequires = ['b']\n[append.soma]\nbinds = ['/c']")
    assert found.raw == {"requires": ["a", "b"], "soma": {"binds": ["/c"]}}
    assert (found.lines["requires.1"], found.owners["requires.1"], found.owners["soma.binds"]) == (2, 1, 1)


def test_reset_takes_a_field_out_before_anything_is_merged() -> None:
    found = merged(
        "[soma]\nseccomp = 'x'\nbinds = ['/a']", "reset = ['soma.seccomp', 'soma.binds']\nsoma.binds = ['/b']"
    )
    assert found.raw == {"soma": {"binds": ["/b"]}}


@pytest.mark.parametrize(
    ("card", "dropin", "soma"),
    [
        ("namespaces = ['mount', 'pid']", "namespaces.net = true", {"namespaces": {"mount", "pid", "net"}}),
        ("namespaces = 'minimal'", "namespaces.net = false", {"namespaces": {"pid", "mount", "cgroup"}}),
    ],
)
def test_a_table_over_a_shorthand_is_merged_with_what_that_means(card: str, dropin: str, soma: dict[str, Any]) -> None:
    found = merged(f"[soma]\n{card}", f"[soma]\n{dropin}").raw["soma"]["namespaces"]
    assert {name for name, on in found.items() if on} == soma["namespaces"]


@pytest.mark.parametrize(
    ("dropin", "said"),
    [
        ("label = 'y'", "1.toml:1: label: a drop-in gives no label"),
        ("append = 1", "1.toml:1: append: 1 is not a table"),
        ("\n[append]\ndescription = ['x']", "1.toml:3: append.description: description is no list in the card"),
        ("[append]\nrequires = 'x'", "1.toml:2: append.requires: 'x' is no list"),
        ("[append]\nsoma = ['x']", "1.toml:2: append.soma: soma is a table in the card"),
        ("reset = 'soma'", "1.toml:1: reset: 'soma' is no list of fields"),
        ("reset = ['description',\n'soma.seccom']", "1.toml:2: reset.1: no such field: soma.seccom (did you mean"),
    ],
)
def test_what_a_drop_in_cannot_say_is_a_problem_with_its_place(dropin: str, said: str) -> None:
    (problem,) = merged("description = 'd'\nrequires = ['a']\n[soma]\numask = '022'", dropin).problems
    assert str(problem).startswith(said)


@pytest.mark.parametrize("word", ["append = {}", "reset = []"])
def test_the_words_of_drop_ins_are_no_fields_of_a_card(word: str) -> None:
    (problem,) = load_text(Path("x.toml"), f"payload = 'virtual'\n{word}").problems
    assert (problem.line, problem.message) == (2, "no such field")


LEAVES = st.integers() | st.booleans() | st.text(max_size=3) | st.lists(st.integers(), max_size=3)
TABLES = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), LEAVES | inner, max_size=3),
    max_leaves=8,
)


def lines_of(value: Any, path: str = "", line: int = 1) -> dict[str, int]:
    """Give every field of a table a line of its own."""
    found: dict[str, int] = {}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        own = f"{path}.{key}" if path else str(key)
        found[own] = line + len(found)
        found |= lines_of(item, own, line + len(found))
    return found


def plain(number: int, raw: dict[str, Any]) -> Document:
    return Document(f"{number}.toml", "", raw, lines_of(raw))


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in leaves(item, f"{path}.{key}".lstrip(".")).items()}
    return {path: value}


@given(st.lists(TABLES, min_size=1, max_size=4))
def test_of_every_leaf_the_last_word_counts_and_its_place_is_that_file_s(tables: list[dict[str, Any]]) -> None:
    documents = [plain(number, table) for number, table in enumerate(tables)]
    found = merge(documents)
    assert found.problems == []
    for path, value in leaves(found.raw).items():
        owner = documents[found.owners.get(path, 0)]
        assert leaves(owner.raw)[path] == value
        assert found.lines[path] == owner.lines[path]
    assert {path for path in found.lines if path} >= set(leaves(found.raw))


@given(TABLES, TABLES, TABLES)
def test_merging_is_the_same_in_one_step_and_in_two(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    whole = merge([plain(0, a), plain(1, b), plain(2, c)]).raw
    step = merge([plain(0, merge([plain(0, a), plain(1, b)]).raw), plain(1, c)]).raw
    assert whole == step


@given(TABLES)
def test_a_table_over_itself_changes_nothing(table: dict[str, Any]) -> None:
    assert merge([plain(0, table), plain(1, table)]).raw == table


@given(st.lists(st.integers(), max_size=4), st.lists(st.integers(), max_size=4))
def test_append_is_the_sum_of_the_lists(first: list[int], second: list[int]) -> None:
    raw = {"append": {"a": second}}
    found = merge([plain(0, {"a": first}), Document("1.toml", "", raw, lines_of(raw))])
    assert found.raw == {"a": first + second}
    assert [found.owners.get(f"a.{number}", 0) for number in range(len(first + second))] == [0] * len(first) + [
        1
    ] * len(second)
