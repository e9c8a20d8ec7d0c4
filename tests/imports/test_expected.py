"""Each format's definitions to cards, word for word, and each word of the report.

What is expected is in ``expected``, one folder for each folder of ``given``. To write it anew after a change, and to read
the difference: ``.venv/bin/python -m tests.imports.test_expected``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.imports.importing import EXPECTED, GIVEN, SOURCES, report_of, run_import


def made_of(kind: str) -> dict[str, str]:
    """Return the files that are expected of a format: its cards, and the report.

    Lines are broken by the length of paths: so it is done in a place whose name is always as long.
    """
    with tempfile.TemporaryDirectory(prefix="given.", dir="/tmp") as place:
        shutil.copytree(GIVEN, place, dirs_exist_ok=True, symlinks=True)
        source = Path(place, SOURCES[kind])
        report = report_of(source)
        files = {card["file"]: card["text"] for card in report["cards"]}
        files["report.txt"] = run_import("--check", source).stdout
        return {name: text.replace(place, "/given") for name, text in files.items()}


@pytest.mark.parametrize("kind", SOURCES)
def test_definitions_become_the_cards_that_a_person_would_write(kind: str) -> None:
    expected = {path.name: path.read_text() for path in (EXPECTED / kind).iterdir()}
    assert made_of(kind) == expected


@pytest.mark.parametrize("kind", SOURCES)
def test_every_card_passes_arje_check(kind: str, tmp_path: Path) -> None:
    done = run_import(GIVEN / SOURCES[kind], "--to", tmp_path)
    assert done.returncode == 0, done.stdout
    check = subprocess.run(
        [sys.executable, "-m", "arje", "check", str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert check.returncode == 0, check.stderr
    assert not check.stdout.startswith("0 cards")


@pytest.mark.parametrize("kind", SOURCES)
def test_the_format_is_known_by_its_content(kind: str) -> None:
    assert report_of(GIVEN / SOURCES[kind])["from"] == (kind if kind == "s6-rc" else kind.partition("-")[0])


@pytest.mark.parametrize("kind", SOURCES)
def test_every_finding_has_its_file_and_what_is_not_kept_its_reason(kind: str) -> None:
    for finding in report_of(GIVEN / SOURCES[kind])["findings"]:
        assert Path(finding["file"]).exists(), finding
        assert finding["fate"] == "kept" or finding["why"], finding
        if finding["line"]:
            assert finding["line"] <= len(Path(finding["file"]).read_text().splitlines()), finding


def _write() -> None:
    for kind in SOURCES:
        directory = EXPECTED / kind
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.iterdir():
            old.unlink()
        for name, text in made_of(kind).items():
            (directory / name).write_text(text)


if __name__ == "__main__":
    _write()
