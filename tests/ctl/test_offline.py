"""--root DIR: the manager of another root, and what sticks in one where no manager runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from arje import paths
from arje.ctl import offline
from arje.ctl.main import main
from arje.supervisor import stick
from tests.conftest import Manager, sh

Manage = Callable[..., Manager]
SLEEP = sh("exec sleep infinity")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with two cards that its packages ship, and a template of its administrator's."""
    shipped, own = tmp_path / "usr/lib/arje/cards.d", tmp_path / "etc/arje/cards.d"
    shipped.mkdir(parents=True)
    own.mkdir(parents=True)
    (shipped / "web.toml").write_text(SLEEP)
    (shipped / "db.toml").write_text("enabled = false\n" + SLEEP)
    (own / "copy@.toml").write_text("enabled = false\n" + SLEEP)
    return tmp_path


def ctl(root: Path, *words: str) -> int:
    return main(["--root", str(root), *words])


def test_it_is_written_as_a_manager_writes_it(root: Path, manage: Manage, capsys: pytest.CaptureFixture[str]) -> None:
    manager = manage({"web": SLEEP, "db": "enabled = false\n" + SLEEP})
    for verb, label in (("disable", "web"), ("enable", "db"), ("mask", "db"), ("unmask", "db"), ("mask", "web")):
        assert manager.ctl(verb, label).returncode == 0
        assert ctl(root, verb, label) == 0
        for each in ("web", "db"):
            written = root / f"etc/arje/cards.d/{each}.card.d/50-arjectl.toml"
            theirs = manager.cards / f"{each}.card.d/50-arjectl.toml"
            assert written.exists() == theirs.exists()
            assert not written.exists() or written.read_text() == theirs.read_text()
    assert (stick.NAME, stick._HEAD) == (offline.NAME, offline.HEAD)
    assert {f"/{each}" for each in offline.DIRECTORIES} <= {str(each) for each in paths.SYSTEM_CARDS}
    assert "web: masked (" in capsys.readouterr().out


def test_what_would_start_at_boot_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl(root, "is-enabled", "web", "db") == 0
    assert ctl(root, "is-enabled", "db", "copy@one") == 1
    assert ctl(root, "enable", "db", "copy@one") == 0
    assert ctl(root, "enable", "db") == 0
    assert ctl(root, "is-enabled", "db", "copy@one", "copy@two") == 0
    assert [line.partition(" (")[0] for line in capsys.readouterr().out.splitlines()] == [
        *("enabled", "disabled", "disabled", "disabled"),
        *("db: enabled", "copy@one: enabled", "db: enabled already"),
        *("enabled", "enabled", "disabled"),
    ]


def test_a_mask_in_the_place_of_a_card_goes_with_unmask(root: Path) -> None:
    mask = root / "etc/arje/cards.d/web.toml"
    mask.symlink_to("/dev/null")
    assert ctl(root, "is-enabled", "web") == 1
    assert ctl(root, "unmask", "web") == 0
    assert not mask.is_symlink()
    assert ctl(root, "is-enabled", "web") == 0


def test_what_is_not_there_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(root.rglob("*"))
    assert ctl(root, "disable", "web", "nobody") == 5
    assert ctl(root, "is-enabled", "nobody") == 4
    assert f"no card of 'nobody' in {root}/usr/lib/arje/cards.d" in capsys.readouterr().err
    assert ctl(root, "restart", "web") == 150, "what needs a manager says so"
    assert sorted(root.rglob("*")) == before


def test_the_manager_of_a_root_is_talked_to(root: Path, manage: Manage, capsys: pytest.CaptureFixture[str]) -> None:
    manager = manage({"a": SLEEP})
    (root / "run").mkdir()
    (root / "run/arje").symlink_to(manager.runtime)
    assert ctl(root, "is-enabled", "a") == 0
    assert ctl(root, "ping") == 0
    assert f"pid {manager.process.pid}" in capsys.readouterr().out
