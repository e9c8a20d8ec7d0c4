"""Every linter is a test: the same rules here, in CI, and on a contributor's machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHELL = ("tools/find-python", "tools/packages", ".ci/run", "vm/build", "vm/run", "vm/scenario")
PYTHON = ("arje", "bench", "bench/run", "paper", "ship", "tests", "tools/run-examples", "vm", "setup.py")
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Werror", "-std=gnu11", "-O2", "-fsyntax-only")
SOURCES = sorted((ROOT / "arje/native").glob("*.c"))


def check(*command: str) -> None:
    """Run a linter in the project's root; what it says is the failure's message."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def need(program: str) -> str:
    """Return the program's path, or leave the check out and say so."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def test_ruff_has_nothing_to_say() -> None:
    check(sys.executable, "-m", "ruff", "check", *PYTHON)


def test_the_code_is_formatted() -> None:
    check(sys.executable, "-m", "ruff", "format", "--check", *PYTHON)


def test_mypy_is_strict_and_content() -> None:
    check(sys.executable, "-m", "mypy", "--strict", "arje", "bench", "paper", "ship", "vm", "tools/run-examples")


@pytest.mark.parametrize("compiler", ["gcc", "aarch64-linux-gnu-gcc"])
@pytest.mark.parametrize("source", [path for path in SOURCES if path.name != "_native.c"], ids=lambda path: path.name)
def test_the_c_compiler_has_no_warnings(compiler: str, source: Path) -> None:
    check(need(compiler), *WARNINGS, str(source))


def test_the_first_program_of_the_virtual_machine_has_no_warnings() -> None:
    check(need("gcc"), *WARNINGS, str(ROOT / "vm/stage0.c"))


@pytest.mark.parametrize("script", SHELL)
def test_shellcheck_has_nothing_to_say(script: str) -> None:
    check(need("shellcheck"), script)


@pytest.mark.parametrize("script", ["ship/login/arje.sh", "ship/login/60arje"])
def test_shellcheck_has_nothing_to_say_of_what_a_shell_sources(script: str) -> None:
    check(need("shellcheck"), "--shell=sh", script)


def test_no_file_is_longer_than_a_head_can_hold() -> None:
    files = [
        path for room in ("arje", "bench", "paper", "ship", "vm") for path in ROOT.glob(f"{room}/**/*.py")
    ] + SOURCES
    long = {str(path.relative_to(ROOT)) for path in files if len(path.read_text().splitlines()) > 400}
    assert long - {"arje/native/_native.c"} == set()
