"""A manager runs without docstrings and asserts where Python may keep what it compiles so; nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.init.lean import may_start_again
from tests.conftest import Manager, sh

Manage = Callable[..., Manager]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in a place where Python may keep what it compiles."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "__pycache__").mkdir()
    return tmp_path / "module.py"


def test_a_running_manager_has_no_texts(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    manager = manage({"a": sh("exec sleep 1000")}, fresh=True)
    words = Path(f"/proc/{manager.process.pid}/cmdline").read_bytes().split(b"\0")
    assert words[1] == b"-OO", "the pid is the one that was started"
    manager.settle("a")


def test_a_manager_starts_again_and_a_command_does_not(module: Path) -> None:
    assert may_start_again([], module)
    assert may_start_again(["--user", "--ready-fd", "3"], module)
    assert not may_start_again(["run", "--", "true"], module)
    assert not may_start_again(["check", "cards.d"], module)


def test_where_nothing_can_be_kept_it_would_compile_at_each_start(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert not may_start_again([], module)
    monkeypatch.undo()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert not may_start_again([], module), "a machine waits for its pid 1"
    (module.parent / f"__pycache__/module.{sys.implementation.cache_tag}.opt-2.pyc").touch()
    assert may_start_again([], module), "somebody else has compiled it"


def test_python_s_own_options_are_heeded() -> None:
    ask = "from pathlib import Path; from arje.init import lean; print(lean.may_start_again([], Path(lean.__file__)))"
    for options in (["-O"], ["-OO"], ["-B"]):
        said = subprocess.run([sys.executable, *options, "-c", ask], capture_output=True, text=True, check=True)
        assert said.stdout == "False\n"
