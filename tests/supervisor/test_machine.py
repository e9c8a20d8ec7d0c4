"""Hypothesis plays with whole managers: cards of any shape, clients and reloads that cross each other, rude processes."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from trio.testing import MockClock

from arje.errors import NoSuchService
from arje.service.state import State
from arje.supervisor.catalogue import Catalogue
from arje.supervisor.door import Door
from tests.supervisor.played import Play
from tests.supervisor.world import HAND, HARD, Wrong, world

LABELS = ("a", "b", "c")
EDGES = ("requires", "wants", "after", "waits_for", "part_of", "conflicts")
#: What a card may have. Edges lead to earlier labels only, as circles are no cards; ``x`` is a capability.
CARDS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["daemon", "one-shot"]),
        "restart": st.sampled_from(["never", "on-failure", "always"]),
        "starts": st.sampled_from([0, 2]),
        "virtual": st.sampled_from([False, False, False, True]),
        "edges": st.lists(st.tuples(st.sampled_from(EDGES), st.integers(0, 3)), max_size=2),
        "provides": st.booleans(),
        "enabled": st.booleans(),
        "environment": st.integers(0, 1),
    }
)


def toml(label: str, shape: dict[str, Any]) -> str:
    """Return a card of this shape."""
    earlier = LABELS[: LABELS.index(label)]
    edges: dict[str, list[str]] = {kind: [] for kind in EDGES}
    for kind, number in shape["edges"]:
        name = (*earlier, "x")[min(number, len(earlier))]
        if name != "x" or (
            kind in ("wants", "after") and label != "a"
        ):  # somebody else has to provide what is required
            edges[kind].append(name)
    lines = [f"{kind} = {sorted(set(names))}" for kind, names in edges.items() if names]
    lines += ['provides = ["x"]'] if shape["provides"] and label == "a" else []
    lines += [f"enabled = {str(shape['enabled']).lower()}"]
    payload = (
        'payload = "Virtual"\n'
        if shape["virtual"]
        else f'[payload]\nexec = "/played"\nargv = ["{shape["environment"]}"]\n'
    )
    lines += [payload, "[supervision]", f'kind = "{shape["kind"]}"', f'restart = "{shape["restart"]}"', "initial = 1"]
    lines += [f"rate_limit = {{ starts = {shape['starts']}, interval = 60 }}"]
    return "\n".join(lines)


class Stage:
    """A world in a loop of its own thread, so that the machine's rules need not be coroutines."""

    def __init__(self, cards: Path, play: Play) -> None:
        self._cards = cards
        self._play = play
        self._clock = MockClock()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._play_it)
        self._thread.start()
        self._ready.wait()

    def _play_it(self) -> None:
        try:
            trio.run(self._run, clock=self._clock)
        finally:
            self._ready.set()  # a world that cannot be made is an error of its first user

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._over = trio.Event()
        catalogue = Catalogue((self._cards,))
        loaded, _ = catalogue.read()
        async with world(self._cards.parent, loaded.cards, self._clock, self._play) as self.here:
            self.here.found.catalogue = catalogue
            self.door = Door(self.here.found, (self._cards,), self._cards.parent, "user")
            self.busy: list[str] = []
            self._ready.set()
            await self._over.wait()

    def do(self, verb: Callable[..., Any], *words: Any) -> Any:
        """Do something in the loop, and return or raise what it does."""
        return trio.from_thread.run(self._do, verb, words, trio_token=self._token)

    @staticmethod
    async def _do(verb: Callable[..., Any], words: tuple[Any, ...]) -> Any:
        found = verb(*words)
        return await found if isinstance(found, Awaitable) else found

    def ask(self, what: str, verb: Callable[[], Awaitable[Any]], states: dict[str, set[State]]) -> None:
        """Let a client ask for something; its answer comes when it comes. ``states``: what a result has to mean then."""

        async def wait() -> None:
            try:
                for answer in await verb() or ():
                    state = self.here.found.table.get(answer["label"]).state
                    if answer["result"] in states and state not in states[answer["result"]]:
                        self.here.host.wrong.append(f"{what}: {answer} while it is {state}")
            except NoSuchService:
                pass
            finally:
                self.busy.remove(what)

        self.busy.append(what)
        self.here.found.nursery.start_soon(wait)

    def check(self) -> None:
        """Raise Wrong when something does not hold."""

        async def look() -> None:
            await self.here.quiet()
            self.here.hold()

        self.do(look)

    def finish(self) -> None:
        """Let the world be kind, and end it: nobody waits then. Raises Wrong."""

        async def end() -> None:
            await self.here.calm()
            if self.busy:
                raise Wrong(f"these wait for ever: {self.busy}")
            await self.here.end()

        try:
            self.do(end)
        finally:
            self.do(self._over.set)
            self._thread.join()


UP = {State.RUNNING, State.RELOADING, State.DONE}
WHO = "hand"


class Lives(RuleBasedStateMachine):
    """What clients, processes and time may do to three services."""

    @initialize(shapes=st.tuples(CARDS, CARDS, CARDS), hard=st.booleans())
    def begin(self, shapes: tuple[dict[str, Any], ...], hard: bool) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="arje-test."))
        self._cards = self._directory / "cards"
        self._cards.mkdir()
        for label, shape in zip(LABELS, shapes, strict=True):
            (self._cards / f"{label}.toml").write_text(toml(label, shape))
        self._stage = Stage(self._cards, HARD if hard else HAND)
        self._apart = True

    @rule(
        label=st.sampled_from(LABELS), force=st.booleans(), verb=st.sampled_from(["start", "stop", "restart", "wait"])
    )
    def client(self, label: str, force: bool, verb: str) -> None:
        """A client asks for something and waits."""
        door = self._stage.door
        verbs: dict[str, tuple[Callable[[], Awaitable[Any]], dict[str, set[State]]]] = {
            "start": (lambda: door.start([label], WHO), {"done": UP}),
            "stop": (lambda: door.stop([label], WHO, force=force), {"done": {State.STOPPED}}),
            "restart": (lambda: door.restart([label], WHO), {"done": UP}),
            "wait": (lambda: door.wait([label]), {}),
        }
        self._stage.do(self._stage.ask, f"{verb} {label}", *verbs[verb])

    @rule(which=st.integers(0, 1000))
    def moves(self, which: int) -> None:
        """A process does something, or time brings something."""
        self._stage.do(self._move, which)

    def _move(self, which: int) -> None:
        here = self._stage.here
        moves = [move for move in here.moves() if move[0] not in ("want", "unwant", "again")]
        if moves and (move := moves[which % len(moves)]) and (self._apart or move[0] != "tick"):
            here.move(move)

    @rule(label=st.sampled_from(LABELS), shape=st.none() | CARDS)
    def reload(self, label: str, shape: dict[str, Any] | None) -> None:
        """Somebody writes a card, or takes it away, and applies that."""
        file = self._cards / f"{label}.toml"
        if shape is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(toml(label, shape))

        async def apply() -> None:
            await self._stage.door.apply("", WHO)

        self._stage.do(self._stage.ask, "apply", apply, {})

    @rule()
    def together(self) -> None:
        """What comes next comes before anybody has heard of what came last."""
        self._apart = False

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "_stage") and self._apart:
            self._stage.check()
        self._apart = True

    def teardown(self) -> None:
        if hasattr(self, "_stage"):
            self._stage.finish()
            shutil.rmtree(self._directory)


@pytest.mark.usefixtures("quiet")
def test_whatever_clients_processes_and_time_do_no_life_is_lost_and_no_wait_is_for_ever() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Lives,
        settings=settings(
            max_examples=150,
            stateful_step_count=30,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
