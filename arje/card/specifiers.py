"""Specifiers: ``%i`` and its kin in the texts of templates and of cards with a ``[variables]`` table.

In every other card a percent sign is a percent sign. Here it is written ``%%``, ``%{name}`` is a variable, and any letter
that is none of :data:`MEANINGS` is a problem of the field. The letters are those of systemd.unit(5), "Specifiers". A text
that is nothing but one variable becomes its value, number or list as it is.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from arje import paths
from arje.card.nearest import nearest
from arje.card.unreadable import Unreadable, shown

MEANINGS: Final[dict[str, str]] = {
    "i": "the instance's name",
    "I": "the instance's name, - as /",
    "f": "the instance's name as a path: / before, - as /",
    "n": "the label",
    "N": "the label",
    "p": "the label before the @",
    "P": "the label before the @, - as /",
    "j": "what follows the last - of the label before the @",
    "J": "what follows the last - of the label before the @, - as /",
    "t": "the directory of runtime files: /run, or $XDG_RUNTIME_DIR",
    "S": "the directory of state: /var/lib, or $XDG_STATE_HOME",
    "C": "the directory of caches: /var/cache, or $XDG_CACHE_HOME",
    "L": "the directory of logs: /var/log, or log in $XDG_STATE_HOME",
    "E": "the directory of configuration: /etc, or $XDG_CONFIG_HOME",
    "T": "the directory of temporary files",
    "V": "the directory of temporary files that stay",
    "h": "the home of the manager's user",
    "u": "the name of the manager's user",
    "U": "the id of the manager's user",
    "g": "the name of the manager's group",
    "G": "the id of the manager's group",
    "s": "the shell of the manager's user",
    "H": "the host's name",
    "l": "the host's name before the first dot",
    "m": "the machine's id",
    "b": "the id of this boot",
    "v": "the kernel's release",
    "a": "the machine's kind (uname -m)",
}
_MARK: Final = re.compile(r"%(?:\{([^}]*)\}|(.)|$)", re.DOTALL)
_PLAIN: Final = (str, int, float, bool)


class Surroundings:
    """What specifiers say that no card knows: the manager's user, its directories, the host. Read when asked for.

    ``told``: letter → what was answered, for those who keep what was made with it.
    """

    def __init__(self, *, user: bool | None = None) -> None:
        self._user = os.geteuid() != 0 if user is None else user
        self.told: dict[str, str] = {}

    def are_still(self, told: Iterable[tuple[str, str]]) -> bool:
        """Whether each of these letters means what it meant."""
        return all(letter in _FACTS and _FACTS[letter](self) == meant for letter, meant in told)

    def __getitem__(self, letter: str) -> str:
        self.told[letter] = _FACTS[letter](self)
        return self.told[letter]

    @cached_property
    def _entry(self) -> pwd.struct_passwd | None:
        try:
            return pwd.getpwuid(os.geteuid())
        except KeyError:
            return None

    def home(self) -> str:
        return os.environ.get("HOME") or (self._entry.pw_dir if self._entry else "/")

    def name(self) -> str:
        return self._entry.pw_name if self._entry else str(os.geteuid())

    def shell(self) -> str:
        return (self._entry.pw_shell if self._entry else "") or "/bin/sh"

    def directory(self, system: str, variable: str, below: str) -> str:
        """Return a directory of the system's, or of the user's by its variable or below the home."""
        if not self._user:
            return system
        return os.environ.get(variable) or f"{self.home()}/{below}"

    def runtime(self) -> str:
        return str(paths.user_runtime().parent) if self._user else "/run"

    def group(self) -> str:
        import grp

        try:
            return grp.getgrgid(os.getegid()).gr_name
        except KeyError:
            return str(os.getegid())


def _line(file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


_FACTS: Final[dict[str, Callable[[Surroundings], str]]] = {
    "t": Surroundings.runtime,
    "S": lambda here: here.directory("/var/lib", "XDG_STATE_HOME", ".local/state"),
    "C": lambda here: here.directory("/var/cache", "XDG_CACHE_HOME", ".cache"),
    "L": lambda here: here.directory("/var/log", "", ".local/state/log"),
    "E": lambda here: here.directory("/etc", "XDG_CONFIG_HOME", ".config"),
    "T": lambda _: os.environ.get("TMPDIR") or "/tmp",
    "V": lambda _: os.environ.get("TMPDIR") or "/var/tmp",
    "h": Surroundings.home,
    "u": Surroundings.name,
    "U": lambda _: str(os.geteuid()),
    "g": Surroundings.group,
    "G": lambda _: str(os.getegid()),
    "s": Surroundings.shell,
    "H": lambda _: os.uname().nodename,
    "l": lambda _: os.uname().nodename.partition(".")[0],
    "m": lambda _: _line("/etc/machine-id"),
    "b": lambda _: _line("/proc/sys/kernel/random/boot_id").replace("-", ""),
    "v": lambda _: os.uname().release,
    "a": lambda _: os.uname().machine,
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the specifiers of one card mean. ``instance`` is None when it is of no template."""

    label: str
    instance: str | None
    here: Surroundings
    variables: Mapping[str, Any]

    def of(self, letter: str) -> str:
        """Return the text of one letter. Raises Unreadable."""
        prefix = self.label.partition("@")[0]
        last = prefix.rpartition("-")[2]
        if letter in "iI" and self.instance is None:
            raise Unreadable("", f"%{letter} means nothing here: {self.label} is no instance", "write it in a template")
        instance = self.instance or ""
        own = {
            "i": instance,
            "I": _path(instance),
            "f": f"/{_path(instance if self.instance is not None else prefix)}",
            "n": self.label,
            "N": self.label,
            "p": prefix,
            "P": _path(prefix),
            "j": last,
            "J": _path(last),
        }
        if letter in own:
            return own[letter]
        if letter in _FACTS:
            return self.here[letter]
        raise Unreadable(
            "", f"there is no specifier %{letter}", f"write %%{letter} for a percent sign; {_near(letter)}"
        )

    def variable(self, name: str) -> Any:
        """Return the value of a variable. Raises Unreadable."""
        if name in self.variables:
            return self.variables[name]
        near = nearest(name, self.variables)
        raise Unreadable("", f"no variable {name!r}", f"did you mean {near!r}?" if near else "add it to [variables]")

    def expand(self, text: str) -> Any:
        """Return a text with every specifier replaced. Raises Unreadable with all that is wrong with it."""
        if (whole := _MARK.fullmatch(text)) and whole[1] is not None:
            return self.variable(whole[1])

        def meant(found: re.Match[str]) -> str:
            if found[1] is not None:
                value = self.variable(found[1])
                if not isinstance(value, _PLAIN):
                    raise Unreadable(
                        "", f"%{{{found[1]}}} is {shown(value)}", "such a value stands alone in its quotes"
                    )
                return str(value).lower() if isinstance(value, bool) else str(value)
            if found[2] is None:
                raise Unreadable("", "a percent sign at the end", "write %% for a percent sign")
            return "%" if found[2] == "%" else self.of(found[2])

        return _MARK.sub(meant, text)


def _path(name: str) -> str:
    return name.replace("-", "/")


def _near(letter: str) -> str:
    """Name the letter that was meant, if only its size is wrong; else the ones that everybody needs."""
    if (other := letter.swapcase()) in MEANINGS:
        return f"%{other} is {MEANINGS[other]}"
    return "%i is the instance, %n the label, %p what is before the @, %t the runtime directory"


def expand(raw: dict[str, Any], meaning: Meaning) -> tuple[dict[str, Any], list[Unreadable], set[str]]:
    """Return a card's table with every text expanded, what could not be, and the fields that had specifiers.

    Names of fields and the label stay. A key of a table in a table may be a text too (``files = {"/etc/%i" = …}``).
    """
    wrong, touched = list[Unreadable](), set[str]()

    def text(value: str, path: str) -> Any:
        if "%" not in value:
            return value
        touched.add(path)
        try:
            return meaning.expand(value)
        except Unreadable as error:
            wrong.append(Unreadable(path, str(error), error.remedy))
            return value

    def walk(value: Any, path: str, depth: int) -> Any:
        if isinstance(value, str):
            return text(value, path)
        if isinstance(value, list):
            return [walk(item, f"{path}.{number}", depth + 1) for number, item in enumerate(value)]
        if isinstance(value, dict):
            return {
                str(text(key, path)) if depth > 1 else key: walk(item, f"{path}.{key}" if path else key, depth + 1)
                for key, item in value.items()
            }
        return value

    kept = {key: value for key, value in raw.items() if key in ("label", "variables")}
    made = walk({key: value for key, value in raw.items() if key not in kept}, "", 0)
    return kept | made, wrong, touched


def variables_of(raw: dict[str, Any], meaning: Meaning) -> tuple[dict[str, Any], list[Unreadable]]:
    """Return a card's variables, their own specifiers expanded (no variables in variables), and what is wrong."""
    table = raw.get("variables")
    if not isinstance(table, dict):
        return {}, []
    found, wrong, _ = expand({"_": table}, meaning)
    below = [Unreadable(f"variables{each.field.removeprefix('_')}", str(each), each.remedy) for each in wrong]
    return found["_"], below
