"""The compiled cards between two lives of the manager: taken at its start, written again when something was judged."""

from __future__ import annotations

from pathlib import Path

import trio

from arje import log
from arje.card import cache
from arje.card.shelf import Memory

LOG = log.logger()


def recall(file: Path, memory: Memory) -> str:
    """Let a memory know what is in the file. Returns why nothing could be taken; empty when it could."""
    try:
        memory.known = cache.load(file)
    except cache.NoCache as error:
        return str(error)
    return ""


def tell(memory: Memory, why: str) -> None:
    """Log what the cache was good for: how many cards were judged, how many known, and why nothing was taken."""
    LOG.info("cards compiled", judged=memory.judged, known=len(memory.used) - memory.judged, no_cache=why or None)


async def keep(file: Path | None, memory: Memory) -> None:
    """Write down what was judged; a file that cannot be written costs the next start its time, and nothing else."""
    if not memory.unsaved or file is None:
        return
    memory.unsaved = False
    try:
        await trio.to_thread.run_sync(cache.save, file, dict(memory.known), abandon_on_cancel=True)
    except Exception as error:  # this task is in the manager's nursery
        LOG.info("the compiled cards are not kept", file=str(file), error=str(error))
