"""What imports would compile, taken from a shelf: the same classes and patterns, for the Python that made it alone."""

from __future__ import annotations

import builtins
import collections
import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from arje import readymade
from arje.readymade import Shelf
from tests.conftest import ROOT

IMPORT = """
import sys
from pathlib import Path
from arje import later, readymade
later.put_off()
shelf = readymade.load(Path(sys.argv[1]))
assert shelf is not None
known = len(shelf.codes)
shelf._fill = True  # what is not on it comes on it
with readymade.used(shelf), later.no_search_for_threads():
    import arje.init.daemon
print(known, len(shelf.codes) - known)
"""


def python(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_manager_compiles_at_import_is_all_on_the_shelf(tmp_path: Path) -> None:
    python("-m", "arje.init.shelving", str(tmp_path / "codes"))
    known, new = map(int, python("-c", IMPORT, str(tmp_path / "codes")).split())
    assert known > 500
    assert new == 0


def test_the_shelf_of_another_python_or_a_broken_one_is_none(tmp_path: Path) -> None:
    file = tmp_path / "codes"
    assert readymade.load(file) is None
    file.write_bytes(b"('3.9', 1)\n" + b"{}")
    assert readymade.load(file) is None
    file.write_bytes(readymade._HEAD + b"[\xff")
    assert readymade.load(file) is None


def make() -> tuple[Any, Any]:
    @dataclasses.dataclass(frozen=True, slots=True, order=True)
    class Point:
        x: int
        y: int = 3

    return Point, collections.namedtuple("Pair", "a b")


def test_classes_from_the_shelf_are_like_all_others() -> None:
    shelf = Shelf({}, fill=True)
    with readymade.used(shelf):
        make()
    filled = len(shelf.codes)
    with readymade.used(shelf):
        point, pair = make()
    assert len(shelf.codes) == filled > 5
    assert repr(point(1)).endswith("Point(x=1, y=3)")
    assert point(1) < point(2) == point(x=2, y=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point(1).x = 2
    assert pair(b=1, a=2) == (2, 1)


@pytest.mark.parametrize(
    ("text", "flags"), [(r"(?P<a>\w+)-(\d)?", 0), ("^x.y$", re.MULTILINE | re.DOTALL), ("(?i)ä", 0)]
)
def test_patterns_from_the_shelf_are_like_all_others(text: str, flags: int) -> None:
    plain, shelf = re.compile(text, flags), Shelf({}, fill=True)
    for _ in range(2):
        re.purge()
        with readymade.used(shelf):
            found = re.compile(text, flags)
        assert (found.pattern, found.flags, found.groups, found.groupindex) == (
            plain.pattern,
            plain.flags,
            plain.groups,
            plain.groupindex,
        )
        for line in ("foo-1", "foo-", "a\nx\ny", "Ä"):
            assert [m.groups() for m in found.finditer(line)] == [m.groups() for m in plain.finditer(line)]
    assert len(shelf.codes) == 1


def test_nothing_stays_replaced() -> None:
    before = builtins.compile, re._compiler.compile  # type: ignore[attr-defined]
    with readymade.used(Shelf({})):
        assert builtins.compile is not before[0]
    assert (builtins.compile, re._compiler.compile) == before  # type: ignore[attr-defined]
    assert "exec" not in vars(dataclasses)
    assert "eval" not in vars(collections)
