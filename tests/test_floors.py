"""The house has floors: a module imports from lower floors and from its own package, never sideways, never up."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "arje"
FLOORS = {
    "errors": 0,
    "paths": 0,
    "log": 0,
    "later": 0,
    "readymade": 0,
    "incarnation": 0.5,
    "native": 1,
    "kernel": 2,
    "card": 2,
    "imports": 3,
    "service": 3,
    "incarnate": 3,
    "supervisor": 4,
    "control": 5,
    "replay": 5,
    "ctl": 5,
    "init": 6,
    "sandbox": 6,
}
MODULES = sorted(path for path in ROOT.glob("**/*.py") if path.name != "__main__.py")


def imports(path: Path) -> set[str]:
    """Return the dotted names of every module that a file imports, wherever in the file."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):  # a type's name is no dependency at run time
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"arje.{alias.name}" for alias in node.names} if node.module == "arje" else {node.module}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "arje" or len(parts) == 1 or parts[1] == room or parts[1] == "__version__":
            continue
        assert FLOORS[parts[1]] < FLOORS[room], f"{path} imports {name}"


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent.name == "ctl"], ids=lambda path: path.name)
def test_arjectl_imports_the_standard_library_only(path: Path) -> None:
    for name in imports(path):
        top = name.partition(".")[0]
        assert top in sys.stdlib_module_names or name in {"arje.paths", "arje.__version__"} or ".ctl" in name, name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_but_the_trampoline_starts_processes(path: Path) -> None:
    if path.name == "build.py":
        return
    source = path.read_text()
    if path.parent.name == "ctl" and path.name in ("ssh.py", "hosts.py", "exchange_verbs.py"):
        return  # arjectl's: no reaper is in its process that could steal ssh's status
    for forbidden in ("import subprocess", "os.fork", "trio.run_process", "preexec_fn", "os.posix_spawn"):
        assert forbidden not in source, f"{path} uses {forbidden}"
