"""How fast and how small a supervisor is: N services up, one killed, all killed, memory; runit, s6, supervisord, circus.

A service is a static program that tells its pid on a FIFO and sleeps. Every supervisor keeps the same ones in turn. The
memory is the proportional one (PSS) of the supervisor's own processes. s6, supervisord and circus wait before they start a
service again that died within a second; so each service has lived for longer before it is killed. arje is measured at its
second start: the first has compiled its cards.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Final, cast

from bench.keepers import Keeper, Place, Running, keepers, place
from bench.main import CannotRun
from bench.measure import interleave, table

SIZES: Final = (1, 10, 100, 1000)
_MOST: Final = SIZES[-1]
_KILLS: Final = 10
_LIVED: Final = 1.5  # seconds after which nobody counts a death as an early one
_IDLE: Final = 60.0  # seconds of doing nothing

Sample = dict[str, float]


def measure(rounds: int) -> dict[str, object]:
    """Measure every supervisor that is here. Raises CannotRun when none of the peers is."""
    here = [keeper for keeper in keepers() if not keeper.absent]
    if len(here) < 2:
        raise CannotRun("; ".join(keeper.absent for keeper in keepers() if keeper.absent))
    with place() as where:
        found = {
            str(count): interleave(rounds, {keeper.name: _side(keeper, where, count) for keeper in here})
            for count in SIZES
        }
        idle = _idle(here[0], where)
    figures = {
        count: {name: _median([sample for block in blocks for sample in block]) for name, blocks in sides.items()}
        for count, sides in found.items()
    }
    return {
        "figures": figures,
        "per_service_bytes": _per_service(figures),
        "idle": idle,
        "absent": [keeper.absent for keeper in keepers() if keeper.absent],
    }


def _side(keeper: Keeper, where: Place, count: int) -> Callable[[], list[Sample]]:
    def once() -> list[Sample]:
        running = Running(keeper, where, count)
        try:
            sample: Sample = {"up_ms": running.up_ns / 1e6}
            time.sleep(_LIVED)
            sample["pss_mb"] = running.memory() / 1e6
            if count == _MOST:
                sample["one_ms"] = statistics.median(running.again(1) / 1e6 for _ in range(_KILLS))
                time.sleep(_LIVED)
                sample["all_ms"] = running.again(count) / 1e6
            return [sample]
        finally:
            running.close()

    return once


def _idle(keeper: Keeper, where: Place) -> dict[str, float]:
    """How often the supervisor is switched to while nothing happens."""
    running = Running(keeper, where, 100)
    try:
        time.sleep(_LIVED)
        before = running.wakeups()
        time.sleep(_IDLE)
        return {"seconds": _IDLE, "switches": running.wakeups() - before}
    finally:
        running.close()


def _median(samples: list[Sample]) -> Sample:
    return {name: round(statistics.median(sample[name] for sample in samples), 3) for name in samples[0]}


def _per_service(figures: dict[str, dict[str, Sample]]) -> dict[str, float]:
    """Bytes that each service more costs, between 100 and 1000."""
    small, large = figures["100"], figures["1000"]
    return {name: round((large[name]["pss_mb"] - small[name]["pss_mb"]) * 1e6 / 900) for name in large}


def render(figures: dict[str, object]) -> str:
    """Return the figures for people."""
    sizes = cast(dict[str, dict[str, Sample]], figures["figures"])
    lines = [f"{figures['rounds']} rounds, medians; machine: {figures['machine']}"]
    names = list(sizes[str(_MOST)])
    rows = [["", *names]]
    for count, sides in sizes.items():
        rows.append([f"{count} up, ms", *(f"{sides[name]['up_ms']:.0f}" for name in names)])
    for title, field in (("one killed → back, ms", "one_ms"), ("all killed → back, ms", "all_ms")):
        rows.append([title, *(f"{sizes[str(_MOST)][name][field]:.2f}" for name in names)])
    rows.append(["memory at 1000, MB", *(f"{sizes[str(_MOST)][name]['pss_mb']:.1f}" for name in names)])
    more = cast(dict[str, float], figures["per_service_bytes"])
    rows.append(["each further one, bytes", *(f"{more[name]:.0f}" for name in names)])
    lines.append(table(rows))
    idle = cast(dict[str, float], figures["idle"])
    lines.append(
        f"  arje with 100 services that do nothing: {idle['switches']:.0f} switches in {idle['seconds']:.0f} s"
    )
    lines += [f"  left out: {why}" for why in cast(list[str], figures["absent"])]
    return "\n".join(lines)
