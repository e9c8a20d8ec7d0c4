"""The JSON schema of a card, for editors; made from the dataclasses and their docstrings."""

from __future__ import annotations

from typing import Any

from arje.card.loader import adapter


def card_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12) of a card as the dataclasses have it, without what the loader adds."""
    schema = adapter().json_schema()
    schema["properties"].pop("source", None)
    schema.get("$defs", {}).pop("Source", None)
    return schema
