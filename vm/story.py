"""A story: a machine in which arje is pid 1, told by somebody outside who types, presses keys and pulls the plug.

A module of ``vm/stories`` has ``CHECKS``, the names of what it shows, and ``tell(told)``, which boots one machine or more
and marks each thing that it saw. Like a scenario's, a check prints ``ok NAME`` or ``FAIL NAME why``.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from vm import HERE, layer
from vm.cpio import Tree
from vm.driven import PATIENCE, Driven, NotSaid
from vm.machine import Setup

CARDS: Final = HERE / "cards"


class Told:
    """What one telling of a story has shown. ``show`` prints the console at the end as well."""

    def __init__(self, *, show: bool = False) -> None:
        self.results: dict[str, str] = {}
        self.consoles: list[str] = []
        self._show = show

    @contextlib.contextmanager
    def check(self, name: str) -> Iterator[None]:
        """Mark a check: what is in here raises when it is not so. The story goes on in any case."""
        try:
            yield
        except Exception as error:  # an answer that cannot be read is no answer
            self.mark(name, " ".join(str(error).split())[-2000:] or "is not so")
            if self._show:
                traceback.print_exc()
        else:
            self.mark(name, "")

    def mark(self, name: str, why: str) -> None:
        """Keep how a check went: ``why`` it failed, empty when it did not."""
        self.results[name] = why
        if self._show:
            print(f"FAIL {name} {why}" if why else f"ok {name}", flush=True)

    @contextlib.contextmanager
    def machine(self, setup: Setup, *layers: Tree) -> Iterator[Driven]:
        """Boot a machine with layers over its initramfs; it is gone at the end of the block."""
        with tempfile.TemporaryDirectory(prefix="arje-vm.") as directory:
            if layers:
                path = Path(directory, "initramfs")
                layer.write(path, *layers)
                setup = replace(setup, initramfs=path)
            with Driven(setup) as driven:
                try:
                    yield driven
                finally:
                    self.consoles.append(driven.console)
                    if self._show:
                        print(driven.console, flush=True)

    def take(self, output: str) -> None:
        """Keep the checks that a probe inside has printed."""
        for line in output.splitlines():
            word, _, rest = line.partition(" ")
            if word == "ok":
                self.mark(rest, "")
            elif word == "FAIL":
                name, _, why = rest.partition(" ")
                self.mark(name, why or "is not so")


def log_in(machine: Driven) -> None:
    """Log in on the console as root, and have a shell there that only answers. Raises NotSaid."""
    machine.expect("login: ")
    machine.type("root\n")
    machine.expect("# ")
    machine.type("stty -echo; PS1=; PS2=; echo rea''dy\n")
    machine.expect("^ready\n")


def ask(machine: Driven, command: str, limit: float = PATIENCE) -> str:
    """Run a command in that shell and return what it printed. Raises NotSaid, also when it fails.

    What arje says on the console meanwhile, as that it is up, is none of it."""
    machine.type(f"{command}\nprintf '\\n=%d=\\n' $?\n")
    begin = machine.seen
    found = machine.expect(r"^(?:\x1b\[6n)*=(\d+)=\n", limit)
    output = machine.console[begin : found.start()].removesuffix("\n")
    if found[1] != "0":
        raise NotSaid(f"{command!r} ended with {found[1]}: {output}")
    return re.sub(r"^arje: .*\n", "", output.replace("\x1b[6n", ""), flags=re.MULTILINE)


def stories() -> list[str]:
    """Return the names of all stories."""
    return sorted(path.stem for path in (HERE / "stories").glob("[!_]*.py"))


def checks(name: str) -> Sequence[str]:
    """Return the names of a story's checks."""
    found: Sequence[str] = importlib.import_module(f"vm.stories.{name}").CHECKS
    return found


def tell(name: str, *, show: bool = False) -> Told:
    """Tell a story to its end; whatever stops it early is the failure of all that it has not come to. Raises NoMachine."""
    told = Told(show=show)
    try:
        importlib.import_module(f"vm.stories.{name}").tell(told)
    except AssertionError as error:
        if show:
            traceback.print_exc()
        print(error, file=sys.stderr)
    for missing in checks(name):
        if missing not in told.results:
            told.mark(missing, "the story did not come so far")
    return told
