"""Card files: what loads, what does not, and what its author is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card.card import Card
from arje.card.check import main_check
from arje.card.loader import card_of, load_file, load_text
from arje.card.payload import Legacy, Native, Virtual
from arje.card.shelf import load_dirs
from arje.card.soma import INFINITY, RunAs
from arje.card.supervision import Kind, RestartWhen
from arje.card.words import names_at
from arje.errors import CardError
from tests.card.test_lines import in_toml

WEB = """\
description = "a web server"
requires = ["db"]
[payload]
exec = "python3"
argv = ["-m", "http.server"]
env = {HOME = "/tmp"}
[soma]
namespaces = ["mount", "pid"]
umask = "027"
run_as = "nobody:nogroup"
rlimits = {nofile = 10, core = [0, "infinity"]}
[soma.cgroup]
memory_max = "256M"
[supervision]
restart = "always"
initial = "200ms"
max = "5m"
"""

SEED = """\
{"schema_version": 1, "id": "1", "label": "seed", "payload": "Virtual", "supervision": "OneShot", "genesis": [
 {"label": "a",
  "payload": {"Native": {"exec": "/bin/true", "argv": ["true", "x"], "envp": [["A", "b"]]}},
  "permissions": {"networking": true},
  "soma": {"namespaces": {"mount": true, "pid": false}, "rlimits": {"mem_bytes": 1000, "nproc": null, "nofile": 5},
           "cgroup": {"path": "p", "cpu_weight": 5, "io_weight": null}, "cpu_affinity": [0]},
  "supervision": {"Restart": {"initial": 100, "max": 1000}}},
 {"label": "l", "payload": {"Legacy": {"exec": "/bin/cat", "argv": [], "fakes": ["journal"]}}, "supervision": "Delegate"},
 {"label": "w", "payload": {"Wasm": {}}}]}
"""


def one(text: str, name: str = "web.toml") -> Card:
    loaded = load_text(Path(name), text)
    assert loaded.problems == ()
    (card,) = loaded.cards
    return card


def test_a_toml_card_is_read_with_its_shorthands() -> None:
    card = one(WEB)
    assert card.label == "web"
    assert card.payload == Native(exec="python3", argv=("-m", "http.server"), envp=(("HOME", "/tmp"),))
    assert card.soma.namespaces.asked() == ("mount", "pid")
    assert (card.soma.umask, card.soma.rlimits) == (0o027, (("nofile", 10, 10), ("core", 0, INFINITY)))
    assert card.soma.cgroup is not None
    assert card.soma.cgroup.memory_max == 256 * 2**20
    assert card.soma.run_as is not None
    assert (card.soma.run_as.user, card.soma.run_as.group) == ("nobody", "nogroup")
    assert (card.supervision.restart, card.supervision.initial, card.supervision.max) == (RestartWhen.ALWAYS, 0.2, 300)


def test_an_ancestors_seed_expands_into_its_cards() -> None:
    loaded = load_text(Path("seed.json"), SEED)
    cards = {card.label: card for card in loaded.cards}
    assert list(cards) == ["a", "l", "seed"]
    a = cards["a"]
    assert a.payload == Native(exec="/bin/true", argv=("x",), envp=(("A", "b"),))
    assert a.soma.rlimits == (("as", 1000, 1000), ("nofile", 5, 5))
    assert (a.supervision.restart, a.supervision.initial, a.supervision.max) == (RestartWhen.ALWAYS, 0.1, 1.0)
    assert a.source.line_of("soma.cgroup") == 6
    assert cards["l"].payload == Legacy(exec="/bin/cat", fakes=("journal",))
    assert cards["l"].supervision.kind is Kind.DELEGATE
    assert cards["seed"].payload == Virtual()


def test_wasm_is_refused_with_its_line_and_reason() -> None:
    (problem,) = load_text(Path("seed.json"), SEED).problems
    assert (problem.line, problem.field) == (9, "payload")
    assert "Wasm" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ("[soma]\nnamespace = 1\n", 2, "soma.namespace", "did you mean 'namespaces'"),
        ("[soma.namespaces]\nmout = true\n", 2, "soma.namespaces.mout", "did you mean 'mount'"),
        ("[soma]\nnamespaces = ['pdi']\n", 2, "soma.namespaces", "did you mean 'pid'"),
        ("[soma]\n\ncontrolling_tty = 1\n", 3, "soma.controlling_tty", "1 is not text"),
        ("[payload]\nargv = []\n", 1, "payload.exec", "is missing"),
        ("[payload]\nexec = 3\n", 2, "payload.exec", "3 is not text"),
        ("x =", 1, "", "not TOML"),
        ("label = 'a b'\n", 1, "label", "no label"),
        ("[supervision]\nrestart = 'sometimes'\n", 2, "supervision.restart", "always"),
        ("[supervision]\ninitial = '5 parsecs'\n", 2, "supervision.initial", "200ms"),
        ("[soma]\numask = 27\n", 2, "soma.umask", "octal"),
        ("[soma]\nrlimits = {nofiles = 1}\n", 2, "soma.rlimits.nofiles", "did you mean 'nofile'"),
        ("[soma]\nrlimits = {nofile = [2, 1]}\n", 2, "soma.rlimits.nofile", "over the hard limit"),
        ("[soma.cgroup]\nmemory_max = 'much'\n", 2, "soma.cgroup.memory_max", "256M"),
        ("soma = 1\n", 1, "soma", "not a table"),
        ("[soma]\nrequire = ['sescomp', 'net']\n", 2, "soma.require", "no feature 'sescomp'"),
        ("[payload]\nexec = 'a'\nenv = 3\n", 3, "payload.env", "env = {NAME"),
        ("description = '''\nlabel = 1\n'''\nlabl = 'x'\n", 4, "labl", "did you mean 'label'"),
    ],
)
def test_a_problem_names_line_field_and_remedy(text: str, line: int, field: str, words: str) -> None:
    loaded = load_text(Path("web.toml"), text)
    assert loaded.cards == ()
    (problem,) = loaded.problems
    assert (problem.file, problem.line, problem.field) == ("web.toml", line, field)
    assert words in str(problem)


def test_every_problem_of_a_card_is_reported_at_once() -> None:
    text = """labl = 'x'
[payload]
exec = 3
[supervision]
kind = 'x'
initial = 'soon'
[soma]
umask = 'x'
rlimits = {a = 1, nofile = [2, 1]}
join = 1
[soma.cgroup]
memory_max = 'much'
"""
    fields = [problem.field for problem in load_text(Path("web.toml"), text).problems]
    assert fields == [
        "labl",
        "payload.exec",
        "supervision.kind",
        "supervision.initial",
        "soma.umask",
        "soma.rlimits.a",
        "soma.rlimits.nofile",
        "soma.join",
        "soma.cgroup.memory_max",
    ]


def test_one_bad_file_never_stops_the_others(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(WEB)
    (tmp_path / "bad.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    (tmp_path / "dir.toml").mkdir()
    (tmp_path / "lost.toml").symlink_to(tmp_path / "nowhere")
    loaded = load_dirs([tmp_path, tmp_path / "missing"])
    assert [card.label for card in loaded.cards] == ["good"]
    assert [(Path(p.file).name, p.line) for p in loaded.problems] == [
        ("bad.toml", 2),
        ("dir.toml", 0),
        ("lost.toml", 0),
    ]


def test_a_later_directory_hides_a_file_of_an_earlier_one_and_a_label_is_taken_once(tmp_path: Path) -> None:
    for place, text in (
        ("usr/a.toml", "label = 'old'"),
        ("etc/a.toml", "label = 'new'"),
        ("etc/b.toml", "\nlabel = 'new'"),
    ):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    loaded = load_dirs([tmp_path / "usr", tmp_path / "etc"])
    assert [card.label for card in loaded.cards] == ["new"]
    (problem,) = loaded.problems
    assert (problem.line, problem.field) == (2, "label")
    assert "etc/a.toml" in problem.message


def test_check_prints_every_problem_and_says_so_with_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.toml").write_text(WEB)
    assert main_check([str(tmp_path)]) == 0
    (tmp_path / "bad.toml").write_text("[soma]\nnamespace = 1\n")
    assert main_check([str(tmp_path), str(tmp_path / "missing.toml")]) == 1
    shown = capsys.readouterr()
    assert "bad.toml:2: soma.namespace: no such field" in shown.err
    assert "missing.toml: cannot be read" in shown.err
    assert "1 card read, 2 problems" in shown.out


def test_a_card_that_no_file_holds_is_judged_like_any_other() -> None:
    soma = card_of({"label": "run", "soma": {"namespaces": "all", "run_as": "nobody"}}, "arje run").soma
    assert (soma.namespaces.pid, soma.run_as) == (True, RunAs(user="nobody"))
    with pytest.raises(CardError) as caught:
        card_of({"label": "run", "soma": {"namespaces": ["pdi"], "run_as": 2**32}}, "arje run")
    assert [problem.field for problem in caught.value.problems] == ["soma.namespaces", "soma.run_as.user"]
    assert str(caught.value).startswith("arje run: soma.namespaces: no namespace 'pdi'")


@given(st.binary(), st.sampled_from([".toml", ".json"]))
def test_no_bytes_raise(data: bytes, suffix: str) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(data)
        file.flush()
        loaded = load_file(Path(file.name))
    assert loaded.cards or loaded.problems


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
json_values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars, max_size=3)
words = st.sampled_from(
    ["soma", "payload", "supervision", "genesis", "namespaces", "rlimits", "cgroup", "Native", "exec"]
)


@given(st.dictionaries(words, st.dictionaries(words, json_values, max_size=3) | json_values, max_size=3))
def test_no_json_raises(document: dict[str, object]) -> None:
    import json

    loaded = load_text(Path("x.json"), json.dumps({"label": "x"} | document))
    assert loaded.cards or loaded.problems


PLACES = [
    *((), ("payload",), ("permissions",), ("supervision",), ("supervision", "rate_limit"), ("soma",)),
    *(("soma", name) for name in ("namespaces", "rlimits", "cgroup", "run_as", "overlay", "stdio", "time_offsets")),
    *(("soma", name) for name in ("proc", "files", "symlinks", "credentials")),
]
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
letters = st.text("aA09-+.:/%=\0²\ud800 ", max_size=5) | st.sampled_from(["max", "RTMIN+3", "50%", "1M", "5s", "all"])
anything = st.recursive(
    numbers | st.booleans() | letters,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abuser"), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("suffix", [".toml", ".json"])
@pytest.mark.parametrize("place", PLACES, ids=".".join)
@given(st.data())
def test_no_value_of_any_field_raises(place: tuple[str, ...], suffix: str, data: st.DataObject) -> None:
    import json

    names = st.sampled_from([*names_at(place), "nofile", "inside"])
    document: dict[str, object] = data.draw(st.dictionaries(names, anything, max_size=3))
    for name in reversed(place):
        document = {name: document}
    write = json.dumps if suffix == ".json" else lambda card: "\n".join(f"{k} = {in_toml(v)}" for k, v in card.items())
    loaded = load_text(Path(f"x{suffix}"), write(document))
    assert loaded.cards or loaded.problems


def test_who_is_to_reload_at_a_change_must_say_how() -> None:
    text = '[payload]\nexec = "/bin/true"\n[supervision]\non_change = {paths = ["/etc/x"], action = "reload"}\n'
    (problem,) = load_text(Path("a.toml"), text).problems
    assert (problem.line, problem.field) == (4, "supervision.on_change.action")
    assert "HUP" in problem.remedy
