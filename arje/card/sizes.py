"""Sizes as people write them."""

from __future__ import annotations

import re
from typing import Any, Final

from arje.card.unreadable import Unreadable, shown

_SIZES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE: Final = re.compile(r"([0-9]{1,20})\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def size(value: Any, field: str) -> Any:
    """Return bytes of ``"256M"``; numbers are bytes already."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise Unreadable(field, f"{shown(value)} is no size", 'write bytes, or "64K", "256M", "2G"')
    return int(match[1]) * _SIZES[match[2].upper()]
