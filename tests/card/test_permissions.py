"""``permissions``: a few words compiled into the soma, in TOML and in the ancestor's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arje.card.card import Card
from arje.card.loader import Loaded, load_text
from arje.card.permissions import words
from arje.card.soma import Bind, Network, Soma

PROGRAM = '[payload]\nexec = "/usr/bin/true"\n'


def toml(permissions: str, soma: str = "") -> Loaded:
    return load_text(Path("web.toml"), f"{PROGRAM}[permissions]\n{permissions}\n[soma]\n{soma}\n")


def soma(permissions: str, own: str = "") -> Soma:
    loaded = toml(permissions, own)
    assert loaded.problems == ()
    return loaded.cards[0].soma


def ancestors(**permissions: Any) -> Card:
    card = {"label": "web", "payload": {"Native": {"exec": "/usr/bin/true"}}, "permissions": permissions}
    loaded = load_text(Path("web.json"), json.dumps(card))
    assert loaded.problems == ()
    return loaded.cards[0]


@pytest.mark.parametrize(
    ("word", "mode"), [("none", "none"), ("loopback", "loopback"), ("full", "host"), ("host", "host")]
)
def test_a_word_for_the_network_is_its_mode(word: str, mode: str) -> None:
    assert soma(f'networking = "{word}"').network == Network(mode=mode)


def test_outbound_is_pasta_that_may_be_missing() -> None:
    meant = soma('networking = "outbound"')
    assert meant.network is not None
    assert meant.network.pasta is not None
    assert (meant.network.pasta.fallback, meant.prefer) == ("host", ("network.pasta",))
    assert soma('networking = "outbound"', 'require = ["network.pasta"]').prefer == (), "the soma's own word wins"


def test_words_for_files() -> None:
    assert soma('filesystem = "read-write"') == Soma()
    narrow = soma('filesystem = "read-only"')
    assert (narrow.namespaces.asked(), narrow.read_only_root, narrow.binds) == (("mount",), True, ())
    none = soma('filesystem = "none"', 'binds = ["/srv:/data"]')
    assert [tmpfs.target for tmpfs in none.tmpfs] == ["/"]
    assert none.binds[-1] == Bind(source="/srv", target="/data")
    assert all(bind.read_only and bind.optional for bind in none.binds[:-1])
    assert (none.dev, none.read_only_root) == ("minimal", True)


def test_words_for_processes_and_ipc() -> None:
    assert soma('processes = "none"').namespaces.asked() == ("mount", "pid")
    assert soma('processes = "all"\nipc = "shared"') == Soma()
    assert soma('ipc = "private"').namespaces.asked() == ("ipc",)
    limited = soma("processes = 12", 'cgroup = {memory_max = "1G"}').cgroup
    assert limited is not None
    assert (limited.pids_max, limited.memory_max) == (12, 2**30)


def test_what_the_soma_says_itself_wins() -> None:
    own = soma('networking = "outbound"', "network = {pasta = {tcp = ['8080']}}").network
    assert own is not None
    assert own.pasta is not None
    assert (own.pasta.tcp, own.pasta.fallback) == (("8080",), "")
    kinds = soma('processes = "none"\nipc = "none"', 'namespaces = ["uts"]').namespaces.asked()
    assert kinds == ("mount", "pid", "uts", "ipc")
    assert soma('filesystem = "none"', 'dev = "host"').dev == "host"
    assert soma('networking = "full"', "namespaces = ['net']\nnetwork = {veth = {bridge = 'br0'}}").network is not None


@pytest.mark.parametrize(
    ("permission", "own", "field"),
    [
        ('networking = "none"', 'network = "host"', "soma.network"),
        ('networking = "none"', "network = {pasta = {}}", "soma.network"),
        ('networking = "loopback"', "namespaces = {net = false}", "soma.namespaces.net"),
        ('networking = "outbound"', 'network = "none"', "soma.network"),
        ('networking = "full"', 'network = "loopback"', "soma.network"),
        ('networking = "full"', 'namespaces = ["net"]', "soma.namespaces.net"),
        ('filesystem = "read-only"', "read_only_root = false", "soma.read_only_root"),
        ('filesystem = "read-write"', "read_only_root = true", "soma.read_only_root"),
        ('filesystem = "none"', 'root = "/srv"', "soma.root"),
        ('filesystem = "read-only"', "namespaces = {mount = false}", "soma.namespaces.mount"),
        ('processes = "none"', "namespaces = {pid = false}", "soma.namespaces.pid"),
        ('processes = "full"', 'namespaces = "all"', "soma.namespaces.pid"),
        ("processes = 3", "cgroup = {pids_max = 4}", "soma.cgroup.pids_max"),
        ('ipc = "none"', "namespaces = {ipc = false}", "soma.namespaces.ipc"),
        ('ipc = "full"', 'namespaces = ["ipc"]', "soma.namespaces.ipc"),
    ],
)
def test_a_contradiction_names_both(permission: str, own: str, field: str) -> None:
    (problem,) = toml(permission, own).problems
    name = permission.partition(" ")[0]
    assert (problem.line, problem.field) == (4, f"permissions.{name}")
    assert f"is contradicted by {field}" in problem.message


@pytest.mark.parametrize(
    ("permission", "said"),
    [
        ('networking = "nonne"', "did you mean 'none'?"),
        ('filesystem = "read-onyl"', "did you mean 'read-only'?"),
        ('ipc = "???"', "write none, full"),
        ("processes = 0", "from 1 to"),
        ('networking = ["loopback", "outbuond"]', "did you mean 'outbound'?"),
    ],
)
def test_an_unknown_word_is_a_problem_with_the_nearest(permission: str, said: str) -> None:
    (problem,) = toml(permission).problems
    assert (problem.field, said in problem.remedy) == (f"permissions.{permission.partition(' ')[0]}", True)


def test_the_ancestors_shapes_are_loaded() -> None:
    assert ancestors(networking=True).soma.network == Network(mode="host")
    assert ancestors(networking=False).soma.network == Network(mode="none")
    assert ancestors(networking=["loopback", "outbound"]).soma.network == soma('networking = "outbound"').network
    assert ancestors(filesystem="ReadOnly").soma.read_only_root
    assert ancestors(filesystem="ro").soma == soma('filesystem = "read-only"')
    assert ancestors(processes={"max": 3}).soma.cgroup == soma("processes = 3").cgroup
    assert ancestors(networking=None, ipc=None).soma == Soma()


@pytest.mark.parametrize("shape", [3, {"read": ["/"]}, ["/srv", "/data"], [], [1]])
def test_a_shape_that_is_no_word_is_kept_and_said_not_to_be_enforced(shape: Any) -> None:
    card = ancestors(filesystem=shape)
    assert (card.soma, card.permissions and card.permissions.filesystem) == (Soma(), shape)
    assert words(card.permissions)["filesystem"].endswith("(not enforced)")


def test_words_are_told_as_they_are_meant() -> None:
    told = words(ancestors(networking=True, filesystem="ro", processes={"max": 3}).permissions)
    assert told == {"networking": "full", "filesystem": "read-only", "processes": "3"}


@pytest.mark.parametrize("own", ["cgroup = 5", "namespaces = 5", "prefer = 5", "binds = 5", "network = 5"])
def test_a_soma_that_is_wrong_itself_is_told_as_ever(own: str) -> None:
    problems = toml('networking = "outbound"\nfilesystem = "none"\nprocesses = 3', own).problems
    assert [problem.field for problem in problems] == [f"soma.{own.partition(' ')[0]}"]
