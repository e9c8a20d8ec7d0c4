"""The full sandbox, first byte and whole life: against bwrap, firejail and crun.

What is in it is told in boxes.py. One filter, compiled once by arje, is given to every peer that takes one; arje reads
back what was granted within its time, the others believe. The richer variant has an overlay and landlock, too.

arje is measured as its manager works: the start before has had a thread make a net and a user namespace for this one
(incarnate/spares.py), and while this one runs that thread makes those of the next, which is in the time until all is
cleaned up as far as it is in the way. What a first start takes, with nothing made ahead, is measured beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final, cast

from bench import boxes, peers, site, worker
from bench.main import CannotRun
from bench.measure import Blocks, figures, interleave, ratio
from bench.spawn import rows

LIVES: Final = 3
#: arje's p50 to the first byte is at most so many times the fastest peer's.
GOAL: Final = 1 / 3
_OWN: Final = ("arje", "arje, nothing made ahead", "arje, overlay + landlock")

Pairs = list[tuple[int, int]]


def measure(rounds: int) -> dict[str, object]:
    """Return the comparison and the steps of one start. Raises CannotRun and Interrupted."""
    with ExitStack() as stack:
        here, box = stack.enter_context(site.opened()), stack.enter_context(boxes.packed())
        plain, richer = (replace(here, card=card) for card in (box.card, box.richer))
        _insist(plain, richer)
        planned = plain.incarnator.prepared(box.card)[0].ops
        box.bpf.write_bytes(next(cast(bytes, one.op.p) for one in planned if one.op.step == "seccomp"))
        sides: dict[str, Callable[[], Pairs]] = {
            _OWN[0]: functools.partial(plain.lives, LIVES),
            _OWN[1]: functools.partial(plain.unprepared().lives, LIVES),
            _OWN[2]: functools.partial(richer.lives, LIVES),
        }
        left_out = _add_peers(stack, box, sides)
        pairs = interleave(rounds, sides)
        steps = [plain.steps() for _ in range(max(rounds, 5))]
        ahead = [plain.ahead() for _ in range(max(rounds, 5))]
        operations = list(here.incarnator.dry_run(box.card).operations)
    starts = {name: [[spoke for spoke, _ in block] for block in found] for name, found in pairs.items()}
    wholes = {name: [[ended for _, ended in block] for block in found] for name, found in pairs.items()}
    return {
        "goal": GOAL,
        "operations": operations,
        "start": _compared(starts),
        "life": _compared(wholes),
        "steps": {name: figures([[one[name] for one in steps]]) for name in steps[0]},
        "ahead": {"a net and a user namespace": figures([ahead])},
        "left_out": left_out,
    }


def _insist(*sites: site.Site) -> None:
    """Raise CannotRun where arje itself would not get all of it: then there is nothing to be compared."""
    for here in sites:
        if losses := here.losses():
            raise CannotRun(f"arje cannot have the full sandbox here: {'; '.join(map(str, losses))}")


def _add_peers(stack: ExitStack, box: boxes.Box, sides: dict[str, Callable[[], Pairs]]) -> list[str]:
    """Add the peers that can do it here; return why the rest cannot."""
    left_out = [why for name in boxes.PACKAGES if (why := peers.absent(name, boxes.PACKAGES))]
    for name, (command, opened) in {"bwrap": box.bwrap(), "firejail": box.firejail()}.items():
        if not peers.absent(name, boxes.PACKAGES):
            if why := peers.refused(name, command, opened):
                left_out.append(why)
            else:
                sides[name] = functools.partial(_lives, command, opened)
    if not peers.absent("crun", boxes.PACKAGES):
        try:
            asked = worker.started("box", str(boxes.bundle(box)), prefix=peers.PRIVATE)
            sides["crun"] = functools.partial(stack.enter_context(asked).ask, LIVES)
        except CannotRun as error:
            left_out.append(f"crun: {error}")
    return left_out


def _lives(command: tuple[str, ...], opened: peers.Opened) -> Pairs:
    return [peers.life(command, opened) for _ in range(LIVES)]


def _compared(blocks: dict[str, Blocks]) -> dict[str, Any]:
    """Figures of each, how many times each the first is, and which peer is the fastest."""
    whole: dict[str, Any] = {name: figures(found) for name, found in blocks.items()}
    fastest = min((name for name in whole if name not in _OWN), key=lambda name: whole[name]["p10_us"], default="")
    ratios = {name: ratio(blocks[_OWN[0]], found) for name, found in blocks.items() if name != _OWN[0]}
    return {**whole, "ratio": ratios, "fastest": fastest}


def render(whole: dict[str, object]) -> str:
    """Return the tables, in µs."""
    facts = cast(dict[str, Any], whole)
    machine, start, life = facts["machine"], facts["start"], facts["life"]
    notes = [f"  left out: {why}" for why in facts["left_out"]]
    if machine["load"] > machine["cpus"] / 2:
        notes.append(f"  this machine was busy (load {machine['load']}): trust p10 more than p50")
    goal = f"goal: ≤ {GOAL:.2f} × the fastest peer" + (f", {start['fastest']}" if start["fastest"] else "")
    return "\n".join(
        (
            f"Linux {machine['kernel']}, {machine['cpus']} × {machine['cpu']}, Python {machine['python']}; µs",
            f"\nthe full sandbox, to the payload's first byte ({goal})",
            rows(_sides(start), start["ratio"]),
            "\nand until it has ended and all is cleaned up",
            rows(_sides(life), life["ratio"]),
            "\nthe steps of arje's start",
            rows(facts["steps"], {}),
            "\nwhat a thread makes ahead for each",
            rows(facts["ahead"], {}),
            *notes,
        )
    )


def _sides(found: dict[str, Any]) -> dict[str, Any]:
    return {name: side for name, side in found.items() if name not in ("ratio", "fastest")}
