"""What the value of a field must be like: the plain kinds. Each room of a card has the rules of its own nouns.

A rule stands in the annotation of a field (``Annotated[int, WHOLE]``) and pydantic asks it. It is strict, because every
value that is bent until it fits hides a mistake: ``true`` is no number, ``"5"`` is none either. It speaks plain words, and
it needs no pydantic to be imported (see ``card.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from arje.card.unreadable import Unreadable, shown, together

Check = Callable[[Any], Any]
#: How pydantic takes the dataclasses of a card. What docstrings their fields have is ``schema.py``'s question alone: to
#: look for them in the source takes 0.1 s.
FORBID: Final[dict[str, Any]] = {"extra": "forbid"}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """``check`` returns the value to keep, or raises Unreadable. ``written`` is the JSON schema of what a file may say.

    Without ``written`` the annotated type is judged first, and the check sees what came of that.
    """

    check: Check
    written: Mapping[str, Any] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        if self.written is None:
            return core_schema.no_info_after_validator_function(self.check, handler(source))
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(core) if self.written is None else dict(self.written)


def text(value: Any) -> str:
    """Return a string that may reach the kernel and a terminal: without NUL and unpaired surrogates."""
    if not isinstance(value, str):
        raise Unreadable("", f"{shown(value)} is not text", "write it in quotes")
    if "\0" in value:
        raise Unreadable("", f"a NUL byte in {shown(value)}", "remove it")
    if _SURROGATE.search(value):
        raise Unreadable("", f"half a character (an unpaired surrogate) in {shown(value)}", "remove it")
    return value


def flag(value: Any) -> bool:
    """Return true or false, which no number and no word is."""
    if not isinstance(value, bool):
        raise Unreadable("", f"{shown(value)} is neither true nor false", "write true or false")
    return value


def whole(least: int, most: int) -> Check:
    """Return the check of a whole number in a range."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Unreadable("", f"{shown(value)} is no whole number", f"write a number from {least} to {most}")
        if not least <= value <= most:
            raise Unreadable("", f"{shown(value)} is out of range", f"{least} to {most}")
        return value

    return check


def whole_rule(least: int, most: int) -> Rule:
    """Return the rule of a whole number in a range."""
    return Rule(whole(least, most), {"type": "integer", "minimum": least, "maximum": most})


def real(least: float, most: float, example: str = "write a number of seconds") -> Check:
    """Return the check of a finite number in a range."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Unreadable("", f"{shown(value)} is no number", example)
        if not least <= value <= most:  # false for NaN
            raise Unreadable("", f"{shown(value)} is out of range", f"{least:.12g} to {most:.12g}")
        return float(value)

    return check


def many(check: Check) -> Check:
    """Return the check of a list whose items each pass a check."""

    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            example = f'"{value}"' if isinstance(value, str) and '"' not in value else shown(value)
            raise Unreadable("", f"{shown(value)} is not a list", f"write a list: {{name}} = [{example}]")
        found, wrong = [], []
        for index, item in enumerate(value):
            try:
                found.append(check(item))
            except Unreadable as error:
                wrong.append(_below(str(index), error))
        if wrong:
            raise together(wrong)
        return tuple(found)

    return check_all


def _below(name: str, error: Unreadable) -> Unreadable:
    below = [Unreadable(f"{name}.{each.field}".rstrip("."), str(each), each.remedy) for each in error.all()]
    return together(below)


def matching(pattern: str, message: str, remedy: str, *, empty: bool = False) -> Rule:
    """Return the rule of a text that a pattern matches whole. The pattern is one for JSON schemas as well."""
    known = re.compile(pattern)

    def check(value: Any) -> str:
        word = text(value)
        if (word or not empty) and not known.fullmatch(word):
            raise Unreadable("", f"{shown(word)} {message}", remedy)
        return word

    return Rule(check, {"type": "string", "pattern": f"^({pattern}){'?' * empty}$"})


def kept(value: Any) -> Any:
    """Return a value of any shape that JSON has, as it is: what arje keeps and shows without knowing it."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list):
        return list(many(kept)(value))
    if isinstance(value, dict):
        return {text(name): _kept_member(str(name), item) for name, item in value.items()}
    raise Unreadable("", f"{shown(value)} cannot be kept: JSON has no such value", "write it in quotes")


def _kept_member(name: str, value: Any) -> Any:
    try:
        return kept(value)
    except Unreadable as error:
        raise _below(name, error) from error


#: Longest time that a card may ask for, in seconds: some thirty years. Sums and doublings of it stay finite.
LONGEST: Final = 10**9

_TEXT: Final = {"type": "string"}
DURATION: Final = {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(us|ms|s|m|min|h|d)?\s*$"}

Text = Annotated[str, Rule(text, _TEXT)]
Texts = Annotated[tuple[str, ...], Rule(many(text), {"type": "array", "items": _TEXT})]
Flag = Annotated[bool, Rule(flag, {"type": "boolean"})]
Kept = Annotated[Any, Rule(kept, {})]
Seconds = Annotated[
    float, Rule(real(0, LONGEST), {"anyOf": [{"type": "number", "minimum": 0, "maximum": LONGEST}, DURATION]})
]
