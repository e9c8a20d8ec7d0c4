"""The documents below docs/, played: each command in a ``console`` block is run and must say what stands below it.

* A ``toml`` block that begins with ``# ~/…`` or ``# /…`` is that file; it is written before what follows is run.
* ``…`` stands for anything in a line, a line of nothing else for any lines.
* All blocks of a document run in one bash, in a home, a runtime directory and (as root) a network of their own. A manager
  that a command starts in the background is waited for; a document ends it itself.

``python -m paper fill FILE`` writes what the commands say now below those that said something else: for whoever writes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from paper import ROOT

_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK: Final = "===arje-said==="


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and where it stands in the document."""

    language: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Said:
    """A command, what the document says that it says, and what it said."""

    command: str
    expected: str
    got: str

    @property
    def right(self) -> bool:
        """Whether the document is true."""
        return matches(self.expected, self.got)


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a document."""
    return [Block(found[1], found[2], found.start(2), found.end(2)) for found in _BLOCK.finditer(text)]


def commands(block: str) -> list[tuple[str, str]]:
    """Return the commands of a console block with what follows each. A command goes on after a backslash."""
    found: list[tuple[str, str]] = []
    goes_on = False
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif goes_on:
            found[-1] = (f"{found[-1][0]}\n{line.removeprefix('> ')}", "")
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
        goes_on = bool(found) and not found[-1][1] and found[-1][0].endswith("\\")
    return found


def matches(expected: str, got: str) -> bool:
    """Compare by lines; ``…`` is anything."""
    pattern = ""
    for line in expected.splitlines():
        words = r"[^\n]*".join(re.escape(part.rstrip()) if not rest else re.escape(part) for part, rest in _parts(line))
        pattern += r"(?:[^\n]*\n)*?" if line.strip() == "…" else rf"{words}[ \t]*\n"
    return re.fullmatch(pattern, got if not got or got.endswith("\n") else f"{got}\n") is not None


def _parts(line: str) -> Iterator[tuple[str, bool]]:
    parts = line.split("…")
    for number, part in enumerate(parts):
        yield part, number < len(parts) - 1


class Session:
    """A bash with arje on its PATH, in a home of its own."""

    def __init__(self, home: Path) -> None:
        bin = home.parent / "bin"
        bin.mkdir(parents=True)
        home.mkdir()
        for name, module in (("arje", "arje"), ("arjectl", "arje.ctl")):
            path = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
            start = (
                f"{path}; from {module}.main import main"
                if module == "arje.ctl"
                else f"{path}; from arje.init.main import main"
            )
            (bin / name).write_text(f"#!{sys.executable}\n{start}; sys.exit(main())\n".replace("; ", "\n"))
            (bin / name).chmod(0o755)
        runtime = home.parent / "run"
        runtime.mkdir(mode=0o700)
        environment = {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(runtime),
            "PATH": f"{bin}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "USER": "you",
        }
        alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"] if os.geteuid() == 0 else []
        self.home = home
        self.bash = subprocess.Popen(
            [*alone, "bash", "--norc"],
            env=environment,
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def write(self, place: str, text: str) -> None:
        """Write a file whole, as editors do."""
        path = Path(place.replace("~", str(self.home), 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}")
        fresh.write_text(text)
        fresh.rename(path)

    def run(self, command: str) -> str:
        """Run a command and return what it says, its home as ``~``."""
        assert self.bash.stdin
        assert self.bash.stdout
        words = command
        if command.endswith("&"):  # its log is for its terminal; and what comes next wants it there
            wait = "until arjectl ping >/dev/null 2>&1; do sleep 0.1; done"
            words = f"{command.removesuffix('&')} >~/.manager.log 2>&1 &\n{wait}"
        self.bash.stdin.write(f"{words}\necho {_MARK}\n")
        self.bash.stdin.flush()
        said = ""
        for line in self.bash.stdout:
            if line.endswith(f"{_MARK}\n"):
                return self._plainly(said + line.removesuffix(f"{_MARK}\n"))
            said += line
        return self._plainly(said)

    def _plainly(self, text: str) -> str:
        runtime = str(self.home.parent / "run")
        return text.replace(str(self.home), "~").replace(runtime, "/run/user/1000")

    def close(self) -> None:
        """End the shell, and a manager that the document has forgotten."""
        assert self.bash.stdin
        self.bash.stdin.write("kill $(jobs -p) 2>/dev/null; wait\n")
        self.bash.stdin.close()
        self.bash.wait(60)


def play(document: Path, place: Path) -> list[Said]:
    """Run a document in a directory of its own and return what each command said."""
    session = Session(place / "home")
    found = []
    try:
        for block in blocks(document.read_text()):
            first, _, rest = block.text.partition("\n")
            if block.language == "toml" and re.match(r"# [~/]", first):
                session.write(first[2:], rest)
            elif block.language == "console":
                found += [Said(command, expected, session.run(command)) for command, expected in commands(block.text)]
    finally:
        session.close()
    return found


def fill(document: Path, place: Path) -> None:
    """Write what each command says now below those that say something else."""
    said = iter(play(document, place))
    text, shift = document.read_text(), 0
    for block in blocks(text):
        if block.language == "console":
            rows = ""
            for _ in commands(block.text):
                each = next(said)
                rows += f"$ {each.command}\n{each.expected if each.right else each.got}"
            text = text[: block.start + shift] + rows + text[block.end + shift :]
            shift += len(rows) - (block.end - block.start)
    document.write_text(text)
    shutil.rmtree(place, ignore_errors=True)
