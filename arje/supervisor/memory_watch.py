"""A running service that uses more memory than its card allows (``max_memory``): found by an event, or by looking.

Where the kernel tells (kernel/memory.py) nobody wakes up before. An event may mean page cache alone, which is given back;
then the next look is a second later at the earliest, as a service that reads many files makes a hundred events a second.
Elsewhere somebody has to look, and only a card may ask for that (``memory_check``): idle means that nothing wakes up.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from arje import log
from arje.card.card import Card
from arje.card.supervision import Supervision
from arje.supervisor.host import Living

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
Look = Callable[[], Awaitable[int]]
Ask = Callable[[str, Callable[[], int]], Awaitable[int]]

_QUIET: Final = 1.0  # seconds from a look that found too little to the next one


async def exceeded(supervisor: Supervisor, card: Card, living: Living) -> str | None:
    """Wait until a service uses more than its ``max_memory``, and say so. None: nothing here tells of it."""
    asked = card.supervision
    look = partial(_used_too_much, supervisor.host.ask, card.label, asked, living)
    used = await supervisor.host.heed(f"memory of {card.label}", look)
    return None if used is None else f"it uses {told(used)}, and its max_memory is {told(asked.max_memory)}"


async def _used_too_much(ask: Ask, label: str, asked: Supervision, living: Living) -> int | None:
    look = partial(ask, f"memory used by {label}", living.memory_used)
    try:
        events = living.memory_events(asked.max_memory)
    except OSError as error:
        if not asked.memory_check:
            LOG.error("nothing tells of its memory: write memory_check", service=label, why=error.strerror)
            return None
        return await _look_again_and_again(asked, look)
    quiet = 0.0
    try:
        while (used := await look()) < asked.max_memory:
            await trio.sleep(quiet)
            await trio.lowlevel.wait_readable(events.fd)
            os.read(events.fd, 65536)
            quiet = _QUIET
        return used
    finally:
        events.close()


async def _look_again_and_again(asked: Supervision, look: Look) -> int:
    while (used := await look()) < asked.max_memory:
        await trio.sleep(asked.memory_check)
    return used


def way(asked: Supervision, living: Living | None) -> str:
    """Return how the memory of a service is watched, in words; empty when it has no ``max_memory``, or does not run."""
    if not asked.max_memory or living is None:
        return ""
    if living.cgroup_file("memory.events") is not None:
        how = "the kernel tells (memory.high)"
    elif asked.memory_check:
        how = f"looked at every {asked.memory_check:g} s, as nothing here tells"
    else:
        how = "not watched: nothing here tells, and no memory_check is asked for"
    return f"starts again at {told(asked.max_memory)}; {how}"


def told(size: int) -> str:
    """Return bytes as people write them: ``1.5M``."""
    for unit in ("", "K", "M", "G"):
        if size < 1024 or unit == "G":
            break
        size /= 1024  # type: ignore[assignment] # it is only shown
    return f"{size:.3g}{unit}" if size < 1000 else f"{size:.0f}{unit}"
