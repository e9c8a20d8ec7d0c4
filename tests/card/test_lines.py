"""The places of fields: every field of a text that the parser takes is found, on its own line."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card import lines

TOML = '''\
# a comment = 1
label = "x" # soma = 2
requires = [
  "a", # one
  "b]",
]
"quoted name".inner = """
[soma]
label = 3 \\"""
"""
[soma]
rlimits = {nofile = [1, 2], "core" = 0} # no
require = [["net"]
]
umask = \'\'\'
027\'\'\'
born = 1979-05-27 07:32:00
[[soma.uid_map]]
inside = 0
outside = 1
[[soma.uid_map]]
inside = 1

outside = 9
[soma.cgroup]
memory_max = "256M"
'''


def paths(value: Any, prefix: str = "") -> set[str]:
    """Every path in a parsed document."""
    if isinstance(value, dict):
        inner = {str(name): item for name, item in value.items()}
    elif isinstance(value, list):
        inner = {str(index): item for index, item in enumerate(value)}
    else:
        return set()
    found = {f"{prefix}{name}" for name in inner}
    return found.union(*(paths(item, f"{prefix}{name}.") for name, item in inner.items()))


def test_toml_fields_are_found_on_their_lines() -> None:
    found = lines.of_toml(TOML).lines
    assert found.keys() == paths(tomllib.loads(TOML))
    assert {name: found[name] for name in ("label", "requires", "requires.1", "quoted name.inner", "soma")} == {
        "label": 2,
        "requires": 3,
        "requires.1": 5,
        "quoted name.inner": 7,
        "soma": 11,
    }
    assert (found["soma.rlimits.core"], found["soma.umask"], found["soma.born"]) == (12, 15, 17)
    assert (found["soma.uid_map"], found["soma.uid_map.1"], found["soma.uid_map.1.outside"]) == (18, 21, 24)
    assert (found["soma.cgroup"], found["soma.cgroup.memory_max"]) == (25, 26)


keys = st.text("ab", min_size=1, max_size=2)
values = st.recursive(
    st.integers() | st.booleans() | st.text('a"\\[]{},=#\n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


def in_toml(value: Any) -> str:
    """Write a value in one line of TOML; a JSON string is one of TOML's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {in_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_toml, value)) + "]"
    return json.dumps(value)


@given(st.dictionaries(keys, values, max_size=4))
def test_no_field_of_any_toml_is_missed(document: dict[str, Any]) -> None:
    text = "\n".join(f"{name} = {in_toml(value)}" for name, value in document.items())
    found = lines.of_toml(text).lines
    assert found.keys() == paths(tomllib.loads(text))
    assert [found[name] for name in document] == [*range(1, len(document) + 1)]


@given(st.dictionaries(keys, values, max_size=4))
def test_no_field_of_any_json_is_missed(document: dict[str, Any]) -> None:
    assert lines.of_json(json.dumps(document, indent=1)).lines.keys() == paths(document) | {""}


def test_a_name_that_an_object_has_twice_is_found() -> None:
    assert lines.of_json('{"a": {"b": 1,\n"b": 2}, "a.b": 3}').twice == {"a.b": 2}


@pytest.mark.parametrize(("text", "of"), [("x = " + "[" * 200 + "]" * 200, lines.of_toml), ("[" * 200, lines.of_json)])
def test_what_is_nested_too_deep_is_not_followed(text: str, of: Any) -> None:
    with pytest.raises(lines.TooDeep):
        of(text)


def test_a_long_text_costs_no_more_per_line_than_a_short_one() -> None:
    text = "{" + ",\n".join(f'"k{number}": {number}' for number in range(100_000)) + "}"
    assert lines.of_json(text).lines["k99999"] == 100_000  # minutes, when each place counts the lines before it
