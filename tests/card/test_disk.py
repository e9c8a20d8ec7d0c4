"""Card files as people and their editors leave them: what is read, what is ignored, and what is a problem."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from arje.card.check import check
from arje.card.loader import load_file
from arje.card.shelf import load_dirs


def said(place: Path) -> str:
    loaded = load_file(place)
    assert loaded.cards == ()
    (problem,) = loaded.problems
    assert (problem.line, problem.field) == (0, "")
    return str(problem)


def test_a_fifo_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.toml")
    assert "not a regular file" in said(tmp_path / "x.toml")


def test_a_directory_a_device_and_a_socket_are_no_cards(tmp_path: Path) -> None:
    (tmp_path / "d.toml").mkdir()
    assert "not a regular file" in said(tmp_path / "d.toml")
    assert "not a regular file" in said(Path("/dev/zero"))
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "s.toml"))
        assert "cannot be read" in said(tmp_path / "s.toml")


def test_a_file_that_has_no_end_is_not_read_to_it(tmp_path: Path) -> None:
    (tmp_path / "big.toml").touch()
    os.truncate(tmp_path / "big.toml", 2**40)
    assert "larger than" in said(tmp_path / "big.toml")


@pytest.mark.parametrize("text", ["", "\n \n# nothing\n", "\ufeff"])
def test_an_empty_file_is_no_service(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    assert 'empty: it says nothing (write what runs, [payload]; or payload = "virtual"' in said(tmp_path / "x.toml")


@pytest.mark.parametrize(("name", "text"), [("x.toml", "label = 'x'"), ("x.json", '{"label": "x"}')])
def test_the_mark_that_some_editors_write_first_is_no_part_of_the_text(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, "utf-8-sig")
    assert [card.label for card in load_file(tmp_path / name).cards] == ["x"]


def test_what_editors_leave_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text("payload = 'virtual'")
    (tmp_path / ".#web.toml").symlink_to("me@host.1234")
    for name in (".web.toml.swp", ".hidden.toml", "web.toml~", "web.toml.bak", "README"):
        (tmp_path / name).write_text("nonsense")
    for loaded in (load_dirs([tmp_path]), check([tmp_path])):
        assert ([card.label for card in loaded.cards], loaded.problems) == (["web"], ())


def test_a_directory_that_cannot_be_read_is_a_problem_and_one_that_is_not_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "web.toml").write_text("payload = 'virtual'")
    loaded = load_dirs([tmp_path / "loop", tmp_path / "file", tmp_path / "missing", tmp_path / "good"])
    assert [card.label for card in loaded.cards] == ["web"]
    assert [Path(problem.file).name for problem in loaded.problems] == ["loop", "file"]


def test_a_name_that_is_no_text_is_a_problem(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.toml")).write_text("label = 'x'")
    (problem,) = load_dirs([tmp_path]).problems
    assert problem.file.encode().endswith(b"/\\xff.toml")
    assert problem.message == "its name is not UTF-8"
