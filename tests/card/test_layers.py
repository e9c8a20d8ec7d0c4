"""Layers of directories: what hides what, what is a mask, which drop-ins a card takes, and who is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from arje import paths
from arje.card.card import Card
from arje.card.check import main_check
from arje.card.loader import Loaded
from arje.card.shelf import load_dirs
from tests.conftest import sh

LOW, HIGH = "usr", "etc"
GROUP = 'payload = "virtual"\n'


def write(place: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def load(place: Path) -> Loaded:
    return load_dirs([place / LOW, place / HIGH])


def one(loaded: Loaded, label: str = "web") -> Card:
    assert loaded.problems == ()
    return next(card for card in loaded.cards if card.label == label)


def test_a_later_directory_hides_a_card_and_check_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"usr/web.toml": 'description = "low"\n' + GROUP, "etc/web.toml": 'description = "high"\n' + GROUP})
    loaded = load(tmp_path)
    assert one(loaded).description == "high"
    assert [str(hidden) for hidden in loaded.hidden] == [
        f"{tmp_path}/usr/web.toml is hidden by {tmp_path}/etc/web.toml"
    ]
    assert main_check([str(tmp_path / LOW), str(tmp_path / HIGH)]) == 0
    assert f"{tmp_path}/usr/web.toml is hidden by {tmp_path}/etc/web.toml" in capsys.readouterr().out


def test_both_names_of_a_card_are_one_card_in_any_layers(tmp_path: Path) -> None:
    write(tmp_path, {"usr/web.toml": GROUP, "etc/web.card.toml": 'description = "high"\n' + GROUP})
    loaded = load(tmp_path)
    assert (one(loaded).label, one(loaded).description) == ("web", "high")


def test_both_names_in_one_directory_are_a_problem_that_names_both(tmp_path: Path) -> None:
    write(tmp_path, {"usr/web.toml": GROUP, "usr/web.card.toml": GROUP})
    (problem,) = load(tmp_path).problems
    assert "web.toml" in str(problem)
    assert "web.card.toml" in str(problem)


@pytest.mark.parametrize("how", ["empty", "null"])
def test_a_mask_hides_what_lies_below_and_the_card_stays_to_be_seen(tmp_path: Path, how: str) -> None:
    write(tmp_path, {"usr/web.toml": 'description = "low"\n' + sh("true")})
    (tmp_path / HIGH).mkdir()
    mask = tmp_path / HIGH / "web.toml"
    mask.touch() if how == "empty" else mask.symlink_to("/dev/null")
    card = one(load(tmp_path))
    assert (card.masked, card.enabled, card.description, card.source.mask) == (True, False, "low", str(mask))


def test_a_mask_of_nothing_is_seen_as_well(tmp_path: Path) -> None:
    write(tmp_path, {"etc/web.toml": ""})
    assert one(load(tmp_path)).masked


def test_a_card_above_a_mask_counts(tmp_path: Path) -> None:
    write(tmp_path, {"usr/web.toml": "", "etc/web.toml": GROUP})
    assert not one(load(tmp_path)).masked


def test_drop_ins_go_from_the_general_to_the_particular_and_by_name_over_all_layers(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "usr/web@blue.toml": 'description = "card"\n' + GROUP,
            "etc/_all.card.d/90.toml": 'description = "all"\nid = "all"\nprovides = ["all"]',
            "usr/web@.card.d/50.toml": 'description = "template"\nid = "template"',
            "usr/web@blue.card.d/20.toml": 'description = "own 20"',
            "etc/web@blue.card.d/10.toml": 'description = "own 10"',
        },
    )
    card = one(load(tmp_path), "web@blue")
    assert (card.description, card.id, card.provides) == ("own 20", "template", ("all",))
    assert [Path(part.file).parent.name for part in card.source.parts[1:]] == [
        "_all.card.d",
        "web@.card.d",
        "web@blue.card.d",
        "web@blue.card.d",
    ]


def test_a_drop_in_hides_the_one_of_its_name_in_an_earlier_layer_and_an_empty_one_takes_it_away(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "usr/web.toml": GROUP,
            "usr/web.card.d/10.toml": 'description = "low"',
            "etc/web.card.d/10.toml": 'description = "high"',
            "usr/web.card.d/20.toml": 'id = "low"',
            "etc/web.card.d/20.toml": "",
        },
    )
    assert (one(load(tmp_path)).description, one(load(tmp_path)).id) == ("high", "")


def test_drop_ins_follow_the_label_not_the_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "usr/10.toml": 'label = "web"\n' + GROUP,
            "usr/seed.json": '{"label": "db", "payload": "Virtual"}',
            "etc/web.card.d/a.toml": 'description = "w"',
            "etc/db.card.d/a.toml": 'description = "d"',
        },
    )
    loaded = load(tmp_path)
    assert (one(loaded).description, one(loaded, "db").description) == ("w", "d")


def test_a_problem_of_a_drop_in_names_the_drop_in_and_its_line(tmp_path: Path) -> None:
    write(tmp_path, {"usr/web.toml": sh("true"), "etc/web.card.d/a.toml": "\n[soma]\nhostnam = 'x'\n"})
    (problem,) = load(tmp_path).problems
    assert (problem.file, problem.line) == (str(tmp_path / "etc/web.card.d/a.toml"), 3)
    assert problem.remedy == "did you mean 'hostname'?"


def test_a_broken_drop_in_stops_the_cards_that_take_it_and_is_told_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "usr/a.toml": GROUP,
            "usr/b.toml": GROUP,
            "usr/c.toml": GROUP,
            "etc/a.card.d/a.toml": "= broken",
        },
    )
    loaded = load(tmp_path)
    assert [card.label for card in loaded.cards] == ["b", "c"]
    assert [Path(problem.file).name for problem in loaded.problems] == ["a.toml"]
    write(tmp_path, {"etc/_all.card.d/a.toml": "= broken"})
    assert load(tmp_path).cards == ()
    assert len(load(tmp_path).problems) == 2


def test_a_line_after_a_drop_in_is_still_the_card_s_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "usr/web.toml": "[payload]\nexec = '/bin/sh'\n[soma]\nbinds = ['/srv']\n",
            "etc/web.card.d/a.toml": "[append.soma]\nbinds = [\n '/usr',\n '/opt']\n[payload]\nargv = ['x']",
        },
    )
    source = one(load(tmp_path)).source
    dropin = str(tmp_path / "etc/web.card.d/a.toml")
    where = {field: (source.file_of(field), source.line_of(field)) for field in ("payload.exec", "payload.argv.0")}
    assert where == {"payload.exec": (source.file, 2), "payload.argv.0": (dropin, 6)}
    assert (source.file_of("soma.binds.0"), source.line_of("soma.binds.0")) == (source.file, 4)
    assert (source.file_of("soma.binds.2"), source.line_of("soma.binds.2")) == (dropin, 4)


def test_check_of_a_drop_in_judges_it_with_the_card_that_it_is_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        tmp_path,
        {
            "etc/web.toml": sh("true"),
            "etc/web.card.d/good.toml": "[append]\nwants = ['x']\n",
            "etc/web.card.d/bad.toml": "colour = 1\n",
        },
    )
    assert main_check([str(tmp_path / "etc/web.card.d/good.toml")]) == 0
    assert main_check([str(tmp_path / "etc/web.card.d/bad.toml")]) == 1
    assert "etc/web.card.d/bad.toml:1: colour: no such field" in capsys.readouterr().err


def test_check_tells_of_drop_ins_without_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        tmp_path, {"etc/web@.toml": GROUP, "etc/web@1.card.d/a.toml": "id = 'x'", "etc/wbe.card.d/a.toml": "id = 'x'"}
    )
    assert main_check([str(tmp_path / "etc")]) == 0
    assert capsys.readouterr().out.splitlines() == ["wbe.card.d belongs to no card", "0 cards read, 0 problems"]


def test_the_administrator_s_directory_hides_what_lives_until_the_next_boot_and_that_what_packages_ship(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [str(place.parent.parent) for place in paths.SYSTEM_CARDS] == ["/usr/lib", "/run", "/etc"]
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    monkeypatch.setenv("XDG_DATA_HOME", "/d")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/r")
    places = [str(place) for place in paths.user_cards()]
    assert places[0] == "/usr/lib/arje/user-cards.d"
    assert places[1:] == ["/d/arje/cards.d", "/r/arje/cards.d", "/etc/arje/user-cards.d", "/c/arje/cards.d"]
