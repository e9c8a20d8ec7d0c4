"""A sandboxed start: against a loop in C, from a large manager, and against bwrap, unshare and crun.

Namespaces mount, pid, uts, ipc and cgroup, an own /proc and a cgroup of its own. The plan is encoded once, as for a
service that restarts; the payload is a tiny static program, so that its loader is not measured. The whole lives of
arje have the reading back of what was granted and the removal of the cgroup in them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final, cast

from bench import peers, site, worker
from bench.main import CannotRun
from bench.measure import Blocks, figures, interleave, ratio, table

#: Samples of one side in one round: enough for a median, too few for the machine to change meanwhile.
BLOCK: Final = 5
LIVES: Final = 3
SMALL, LARGE = 40, 300  # megabytes
WORDS: Final = {"arje": "arje", "c": "C loop", "c_singly": "C, one by one"}
#: What the project holds itself to: arje's p50 is at most so many times the other's.
GOALS: Final = {"c": 1.25, "large": 1.1, "bwrap": 0.25}


def measure(rounds: int) -> dict[str, object]:
    """Return the three comparisons. Raises CannotRun and Interrupted."""
    with site.opened() as here:
        operations = here.incarnator.dry_run(here.card).operations
        return {
            "goals": GOALS,
            "operations": list(operations),
            "own_cgroup": here.base is not None,
            "c_loop": _against_c(here, rounds),
            "ballast": _with_ballast(rounds),
            "peers": _against_peers(here, rounds),
        }


def _against_c(here: site.Site, rounds: int) -> dict[str, object]:
    calls = {"arje": here.to_exec, "c": here.in_c, "c_singly": here.in_c_singly}
    blocks = interleave(rounds, {name: functools.partial(call, BLOCK) for name, call in calls.items()})
    return _compared(blocks)


def _with_ballast(rounds: int) -> dict[str, object]:
    with worker.started("arje", str(SMALL)) as small, worker.started("arje", str(LARGE)) as large:
        workers = {"small": small, "large": large}
        blocks = interleave(rounds, {name: functools.partial(one.ask, BLOCK) for name, one in workers.items()})
        sides = {name: {**one.hello, **figures(blocks[name])} for name, one in workers.items()}
    return {**sides, "ratio": ratio(blocks["large"], blocks["small"])}


def _against_peers(here: site.Site, rounds: int) -> dict[str, object]:
    """A peer that is not there, or cannot do it here, is left out and named."""
    sides: dict[str, Callable[[], list[tuple[int, int]]]] = {"arje": functools.partial(here.lives, LIVES)}
    left_out = [why for name in peers.PACKAGES if (why := peers.absent(name))]
    for name, words in peers.COMMANDS.items():
        command = (*words, str(here.program))
        if not peers.absent(name):
            if why := peers.refused(name, command):
                left_out.append(why)
            else:
                sides[name] = functools.partial(_lives, command)
    with ExitStack() as stack:
        if not peers.absent("crun"):
            try:
                sides["crun"] = _crun(stack, here)
            except CannotRun as error:
                left_out.append(f"crun: {error}")
        pairs = interleave(rounds, sides)
    starts = {name: [[spoke for spoke, _ in block] for block in found] for name, found in pairs.items()}
    wholes = {name: [[ended for _, ended in block] for block in found] for name, found in pairs.items()}
    return {"start": _compared(starts), "life": _compared(wholes), "left_out": left_out}


def _compared(blocks: dict[str, Blocks]) -> dict[str, object]:
    ratios = {name: ratio(blocks["arje"], found) for name, found in blocks.items() if name != "arje"}
    return {**{name: figures(found) for name, found in blocks.items()}, "ratio": ratios}


def _lives(command: tuple[str, ...]) -> list[tuple[int, int]]:
    return [peers.life(command) for _ in range(LIVES)]


def _crun(stack: ExitStack, here: site.Site) -> Callable[[], list[tuple[int, int]]]:
    if peers.absent("unshare"):
        raise CannotRun("it needs a mount namespace of its own, and unshare is not installed")
    directory = stack.enter_context(peers.bundle(here.program))
    asked = stack.enter_context(worker.started("crun", str(directory), prefix=peers.PRIVATE))
    return functools.partial(asked.ask, LIVES)


def render(whole: dict[str, object]) -> str:
    """Return the tables, in µs."""
    facts = cast(dict[str, Any], whole)
    machine, loop, ballast, others = facts["machine"], facts["c_loop"], facts["ballast"], facts["peers"]
    sizes = {f"arje, {ballast[name]['rss_mb']} MB": ballast[name] for name in ("large", "small")}
    notes = [f"  left out: {why}" for why in others["left_out"]]
    if machine["load"] > machine["cpus"] / 2:
        notes.append(f"  this machine was busy (load {machine['load']}): trust p10 more than p50")
    return "\n".join(
        (
            f"Linux {machine['kernel']}, {machine['cpus']} × {machine['cpu']}, Python {machine['python']}; µs"
            + ("" if facts["own_cgroup"] else ", without a cgroup: none is writable here"),
            f"\nplan → confirmed exec (goal: ≤ {GOALS['c']} × the C loop)",
            rows(
                {WORDS[name]: loop[name] for name in WORDS}, {WORDS[name]: how for name, how in loop["ratio"].items()}
            ),
            f"\nthe same from a larger manager (goal: ≤ {GOALS['large']} × the small one)",
            rows(sizes, {list(sizes)[1]: ballast["ratio"]}),
            f"\nthe same sandbox by others, to the payload's first byte (goal: ≤ {GOALS['bwrap']} × bwrap)",
            rows(others["start"], others["start"]["ratio"]),
            "\nand until it has ended and all is cleaned up",
            rows(others["life"], others["life"]["ratio"]),
            *notes,
        )
    )


def rows(sides: dict[str, Any], ratios: dict[str, dict[str, float]]) -> str:
    """One line a side; those with a ratio show how many times theirs arje's (the first line's) time is."""
    rows = [["", "p10", "p50", "p90", "samples", "arje is ×", "at p10", "by round"]]
    for name, found in sides.items():
        if name == "ratio":
            continue
        cells = [name, *(f"{found[f'p{part}_us']:.0f}" for part in (10, 50, 90)), str(found["samples"])]
        if how := ratios.get(name):
            cells += [f"{how['p50']:.2f}", f"{how['p10']:.2f}", f"{how['rounds_p10']:.2f}–{how['rounds_p90']:.2f}"]
        rows.append(cells + [""] * (len(rows[0]) - len(cells)))
    return table(rows)
