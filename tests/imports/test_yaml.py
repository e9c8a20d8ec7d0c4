"""The reader of YAML against PyYAML, which reads the same text another way; and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.errors import CardError
from arje.imports.yaml import load
from arje.imports.yaml_nodes import Mapping, Node, Scalar, Sequence
from tests.imports.importing import GIVEN, SOURCES

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")


def plain(node: Node) -> Any:
    """Return a node as plain data, every scalar as its text."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Mapping)
    return {name: plain(item) for name, item in node.items.items()}


def read(text: str) -> Any:
    return plain(load(Path("x.yaml"), text))


class Texts(yaml.SafeLoader):  # type: ignore[misc]
    """Every scalar stays text; merge keys are merged."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {"<": [("tag:yaml.org,2002:merge", re.compile("<<"))]}


def theirs(text: str) -> Any:
    return yaml.load(text, Loader=Texts)


SAMPLES = {
    "block": "a:\n  b: 1\n  c:\n    - x\n    - y: 2\n      z: 3\n    -\n      - deep\nd:\n- same indent\n- as the key\n",
    "flow": 'a: [1, two words, "three, quoted", {b: c, "d": [e]}]\nf: {}\ng: []\nh: {x: , y}\n',
    "flow lines": "a: [\n  1, # one\n  2,\n]\nb: {x: 1,\n    y: 2}\n",
    "quotes": 'a: \'it\'\'s\'\nb: "tab\\t\\x41\\u00e9 \\"q\\""\nc: "# no comment"\n"d e": 1\n\'f\': 2\n',
    "quoted lines": "a: \"one\n  two\n\n  three\"\nb: 'x\n  y'\n",
    "literal": "a: |\n  one\n    two\n\n  three\nb: |-\n  last\nc: |+\n  kept\n\nd: end\n",
    "folded": "a: >\n  one\n  two\n\n  three\n    more\n  four\nb: >-\n  x\n  y\n",
    "indicated": "a: |2\n   one\n  two\n",
    "plain lines": "a: one\n  two\n  three\nb: x # comment\nc: a#b\nd: http://x:80/y\ne: -1\nf: -x\n",
    "anchors": "a: &x\n  k: v\n  l: w\nb: *x\nc:\n  <<: *x\n  l: own\nd: &t text\ne: [*t, *t]\n",
    "comments": "# first\na: 1 # one\n# between\nb:\n  # inside\n  c: 2\n",
    "documents": "%YAML 1.2\n---\na: 1\n...\n",
    "empty": "a:\nb: ~\nc: ''\n",
    "nested lists": "- - a\n  - b\n- - c\n",
    "command": 'command: ["sh", "-c", "echo $$X: y"]\ntest: curl -f http://localhost || exit 1\n',
    "crowded": 'a: {b: [c, d], e: {f: g}}\nports: ["80:80", 22:22]\n',
}


@pytest.mark.parametrize("name", SAMPLES)
def test_it_reads_what_pyyaml_reads(name: str) -> None:
    expected = theirs(SAMPLES[name])
    assert read(SAMPLES[name]) == expected


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("compose")])
def test_it_reads_compose_files_as_pyyaml_does(name: str) -> None:
    text = (GIVEN / SOURCES[name]).read_text()
    assert read(text) == theirs(text)


_WORD = st.text("abz09 -_./:#'\"é%", min_size=0, max_size=12)
_DATA = st.recursive(
    _WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORD.filter(str.strip), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_WORD.filter(str.strip), _DATA, min_size=1, max_size=4), st.booleans())
def test_it_reads_back_what_pyyaml_writes_or_refuses_it_within_brackets(data: Any, flow: bool) -> None:
    text = yaml.dump(data, default_flow_style=flow, allow_unicode=True)
    if "? " in text or "!!" in text:
        return  # complex keys are not read, and say so
    try:
        found = read(text)
    except CardError:
        assert flow, text  # it may refuse what is broken over lines within brackets, and never misreads it
        return
    assert found == data


REFUSED = {
    "a tag": ("a: !!str 1\n", 1),
    "a second document": ("a: 1\n---\nb: 2\n", 3),
    "a complex key": ("a: 1\n? b\n: c\n", 2),
    "a tab": ("a:\n\tb: 1\n", 2),
    "a duplicate": ("a: 1\nb: 2\na: 3\n", 3),
    "no anchor": ("a: *x\n", 1),
    "a bad indent": ("a:\n    b: 1\n  c: 2\n", 3),
    "a key that goes on": ("a: b\n  c: d\n", 2),
    "an open quote": ('a: 1\nb: "x\n', 2),
    "an open bracket": ("a: [1,\n  2\n", 2),
    "a bad escape": ('a: "\\q"\n', 1),
    "more after a value": ('a: "x" y\n', 1),
    "a reserved sign": ("a: @x\n", 1),
    "merging a text": ("a: &x 1\nb:\n  <<: *x\n", 3),
    "depth": ("".join("  " * n + "a:\n" for n in range(100)), 65),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_does_not_read_it_refuses_with_the_line(name: str) -> None:
    text, line = REFUSED[name]
    with pytest.raises(CardError) as caught:
        read(text)
    assert caught.value.problems[0].line == line, str(caught.value)


@given(st.text("a:- \n\"'[]{}|>&*#!,\t~<", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    try:
        read(text)
    except CardError as error:
        assert error.problems[0].line > 0  # noqa: PT017 - what else it raises fails the test by itself
