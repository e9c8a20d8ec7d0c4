"""The initramfs: the same input gives the same bytes, whoever builds it, when and where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vm import image, layer
from vm.kernel import NoMachine


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let what is built go to a directory in which nothing is yet."""
    monkeypatch.setattr(image, "BUILD", tmp_path)
    monkeypatch.setattr(image, "ROOT", image.ROOT)
    return tmp_path


def test_it_is_reproducible(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o077)
    monkeypatch.setenv("PYTHONHASHSEED", "17")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    try:
        first = image.initramfs().read_bytes()
        for path in elsewhere.iterdir():
            path.unlink()
        os.umask(0)
        monkeypatch.setenv("PYTHONHASHSEED", "4")
        monkeypatch.chdir(elsewhere)
        assert image.initramfs().read_bytes() == first
    except NoMachine as error:
        pytest.skip(str(error))
    finally:
        os.umask(before)


def test_compiled_cards_are_reproducible_and_know_their_paths_in_the_machine(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name / "web.card.d").mkdir(parents=True)
        (tmp_path / name / "web.toml").write_text('description = "x"\npayload = "virtual"\n')
        (tmp_path / name / "web.card.d/more.toml").write_text('description = "y"\n')
    one, other = (layer.of_cards(tmp_path / name) for name in ("one", "other"))
    assert one.encode() == other.encode()
    cache = one.entries[layer.CACHE].data
    assert b"/etc/arje/cards.d/web.toml" in cache
    assert str(tmp_path).encode() not in cache
