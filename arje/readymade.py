"""Code that our imports would write and compile each time, compiled before: a third of what importing the manager takes.

dataclasses, attrs and namedtuple write the methods of each class as text and compile it; ``re`` compiles each pattern. What
comes out depends on the text and on this very Python alone. So a shelf from texts to code is right whatever else has
changed: a text that is not on it is compiled as always. ``python3 -m arje.init.shelving`` makes the shelf, beside this
file; ``vm/build`` ships one. It is looked at only while the manager is imported, and nothing stays replaced after that.

No ``annotations`` of the future here: compile(), called in our place for others, would inherit them.
"""

import _sre  # type: ignore[import-not-found, unused-ignore] # what re._compiler itself calls last
import builtins
import collections
import contextlib
import dataclasses
import marshal
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, Final

FILE: Final = Path(__file__).with_suffix(".codes")
_HEAD: Final = repr((sys.version, _sre.MAGIC)).encode() + b"\n"
_STRING: Final = "<string>"  # what Python calls the file of a text
#: attrs begins a class's hash with a number of its own, another in each process (PYTHONHASHSEED); 0 does as well.
_SALT: Final = re.compile(r"(return hash\(\(\s+)-?\d+,")
_compile = builtins.compile
_patterns: Any = re._compiler  # type: ignore[attr-defined] # not in the stubs
_compile_pattern = _patterns.compile


class Shelf:
    """``codes``: (text, its file, ``exec`` or ``eval``, or the flags of a pattern) → what it is compiled to, marshalled."""

    def __init__(self, codes: dict[tuple[str, str, str], bytes], *, fill: bool = False) -> None:
        self.codes = codes
        self._fill = fill

    def code(self, text: str, file: str, mode: str) -> CodeType:
        """Return the code of a text; its mode is compile()'s."""
        if (made := self.codes.get((text, file, mode))) is not None:
            return marshal.loads(made)  # type: ignore[no-any-return]
        code: CodeType = _compile(text, file, mode, dont_inherit=True)
        if self._fill:
            self.codes[text, file, mode] = marshal.dumps(code)
        return code

    def pattern(self, text: Any, flags: int = 0) -> Any:
        """Return a compiled pattern, as re's own compiler does."""
        if not isinstance(text, str):
            return _compile_pattern(text, flags)
        key = (text, "re", str(int(flags)))
        if (made := self.codes.get(key)) is not None:
            return _sre.compile(text, *marshal.loads(made))
        if self._fill:
            self.codes[key] = marshal.dumps(_parts(text, flags))
        return _compile_pattern(text, flags)


def _parts(text: str, flags: int) -> tuple[int, list[int], int, dict[str, int], tuple[str | None, ...]]:
    """Return what re's compiler hands to the engine behind the text (Lib/re/_compiler.py: compile)."""
    parsed = _patterns._parser.parse(text, flags)
    code = [int(word) for word in _patterns._code(parsed, flags)]
    groups = {str(name): int(number) for name, number in parsed.state.groupdict.items()}
    names: list[str | None] = [None] * parsed.state.groups
    for name, number in groups.items():
        names[number] = name
    return int(flags) | int(parsed.state.flags), code, parsed.state.groups - 1, groups, tuple(names)


def load(file: Path = FILE) -> Shelf | None:
    """Return the shelf of this Python; None when there is none, or it is of another one."""
    with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
        data = file.read_bytes()
        if data.startswith(_HEAD):
            return Shelf(marshal.loads(memoryview(data)[len(_HEAD) :]))
    return None


@contextlib.contextmanager
def used(shelf: Shelf | None) -> Iterator[None]:
    """Take what is compiled from the shelf while this lasts."""
    if shelf is None:
        yield
        return

    def execute(text: Any, globals: Any = None, locals: Any = None, /) -> None:
        builtins.exec(shelf.code(text, _STRING, "exec") if isinstance(text, str) else text, globals, locals)

    def evaluate(text: Any, globals: Any = None, locals: Any = None, /) -> Any:
        return builtins.eval(shelf.code(text, _STRING, "eval") if isinstance(text, str) else text, globals, locals)

    def compiled(source: Any, filename: Any, mode: str, *words: Any, **more: Any) -> Any:
        if isinstance(source, str) and str(filename).startswith("<attrs generated") and not (words or more):
            return shelf.code(_SALT.sub(r"\g<1>0,", source), filename, mode)
        return _compile(source, filename, mode, *words, **more)

    with (
        _standing_in(vars(dataclasses), "exec", execute),
        _standing_in(vars(collections), "eval", evaluate),
        _standing_in(vars(builtins), "compile", compiled),
        _standing_in(vars(_patterns), "compile", shelf.pattern),
    ):
        yield


@contextlib.contextmanager
def _standing_in(room: dict[str, Any], name: str, other: Callable[..., Any]) -> Iterator[None]:
    """Let a name of a module mean something else; where it had none, a builtin's is meant."""
    before = room.get(name)
    room[name] = other
    try:
        yield
    finally:
        if before is None:
            del room[name]
        else:
            room[name] = before


def save(shelf: Shelf, file: Path = FILE) -> None:
    """Write a shelf, whole. Raises OSError."""
    half = file.with_name(f".{file.name}.{os.getpid()}")
    half.write_bytes(_HEAD + marshal.dumps(dict(sorted(shelf.codes.items()))))
    half.rename(file)
