"""JSON without the json module: its two halves in C do all the work here, and the rest of it costs arjectl 5 ms of 15.

``json`` imports ``re`` for the positions in its error messages, of which arjectl has no use. ``_json`` is CPython's own,
and so is all that arje is built on.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Rules:
    """What the scanner asks: as json.JSONDecoder has it."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's own


def _no_json(value: object) -> str:
    raise TypeError(f"{type(value).__name__} is no JSON")


_scan = make_scanner(_Rules())  # type: ignore[arg-type] # a decoder is more than it asks
_encode = make_encoder(None, _no_json, encode_basestring_ascii, None, ": ", ", ", False, False, True)


def read(text: str) -> Any:
    """Return what a text says. Raises ValueError."""
    try:
        return _scan(text, 0)[0]
    except StopIteration:
        raise ValueError("this is no JSON") from None


def write(value: object) -> str:
    """Return a value in ASCII. Raises TypeError."""
    return "".join(_encode(value, 0))
