"""Edges with terms, contracts and conditions, as cards write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arje.card.card import Card
from arje.card.conditions import WORDS, Conditions
from arje.card.edges import Contract, Reaction, Term
from arje.card.loader import load_text
from arje.card.schema import card_schema

VIRTUAL = 'payload = "virtual"\n'


def one(text: str) -> Card:
    loaded = load_text(Path("x.toml"), VIRTUAL + text)
    assert loaded.problems == ()
    return loaded.cards[0]


def problems(text: str) -> list[tuple[int, str, str]]:
    loaded = load_text(Path("x.toml"), VIRTUAL + text)
    return [(found.line, found.field, f"{found.message} ({found.remedy})") for found in loaded.problems]


def test_a_table_of_edges_is_a_list_of_names_and_their_terms() -> None:
    card = one(
        'requires = {db = "undegraded", log = {on_restart = "restart", recover = false}, y = {granted = ["net"]}}'
    )
    assert card.requires == ("db", "log", "y")
    assert card.terms == (
        Term(kind="requires", name="db", undegraded=True),
        Term(kind="requires", name="log", on_restart=Reaction.RESTART, recover=False),
        Term(kind="requires", name="y", granted=("net",)),
    )
    assert one('wants = {db = {on_restart = "restart"}}').terms[0].kind == "wants"


@pytest.mark.parametrize(
    ("text", "field", "told"),
    [
        ("requires = {db = 5}", "requires.db", "no term"),
        ('requires = {db = {on_restat = "keep"}}', "requires.db.on_restat", "did you mean 'on_restart'"),
        ('requires = {db = {on_restart = "explode"}}', "requires.db.on_restart", "keep, restart or reload"),
        ('requires = {db = {recover = "no"}}', "requires.db.recover", "neither true nor false"),
        ('requires = {db = {granted = ["nett"]}}', "requires.db.granted.0", "did you mean 'net'"),
        ('requires = {db = {on_restart = "reload"}}', "requires.db", "it has no way to reload"),
        ("wants = {db = {recover = false}}", "wants.db.recover", "wants has no such term"),
        ('wants = {db = "undegraded"}', "wants.db.undegraded", "wants has no such term"),
        ('terms = [{kind = "requires", name = "db"}]', "terms.0", "does not name 'db'"),
        ('requires = {x = "undegraded"}', "requires.0", "this card itself"),
        ('after = {db = "undegraded"}', "after", "is not a list"),
        ('contracts = [{ani = ["a"]}]', "contracts.0", "did you mean 'any'"),
        ('contracts = [{quorum = {of = ["a"]}}]', "contracts.0.at_least", "is missing"),
        ('contracts = [{quorum = {of = ["a"], at_least = 0}}]', "contracts.0.at_least", "out of range"),
        ('contracts = [{any = "a"}]', "contracts.0.any", "is not a list"),
        ('contracts = [{any = ["a"], grace = "soon"}]', "contracts.0.grace", "is no duration"),
        ('contracts = [{conflicts = "a"}]', "contracts.0", "is not a list"),
        ('contracts = [{any = ["x"]}]', "contracts.0.of.0", "this card itself"),
        ("contracts = [5]", "contracts.0", "is no contract"),
        ('conflicts = ["x"]', "conflicts.0", "this card itself"),
        ('waits_for = ["x"]', "waits_for.0", "this card itself"),
        ('wanted_by = ["x"]', "wanted_by.0", "this card itself"),
        ("conditions = 5", "conditions", "is not a table"),
        ('conditions.path_exist = "/x"', "conditions.path_exist", "did you mean 'path_exists'"),
        ('conditions.path_exists = "x"', "conditions.path_exists.0", 'begin it with "/"'),
        ('conditions.path_exists = "!"', "conditions.path_exists.0", "it is empty"),
        ('conditions.capability = "CAP_NET_ADMI"', "conditions.capability.0", "did you mean 'CAP_NET_ADMIN'"),
        ('conditions.memory = ">= much"', "conditions.memory.0", ""),
        ('conditions.cpus = ">= x"', "conditions.cpus.0", "no number of processors"),
        ('conditions.kernel_version = ">="', "conditions.kernel_version.0", "compares with nothing"),
        ('asserts.security = "selinx"', "asserts.security.0", "did you mean 'selinux'"),
        ('asserts.ac_power = "yes"', "asserts.ac_power.0", "neither true nor false"),
        ('live_conditions = true\nconditions.user = "root"', "live_conditions", "no condition that could change"),
        ("conditions.any_of = [{}]", "conditions.any_of.0", "tests nothing"),
        ('conditions.any_of = [{cpus = "x"}]', "conditions.any_of.0.cpus.0", "no number of processors"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place_and_what_to_write(text: str, field: str, told: str) -> None:
    found = problems(text)
    assert [(line, name) for line, name, _ in found] == [(2, field)]
    assert told in found[0][2]


@pytest.mark.parametrize(
    ("test", "field", "told"),
    [
        ("ac_power = true", "conditions.ac_power", "nobody tells when it changes"),
        ('path_exists = "/run/*/x"', "conditions.path_exists.0", "only the last part"),
        ('any_of = [{host = "x"}]', "conditions.any_of.0.host", "nobody tells when it changes"),
    ],
)
def test_what_cannot_be_watched_is_no_live_condition(test: str, field: str, told: str) -> None:
    ((line, name, message),) = problems(f"live_conditions = true\n[conditions]\n{test}\n")
    assert (line, name) == (4, field)
    assert told in message


def test_contracts_are_read_in_both_forms() -> None:
    quorum = '{quorum = {of = ["c", "d"], at_least = 2, grace = "2s"}}'
    card = one(f'contracts = [{{any = ["a", "b"]}}, {quorum}, {{conflicts = ["e"]}}]\n' + 'conflicts = ["f"]')
    assert card.contracts == (Contract(of=("a", "b")), Contract(of=("c", "d"), at_least=2, grace=2.0))
    assert card.conflicts == ("f", "e")
    seed: dict[str, Any] = {
        "label": "x",
        "payload": "Virtual",
        "contracts": [
            {"Any": ["a"]},
            {"Quorum": {"of": ["b", "c"], "at_least": 2}},
            {"Conflicts": ["e"]},
            {"After": ["g"]},
        ],
    }
    loaded = load_text(Path("x.json"), json.dumps(seed))
    assert loaded.problems == ()
    assert loaded.cards[0].contracts == (Contract(of=("a",)), Contract(of=("b", "c"), at_least=2))
    assert (loaded.cards[0].conflicts, loaded.cards[0].after) == (("e",), ("g",))


def test_a_wrong_contract_of_a_seed_has_its_line() -> None:
    seed = {"label": "x", "payload": "Virtual", "contracts": [{"Any": ["a"]}, {"Quorum": {"of": ["b"], "at_least": 0}}]}
    text = json.dumps(seed, indent=1)
    (problem,) = load_text(Path("x.json"), text).problems
    assert (problem.field, problem.message) == ("contracts.1.at_least", "0 is out of range")
    assert '"at_least": 0' in text.splitlines()[problem.line - 1]


def test_conditions_are_words_lists_and_truths() -> None:
    card = one(
        '[conditions]\npath_exists = "/a"\nuser = ["root", "!nobody"]\nac_power = true\ncpus = 2\nany_of = [{host = "h"}]'
    )
    assert card.conditions == Conditions(
        path_exists=("/a",),
        user=("root", "!nobody"),
        ac_power=("true",),
        cpus=("2",),
        any_of=(Conditions(host=("h",)),),
    )
    assert card.conditions
    assert not card.asserts


def test_the_schema_describes_every_edge_and_every_condition() -> None:
    schema = card_schema()
    assert {"requires", "requisite", "waits_for", "conflicts", "part_of", "contracts", "asserts"} <= set(
        schema["properties"]
    )
    conditions = schema["$defs"]["Conditions"]["properties"]
    assert all(conditions[word]["description"] for word in WORDS)
    kinds = schema["properties"]["requires"]["anyOf"]
    assert any(kind.get("type") == "object" for kind in kinds)
