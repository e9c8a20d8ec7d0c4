"""Templates and specifiers: which instances there are, what their texts say, and what is wrong at which place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arje.card.loader import Loaded, load_text
from arje.card.payload import Native
from arje.card.shelf import load_dirs
from arje.card.specifiers import MEANINGS, Meaning, Surroundings
from arje.card.unreadable import Unreadable
from tests.card.test_layers import write

GROUP = 'payload = "virtual"\n'


def load(place: Path, files: dict[str, str], *also: str) -> Loaded:
    write(place, {f"cards/{name}": text for name, text in files.items()})
    return load_dirs([place / "cards"], also=also)


def labels(loaded: Loaded) -> dict[str, bool]:
    """Labels, and whether each is enabled."""
    assert loaded.problems == ()
    return {card.label: card.enabled for card in loaded.cards}


def test_a_template_is_no_service(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"web@.toml": GROUP, "db@.card.toml": GROUP})
    assert labels(loaded) == {}
    assert [template.label for template in loaded.templates] == ["db@", "web@"]


def test_a_template_names_its_instances(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"web@.toml": 'copies = 2\ninstances = ["blue", "2"]\n' + GROUP})
    assert labels(loaded) == {"web@1": True, "web@2": True, "web@blue": True}


def test_an_instance_is_made_when_another_needs_it_and_is_not_enabled_by_that(tmp_path: Path) -> None:
    files = {
        "web@.toml": 'wants = ["log@%i"]\n' + GROUP,
        "log@.toml": GROUP,
        "site.toml": 'requires = ["web@a"]\n' + GROUP,
    }
    assert labels(load(tmp_path, files)) == {"site": True, "web@a": False, "log@a": False}


def test_an_instance_that_is_asked_for_is_made(tmp_path: Path) -> None:
    assert labels(load(tmp_path, {"web@.toml": GROUP}, "web@x", "db@x")) == {"web@x": False}


def test_a_drop_in_that_enables_an_instance_makes_it(tmp_path: Path) -> None:
    files = {
        "web@.toml": GROUP,
        "web@x.card.d/50-arjectl.toml": "enabled = true",
        "web@y.card.d/a.toml": "description = 'only said'",
        "web@z.card.d/a.toml": "enabled = true",
        "web@z.card.d/b.toml": "enabled = false",
    }
    assert labels(load(tmp_path, files)) == {"web@x": True}


def test_a_file_of_an_instance_is_the_whole_of_its_card(tmp_path: Path) -> None:
    files = {"web@.toml": 'copies = 2\ndescription = "t"\n' + GROUP, "web@1.toml": 'description = "own %i"\n' + GROUP}
    found = {card.label: card.description for card in load(tmp_path, files).cards}
    assert found == {"web@1": "own %i", "web@2": "t"}


def test_what_is_wrong_with_a_template_is_told_once_at_its_place(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, {"web@.toml": "copies = 3\n[payload]\nexec = '/bin/x'\nargvv = []\n"}).problems
    assert (problem.line, problem.field) == (4, "payload.argvv")


def test_a_template_without_instances_is_judged_but_for_what_only_a_name_can_make_wrong(tmp_path: Path) -> None:
    files = {"web@.toml": "only_if_exists = '%I'\n[payload]\nexec = '/bin/x'\nargvv = []\n"}
    (problem,) = load(tmp_path, files).problems
    assert problem.field == "payload.argvv"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("copies = -1\n", "copies: -1 is out of range"),
        ("copies = 'x'\n", "copies: 'x' is no whole number"),
        ("instances = [1]\n", "instances.0: 1 is not text"),
        ("instances = ['a/b']\n", "label: 'web@a/b' is no label"),
        ("label = 'db@'\n", "label: this file is the template web@"),
    ],
)
def test_what_a_template_cannot_say_of_its_instances(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = load(tmp_path, {"web@.toml": text + GROUP}).problems
    assert said in str(problem)


@pytest.mark.parametrize("field", ["copies = 2", "instances = ['a']"])
def test_only_a_template_has_copies(field: str) -> None:
    (problem,) = load_text(Path("web.toml"), f"{field}\n{GROUP}").problems
    assert "only a template has" in problem.message
    assert problem.remedy == "name the file web@.toml"


def test_a_template_that_wants_ever_more_of_itself_ends(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"web@.toml": 'copies = 1\nwants = ["web@%i1"]\n' + GROUP})
    assert any("is no label" in problem.message for problem in loaded.problems)


# -- specifiers --------------------------------------------------------------------------------------------------------


def meaning(label: str = "my-web@a-b", *, user: bool = False, **variables: object) -> Meaning:
    return Meaning(label, label.partition("@")[2] or None, Surroundings(user=user), variables)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("%i", "a-b"),
        ("%I", "a/b"),
        ("%f", "/a/b"),
        ("%n %N", "my-web@a-b my-web@a-b"),
        ("%p %P", "my-web my/web"),
        ("%j %J", "web web"),
        ("100%%", "100%"),
        ("%%i", "%i"),
        ("%t %S %C %L %E", "/run /var/lib /var/cache /var/log /etc"),
        ("%H", os.uname().nodename),
        ("%U %G", f"{os.geteuid()} {os.getegid()}"),
        ("%v %a", f"{os.uname().release} {os.uname().machine}"),
    ],
)
def test_what_specifiers_mean(text: str, meant: str) -> None:
    assert meaning().expand(text) == meant


def test_a_user_s_manager_has_the_user_s_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/conf")
    expected = "/home/me /run/user/7 /home/me/.local/state /home/me/.cache /conf"
    assert meaning(user=True).expand("%h %t %S %C %E") == expected


@pytest.mark.parametrize("letter", sorted(MEANINGS))
def test_every_letter_that_is_described_means_something(letter: str) -> None:
    assert "%" not in meaning().expand(f"%{letter}")


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("a %q", "there is no specifier %q", "write %%q for a percent sign; %i is the instance"),
        ("%F", "there is no specifier %F", "%f is the instance's name as a path"),
        ("50%", "a percent sign at the end", "write %% for a percent sign"),
        ("%{prot}", "no variable 'prot'", "did you mean 'port'?"),
        ("x%{list}", "%{list} is [1]", "stands alone"),
    ],
)
def test_what_means_nothing_is_a_problem_with_its_remedy(text: str, message: str, remedy: str) -> None:
    with pytest.raises(Unreadable) as caught:
        meaning(port=80, list=[1]).expand(text)
    assert message in str(caught.value)
    assert remedy in caught.value.remedy


def test_a_variable_alone_keeps_its_kind_and_among_others_is_text() -> None:
    found = meaning(port=80, on=True, list=["a"])
    assert [found.expand(text) for text in ("%{port}", ":%{port}", "%{on}!", "%{list}")] == [80, ":80", "true!", ["a"]]


def argv(loaded: Loaded) -> tuple[str, ...]:
    assert loaded.problems == ()
    payload = loaded.cards[0].payload
    assert isinstance(payload, Native)
    return payload.argv


def test_in_a_plain_card_a_percent_sign_is_one() -> None:
    assert argv(load_text(Path("x.toml"), "[payload]\nexec = 'date'\nargv = ['+%H', '%q', '50%']")) == (
        "+%H",
        "%q",
        "50%",
    )


def test_a_card_with_variables_has_specifiers_and_no_instance() -> None:
    text = "[variables]\nport = 80\nname = 'at-%n'\n[payload]\nexec = 'x'\nargv = ['%{port}', '%{name}']\n"
    assert argv(load_text(Path("web.toml"), text.replace("'%{port}'", "':%{port}'"))) == (":80", "at-web")
    (problem,) = load_text(Path("web.toml"), text.replace("'%{port}'", "'%i'")).problems
    assert (problem.field, problem.line) == ("payload.argv.0", 6)
    assert "web is no instance" in problem.message


def test_a_variable_is_a_number_where_a_number_is_wanted() -> None:
    text = "[variables]\nnice = 5\n[payload]\nexec = 'x'\n[soma]\nnice = '%{nice}'\n"
    (card,) = load_text(Path("web.toml"), text).cards
    assert card.soma.nice == 5


def test_a_drop_in_overrides_a_variable_and_a_wrong_one_is_told_where_it_stands(tmp_path: Path) -> None:
    files = {
        "web@.toml": "copies = 1\n[variables]\nport = 80\n[payload]\nexec = 'x'\nargv = ['p%{port}']\n",
        "web@1.card.d/a.toml": "[variables]\nport = 81\n",
    }
    assert argv(load(tmp_path, files)) == ("p81",)
    (problem,) = load(tmp_path, {"web@1.card.d/a.toml": "\n[payload]\nargv = ['%{prot}']\n"}).problems
    assert (Path(problem.file).parent.name, problem.line, problem.field) == ("web@1.card.d", 3, "payload.argv.0")


def test_specifiers_reach_every_text_of_a_card_and_the_names_of_files_and_credentials(tmp_path: Path) -> None:
    text = """copies = 1
description = "%p number %i"
after = ["db@%i"]
[payload]
exec = "/bin/sh"
env = {NAME = "%n"}
env_file = ["-/etc/%p/%i.env"]
[soma]
namespaces = ["mount"]
hostname = "%p-%i"
files = {"/etc/%p.conf" = "for %i"}
credentials = {"key-%i" = "secret of %i"}
"""
    loaded = load(tmp_path, {"web@.toml": text})
    assert loaded.problems == ()
    (card,) = loaded.cards
    assert isinstance(card.payload, Native)
    assert (card.description, card.after) == ("web number 1", ("db@1",))
    assert (card.payload.envp, card.payload.env_file) == ((("NAME", "web@1"),), ("-/etc/web/1.env",))
    assert (card.soma.hostname, card.soma.files[0].path, card.soma.files[0].content) == (
        "web-1",
        "/etc/web.conf",
        "for 1",
    )
    assert (card.soma.credentials[0].name, card.soma.credentials[0].content) == ("key-1", "secret of 1")
