"""The ancestor's documents load as they are, in every shape that its EntityCard has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arje.card.card import Card
from arje.card.loader import Loaded, load_text
from arje.card.payload import Legacy, Native, Virtual
from arje.card.supervision import Kind, RestartWhen

NATIVE = {"Native": {"exec": "/bin/true", "argv": ["/bin/true"], "envp": [["A", "b"]]}}
FULL: dict[str, Any] = {
    "schema_version": 1,
    "id": "e-1",
    "lineage": None,
    "label": "x",
    "provides": ["x-socket"],
    "requires": ["db"],
    "permissions": {"networking": True, "filesystem": "ro", "ipc": None, "processes": {"max": 3}},
    "soma": {
        "namespaces": {
            "mount": True,
            "pid": True,
            "net": False,
            "uts": True,
            "ipc": True,
            "user": False,
            "cgroup": True,
        },
        "rlimits": {"mem_bytes": None, "nproc": 64, "nofile": 1024},
        "cgroup": {"path": "/arje/x", "cpu_weight": None, "io_weight": 100},
        "cpu_affinity": [0],
    },
    "payload": NATIVE,
    "supervision": {"Restart": {"initial": 200, "max": 10000}},
    "lifecycle": None,
    "priority": 5,
    "flow": {"in": [], "out": [1.5]},
    "genesis": [],
    "references": [],
    "extensions": {"any": [{"shape": None}]},
}


def load(document: Any) -> Loaded:
    return load_text(Path("x.json"), document if isinstance(document, str) else json.dumps(document))


def one(**fields: Any) -> Card:
    loaded = load({"label": "x", "payload": NATIVE} | fields)
    assert loaded.problems == ()
    (card,) = loaded.cards
    return card


def test_a_full_document_loads_with_everything_in_it() -> None:
    card = one(**FULL)
    assert (card.id, card.schema_version, card.provides, card.requires) == ("e-1", 1, ("x-socket",), ("db",))
    assert card.payload == Native(exec="/bin/true", envp=(("A", "b"),))
    assert card.soma.namespaces.asked() == ("mount", "pid", "uts", "ipc", "cgroup")
    assert card.soma.rlimits == (("nproc", 64, 64), ("nofile", 1024, 1024))
    assert card.soma.cgroup is not None
    assert (card.soma.cgroup.path, card.soma.cgroup.cpu_weight, card.soma.cgroup.io_weight) == ("arje/x", None, 100)
    assert card.soma.cpu_affinity == (0,)
    assert (card.priority, card.flow, card.references) == (5, {"in": [], "out": [1.5]}, [])
    assert card.extensions == {"any": [{"shape": None}]}


@pytest.mark.parametrize("name", sorted(FULL.keys() - {"label"}))
def test_null_means_absent(name: str) -> None:
    without = {key: value for key, value in FULL.items() if key != name}
    assert load(FULL | {name: None}).cards == load(without).cards != ()


@pytest.mark.parametrize(
    ("fields", "plain"),
    [
        ({"soma": {"namespaces": {"mount": None}}}, {}),
        ({"soma": {"namespaces": None, "cgroup": None, "cpu_affinity": None}}, {}),
        ({"soma": {"rlimits": {"nproc": None}}}, {}),
        ({"description": None, "permissions": None}, {}),
        (
            {"payload": {"Native": {"exec": "/a", "argv": None, "envp": None}}},
            {"payload": {"Native": {"exec": "/a"}}},
        ),
        ({"supervision": {"Restart": {"initial": None, "max": None}}}, {"supervision": {"Restart": {}}}),
        ({"supervision": {"Restart": None}}, {"supervision": {"Restart": {}}}),
    ],
)
def test_null_means_absent_inside_as_well(fields: dict[str, Any], plain: dict[str, Any]) -> None:
    assert one(**fields) == one(**plain)


@pytest.mark.parametrize("shape", [True, False, "full", 3, ["a", 1], {"read": ["/"], "write": None}, None])
@pytest.mark.parametrize("name", ["networking", "filesystem", "ipc", "processes"])
def test_permissions_of_any_shape_are_kept(name: str, shape: Any) -> None:
    card = one(permissions={name: shape})
    assert getattr(card.permissions, name) == shape


@pytest.mark.parametrize("shape", [True, "word", 1.5, ["a", {"b": None}], {"High": None}])
@pytest.mark.parametrize("name", ["lifecycle", "priority", "flow", "references", "extensions"])
def test_fields_that_arje_does_not_know_are_kept_in_any_shape(name: str, shape: Any) -> None:
    assert getattr(one(**{name: shape}), name) == shape


@pytest.mark.parametrize(
    ("written", "payload"),
    [
        ("Virtual", Virtual()),
        ({"Virtual": None}, Virtual()),
        ({"Virtual": {}}, Virtual()),
        (NATIVE, Native(exec="/bin/true", envp=(("A", "b"),))),
        ({"Native": {"exec": "/bin/cat", "argv": ["cat", "x"]}}, Native(exec="/bin/cat", argv=("x",))),
        ({"Legacy": {"exec": "/a", "argv": []}}, Legacy(exec="/a")),
        ({"Legacy": {"exec": "/a", "argv": [], "fakes": None}}, Legacy(exec="/a")),
        ({"Legacy": {"exec": "/a", "argv": [], "fakes": ["journal"]}}, Legacy(exec="/a", fakes=("journal",))),
    ],
)
def test_every_payload_is_what_it_was(written: Any, payload: Any) -> None:
    found = one(payload=written).payload
    assert found == payload
    assert type(found) is type(payload)


def test_supervisions_are_what_they_were() -> None:
    assert one(supervision="OneShot").supervision.kind is Kind.ONE_SHOT
    assert one(supervision="Delegate").supervision.kind is Kind.DELEGATE
    kept = one(supervision={"Restart": {"initial": 200, "max": 10000}}).supervision
    assert (kept.kind, kept.restart, kept.initial, kept.max) == (Kind.DAEMON, RestartWhen.ALWAYS, 0.2, 10.0)


def test_a_restart_never_gives_up() -> None:
    assert one(supervision={"Restart": {"initial": 1, "max": 50}}).supervision.rate_limit.starts == 0


@pytest.mark.parametrize("genesis", [None, [], [{"label": "y", "payload": "Virtual"}]])
def test_a_seed_expands_into_its_cards(genesis: Any) -> None:
    loaded = load({"label": "x", "genesis": genesis})
    assert loaded.problems == ()
    assert [card.label for card in loaded.cards] == [*(["y"] if genesis else []), "x"]


DEEP = """\
{"label": "a", "genesis": [
 {"label": "b", "genesis": [
  {"label": "c",
   "soma": {"cgroup": {"cpu_wieght": 1}}},
  5,
  {"payload": "Virtual"}]},
 {"label": "d",
  "supervision": {"Restart":
   {"initial": "200"}},
  "payload": {"Native":
   {"exec": 7}}},
 {"label": "e"}]}
"""


def test_a_wrong_card_in_a_seed_is_named_and_stops_no_other() -> None:
    loaded = load(DEEP)
    assert [card.label for card in loaded.cards] == ["e", "a"]
    assert [(problem.line, problem.field) for problem in loaded.problems] == [
        (4, "soma.cgroup.cpu_wieght"),
        (6, "label"),
        (5, "genesis.1"),
        (9, "supervision.initial"),
        (11, "payload.exec"),
    ]


NATIVE_TEXT = json.dumps(NATIVE)


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ('{"label": "x", "label": "y"}', "label", "is there twice (remove one)"),
        ('{"label": "x", "soma": {"hostname": "a", "hostname": "b"}}', "soma.hostname", "is there twice"),
        ('{"label": "x", "genesis": {"a": 1}}', "genesis", "is not a list of cards"),
        ('{"label": "x", "genesis": ["y"]}', "genesis.0", "'y' is no card"),
        ('{"payload": "Virtual"}', "label", "is missing"),
        ('{"label": null}', "label", "is missing"),
        ('{"label": "x", "id": 7}', "id", "7 is not text"),
        ('{"label": "x", "lineage": 7}', "lineage", "is not a list"),
        ('{"label": "x", "requires": [null]}', "requires.0", "None is not text"),
        ('{"label": "x", "permissions": {"networkng": true}}', "permissions.networkng", "did you mean 'networking'?"),
        ('{"label": "x", "supervision": {"Restart": {"initial": "200"}}}', "supervision.initial", "milliseconds"),
        ('{"label": "x", "supervision": {"Restart": {"initial": true}}}', "supervision.initial", "true is no number"),
        ('{"label": "x", "supervision": {"Restart": {"initial": -5}}}', "supervision.initial", "out of range"),
        ('{"label": "x", "supervision": {"Restart": {"initial": 9, "max": 1}}}', "supervision.initial", "over max"),
        ('{"label": "x", "supervision": {"Restart": {"inital": 5}}}', "supervision.inital", "did you mean 'initial'?"),
        ('{"label": "x", "supervision": {"Restart": 5}}', "supervision", '{"Restart": {"initial": 200'),
        ('{"label": "x", "supervision": "Restrat"}', "supervision", "'Restrat' is not known"),
        ('{"label": "x", "payload": {"Wasm": null}}', "payload", "Wasm payloads are not run by arje"),
        ('{"label": "x", "payload": {"Natve": {}}}', "payload", "no payload of a kind that is known"),
        ('{"label": "x", "payload": {"Native": null}}', "payload", "Native holds no program"),
        ('{"label": "x", "payload": {"Native": {}}}', "payload.exec", "is missing"),
        ('{"label": "x", "payload": {"Native": {"exec": "/a", "fakes": []}}}', "payload.fakes", "Legacy"),
        ('{"label": "x", "payload": {"Native": {"exec": "/a", "argv": [1]}}}', "payload.argv.0", "1 is not text"),
        (
            '{"label": "x", "payload": {"Native": {"exec": "/a", "envp": [["A"]]}}}',
            "payload.envp.0",
            '["NAME", "value"]',
        ),
        ('{"label": "x", "payload": {"Native": {"exec": "/a", "envp": [["A=", ""]]}}}', "payload.envp.0", "no name"),
        ('{"label": "x", "soma": {"rlimits": {"mem_bytes": 5, "as": 5}}}', "soma.rlimits.as", "there already"),
        ('{"label": "x", "soma": {"cgroup": {"path": "/../x"}}}', "soma.cgroup.path", "is no path below"),
        ('{"label": "x", "description": "\\ud800"}', "description", "half a character"),
        ('{"label": "x", "priority": 1e999}', "", "too large a number"),
        ('{"label": "x", "priority": NaN}', "", "NaN is no JSON"),
        ("[]", "", "a card is an object"),
        ("{}", "", "empty"),
    ],
)
def test_what_cannot_be_is_a_problem_and_not_swallowed(text: str, field: str, words: str) -> None:
    loaded = load(text)
    assert loaded.cards == ()
    (problem,) = loaded.problems
    assert problem.field == field
    assert words in str(problem)
