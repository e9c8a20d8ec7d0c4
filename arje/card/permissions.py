"""The ancestor's ``permissions``: isolation said in a few words, as the parts of a soma that they mean."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from arje.card.nearest import nearest


class Meant(NamedTuple):
    """What a word means: the soma's ``network``, and the features that may degrade because the word says so."""

    network: dict[str, Any]
    prefer: tuple[str, ...] = ()


#: Word → what it means. ``outbound``: connections go out and none comes in, which is what pasta does without a port; where
#: it cannot be had the service has the host's network, and a degradation says so.
NETWORKING: Final = {
    "none": Meant({"mode": "none"}),
    "loopback": Meant({"mode": "loopback"}),
    "outbound": Meant({"pasta": {"fallback": "host"}}, ("network.pasta",)),
    "full": Meant({"mode": "host"}),
}


def networking(word: str) -> Meant:
    """Return what a word of ``permissions.networking`` means. Raises KeyError with the nearest right word, or nothing."""
    try:
        return NETWORKING[word]
    except (KeyError, TypeError):
        raise KeyError(nearest(str(word), NETWORKING) or "") from None
