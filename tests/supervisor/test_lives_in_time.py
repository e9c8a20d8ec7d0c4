"""The timing of a life, in virtual time: waits between starts, the limit of starts, stops that escalate."""

from __future__ import annotations

import itertools
from pathlib import Path

from trio.testing import MockClock

from arje.card.supervision import RateLimit, RestartWhen, Supervision
from arje.service.state import State
from tests.supervisor.played import BAD, Play, card, playing, reach, times

ALWAYS = Supervision(restart=RestartWhen.ALWAYS, initial=1, max=8, healthy_after=100, rate_limit=RateLimit(starts=0))


async def test_the_wait_before_a_restart_doubles_to_its_most(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with playing(tmp_path, card("a", supervision=ALWAYS), a=Play(runs=0.5, exit=BAD)) as (found, _):
        found.want("a", "test")
        for _ in range(6):
            await reach(found, "a", State.RUNNING)
            await reach(found, "a", State.BACKOFF)
        starts = times(found, "a", State.STARTING)
        waits = [later - sooner - 0.5 for sooner, later in itertools.pairwise(starts)]
        assert waits == [1, 2, 4, 8, 8]
