"""``arje import`` as a hand meets it: nothing is overwritten, nothing is half written, broken input has file and line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arje.imports import detect, report
from arje.imports.draft import Read
from arje.imports.finish import finish
from arje.service.order import Graph
from tests.imports.importing import GIVEN, SOURCES, report_of, run_import

WEB = "[program:web]\ncommand=/bin/true\n"


def test_a_card_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(WEB + "[program:other]\ncommand=/bin/true\n")
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "web.toml").write_text("mine")
    done = run_import(tmp_path / "site.conf", "--to", cards)
    assert done.returncode == 1
    assert "web.toml is there already; --force" in done.stderr
    assert [path.name for path in cards.iterdir()] == ["web.toml"]
    assert (cards / "web.toml").read_text() == "mine"


def test_force_writes_over_it(tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(WEB)
    (tmp_path / "web.toml").write_text("old")
    assert run_import(tmp_path / "site.conf", "--to", tmp_path, "--force").returncode == 0
    assert "/bin/true" in (tmp_path / "web.toml").read_text()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(WEB)
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "web.toml").symlink_to(tmp_path / "elsewhere")
    assert run_import(tmp_path / "site.conf", "--to", cards).returncode == 1
    assert run_import(tmp_path / "site.conf", "--to", cards, "--force").returncode == 0
    assert not (tmp_path / "elsewhere").exists()
    assert (cards / "web.toml").is_file()


def test_check_only_reports(tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(WEB)
    done = run_import(tmp_path / "site.conf", "--check", "--to", tmp_path / "cards")
    assert done.returncode == 0
    assert "1 card; " in done.stdout
    assert not (tmp_path / "cards").exists()


def test_without_a_directory_cards_are_shown_and_the_report_is_beside_them(tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(WEB)
    done = run_import(tmp_path / "site.conf")
    assert done.stdout.startswith("# --- web.toml\n")
    assert "kept" in done.stderr


def test_strict_takes_a_difference_for_an_error(tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(WEB)
    assert run_import(tmp_path / "site.conf", "--check", "--strict").returncode == 154


def test_a_broken_service_stops_only_itself(tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(WEB + "[program:bad]\ncommand=/bin/true\numask=999\n")
    done = run_import(tmp_path / "site.conf", "--to", tmp_path / "cards")
    assert done.returncode == 6
    assert f"{tmp_path}/site.conf:5: soma.umask" in done.stdout
    assert [path.name for path in (tmp_path / "cards").iterdir()] == ["web.toml"]


def test_services_that_need_each_other_in_a_circle_are_told(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a"), ("c", "a")):
        (tmp_path / name).write_text(f"type = process\ncommand = /bin/true\ndepends-on = {other}\n")
    done = report_of(tmp_path)
    assert [problem["line"] for problem in done["problems"]] == [3]
    assert f"b requires a ({tmp_path}/b:3)" in done["problems"][0]["message"]
    assert len(done["cards"]) == 2  # without one of them there is no circle


BROKEN = {
    "supervisord": ("x.conf", "[program:a]\ncommand=/bin/sh -c 'open\n", 2, "command"),
    "supervisord-option": ("x.conf", "[program:a]\ncommand=/bin/true\nnonsense\n", 3, "no option"),
    "supervisord-number": ("x.conf", "[program:a]\ncommand=/bin/true\nnumprocs=many\n", 3, "no number"),
    "dinit": ("db", 'type = process\ncommand = "open\n', 2, "never closed"),
    "dinit-type": ("db", "type = odd\ncommand = /bin/true\n", 1, "no type 'odd'"),
    "dinit-line": ("db", "type = process\ncommand = /bin/true\nwhat is this\n", 0, "no kind"),
    "openrc": ("db", "#!/sbin/openrc-run\ncommand=/bin/true\nstart_pre() {\n  true\n", 3, "no end"),
    "openrc-quote": ("db", '#!/sbin/openrc-run\ncommand="/bin/true\n', 2, "never closed"),
    "sysv": ("db", "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: db\n", 0, "no end"),
    "compose": ("c.yaml", "services:\n  a:\n    command: [true\n", 3, "never closed"),
    "compose-tab": ("c.yaml", "services:\n\ta: 1\n", 2, "a tab"),
    "compose-twice": ("c.yaml", "services:\n  a: {image: x}\n  a: {image: y}\n", 3, "already, in line 2"),
    "compose-duration": ("c.yaml", "services:\n  a:\n    image: x\n    stop_grace_period: soon\n", 4, "no duration"),
    "compose-extends": ("c.yaml", "services:\n  a:\n    extends: b\n", 3, "docker compose config"),
    "procfile": ("Procfile", "web: true\nno process\n", 2, "no process"),
    "binary": ("x.conf", "[program:a]\0\n", 1, "NUL"),
    "line": ("x.conf", "[program:a]\n" + "a" * 100_000, 2, "100000 letters"),
    "unknown": ("x", "hello\n", 0, "--from"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_input_has_file_and_line(case: str, tmp_path: Path) -> None:
    name, text, line, words = BROKEN[case]
    file = tmp_path / name
    file.write_text(text)
    done = run_import("--check", file)
    assert done.returncode == 6, done.stdout
    wrong = next(each for each in done.stdout.splitlines() if each.startswith("wrong"))
    assert f"{file}:{line}: " in wrong if line else f"{file}: " in wrong
    assert words in done.stdout
    assert "Traceback" not in done.stderr


def test_a_binary_an_enormous_file_a_fifo_and_nothing_are_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\x7fELF\xff\xfe")
    (tmp_path / "enormous").write_bytes(b"a=b\n" * (2 * 2**20))
    os.mkfifo(tmp_path / "fifo")
    for name, words in (
        ("binary", "UTF-8"),
        ("enormous", "larger"),
        ("fifo", "not a regular"),
        ("absent", "cannot be"),
    ):
        done = run_import("--check", tmp_path / name)
        assert done.returncode == 6
        assert words in done.stdout


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text("[program:we\x1b[31mb]\ncommand=/bin/echo \x1b]0;x\x07\n")
    done = run_import(tmp_path / "site.conf", "--check")
    assert "\x1b" not in done.stdout + done.stderr
    text = report_of(tmp_path / "site.conf")["cards"][0]["text"]
    assert "\x1b" not in text


def test_anchors_that_multiply_take_no_time(tmp_path: Path) -> None:
    lines = ["x0: &a0 [lol, lol]"]
    lines += [f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "c.yaml").write_text(
        "\n".join([*lines, "services:", "  a:", "    image: x", "    command: *a11"]) + "\n"
    )
    done = run_import("--check", tmp_path / "c.yaml", timeout=20)
    assert done.returncode == 6


TEXTS = [
    path for kind in SOURCES for path in sorted((GIVEN / SOURCES[kind].split("/")[0]).glob("**/*")) if path.is_file()
]


@settings(max_examples=300)
@given(st.sampled_from(TEXTS), st.data())
def test_whatever_is_cut_or_changed_is_read_or_told(path: Path, data: st.DataObject) -> None:
    text = path.read_text()
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 40)))
    more = data.draw(st.text("\"'{}[]()$&*|>-:#\\\n\t %=,;ax0", max_size=6))
    import tempfile

    with tempfile.TemporaryDirectory() as where:
        file = Path(where) / path.name
        if path.name == "run" or path.parent.name in ("s6-rc", "runit"):
            file = Path(where) / "service" / "run"
            file.parent.mkdir()
        file.write_text(text[:at] + more + text[end:])
        found = Read("")
        detect.read(file.parent if file.name == "run" else file, found)
        made = finish(found, lambda cards: Graph(cards).check())
        json.dumps(report.as_json(found, made, []))
        list(report.lines(found, made, []))
