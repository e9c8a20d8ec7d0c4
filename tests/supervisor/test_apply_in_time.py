"""Apply, its confirmation and the way back, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from arje.card.edges import Reaction, Term
from arje.card.hooks import Reload
from arje.card.payload import Native
from arje.card.supervision import Kind, RestartWhen, Supervision
from arje.card.timer import Timer
from arje.errors import CardError
from arje.service.state import State
from tests.supervisor.applying import HAND, applying
from tests.supervisor.played import BAD, Play, card

ONCE = Supervision(kind=Kind.ONE_SHOT)
ALWAYS = Supervision(restart=RestartWhen.ALWAYS, initial=1, max=1)


def new(label: str, **more: Any) -> Any:
    """A card whose payload is another one."""
    return replace(card(label, **more), payload=Native(exec="/new"))


def feels(answer: dict[str, Any]) -> dict[str, str]:
    return {change["label"]: change["feels"] for change in answer["changes"]}


async def test_a_set_that_is_good_for_its_time_is_confirmed(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with applying(tmp_path, card("a"), card("b")) as here:
        began = trio.current_time()
        answer = await here.apply(new("a"), card("b"), confirm=30)
        assert (answer["applied"], answer["confirmed"], answer["undone"]) == (True, True, None)
        assert trio.current_time() - began == 30, "what does not say that it is ready is watched to the end"
        assert here.lives() == {"a": 2, "b": 1}


async def test_a_one_shot_that_is_done_ends_the_trial(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with applying(tmp_path, card("b"), a=Play(runs=3)) as here:
        began = trio.current_time()
        answer = await here.apply(card("a", supervision=ONCE), card("b"), confirm=30)
        assert answer["confirmed"]
        assert trio.current_time() - began == 3


async def test_a_service_that_fails_takes_the_whole_set_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    a = (Play(), Play(runs=2, exit=BAD), Play())
    async with applying(tmp_path, card("a"), card("b"), card("c"), a=a) as here:
        began = trio.current_time()
        answer = await here.apply(new("a"), new("b"), card("c"), card("d"), confirm=30)
        assert trio.current_time() - began == 2
        assert not answer["applied"]
        assert answer["undone"]["label"] == "a"
        assert "a has failed" in answer["undone"]["why"]
        assert {c["label"]: c["feels"] for c in answer["back"]} == {"a": "starts", "b": "restarts", "d": "stops"}
        assert here.lives() == {"a": 3, "b": 3, "c": 1, "d": 1}
        assert "d" not in here.found.table
        for label in "ab":
            service = here.found.table.get(label)
            assert (service.state, service.card.payload) == (State.RUNNING, card("a").payload)
            assert service.activation is not None
            assert "rollback (a has failed" in service.activation.who
        assert (await here.door.plan())["undone"]["why"] == answer["undone"]["why"]
        assert here.door.changed_on_disk


async def test_a_service_that_is_not_ready_in_time_takes_the_set_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with applying(tmp_path, card("a"), a=(Play(), Play(setup=20), Play())) as here:
        answer = await here.apply(new("a"), confirm=5)
        assert answer["undone"]["why"] == "a is starting and was not ready in 5 s"
        assert here.state("a") is State.RUNNING


async def test_a_service_that_ends_and_starts_again_is_not_ready(tmp_path: Path, autojump_clock: MockClock) -> None:
    a = (Play(), Play(runs=1, exit=BAD), Play())
    async with applying(tmp_path, card("a", supervision=ALWAYS), a=a) as here:
        answer = await here.apply(new("a", supervision=ALWAYS), confirm=10)
        assert answer["undone"]["why"] == "a has ended 1 times by itself in 10 s"


async def test_who_fails_for_want_of_what_was_changed_takes_it_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    needs = card("b", requires=("a",), terms=(Term(name="a", recover=False),))
    async with applying(tmp_path, card("a"), needs, card("c"), a=(Play(), Play(runs=1, exit=BAD), Play())) as here:
        answer = await here.apply(new("a"), needs, card("c"), confirm=10)
        assert answer["undone"]["label"] == "a"
        await here.settle()
        assert {label: here.state(label) for label in "abc"} == dict.fromkeys("abc", State.RUNNING)


async def test_what_fails_without_having_to_do_with_it_is_not_its_fault(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with applying(tmp_path, card("a"), card("b"), b=Play(runs=3, exit=BAD)) as here:
        answer = await here.apply(new("a"), card("b"), confirm=10)
        assert answer["confirmed"]
        assert here.state("b") is State.FAILED


async def test_a_skipped_service_and_one_that_a_hand_stops_are_as_they_should_be(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with applying(tmp_path, card("a")) as here, trio.open_nursery() as nursery:
        answers: list[dict[str, Any]] = []

        async def apply() -> None:
            answers.append(await here.apply(new("a"), card("b", only_if_exists="/no"), confirm=10))

        nursery.start_soon(apply)
        await trio.sleep(5)
        here.found.unwant("a", HAND)
        with trio.fail_after(20):
            while not answers:
                await trio.sleep(1)
        assert answers[0]["confirmed"]
        assert here.state("a") is State.STOPPED


async def test_while_one_set_is_on_trial_another_is_refused_and_rollback_breaks_it_off(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with applying(tmp_path, card("a")) as here, trio.open_nursery() as nursery:
        answers: list[dict[str, Any]] = []

        async def apply() -> None:
            answers.append(await here.apply(new("a"), confirm=60))

        nursery.start_soon(apply)
        await trio.sleep(10)
        second = await here.apply(card("a"), card("b"))
        assert not second["applied"]
        assert second["busy"] == f"the apply of {HAND} is being confirmed for 50 s more"
        assert "b" not in here.found.table
        told = await here.door.rollback("", HAND)
        assert (told["applied"], told["undone"]["why"]) == (True, f"{HAND} has broken its confirmation off")
        await trio.testing.wait_all_tasks_blocked()
        assert answers[0]["undone"] == told["undone"]
        assert trio.current_time() < 20
        assert here.found.table.get("a").card.payload == card("a").payload


async def test_a_manager_that_stops_in_the_middle_of_a_trial_judges_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with applying(tmp_path, card("a")) as here, trio.open_nursery() as nursery:
        answers: list[dict[str, Any]] = []

        async def apply() -> None:
            answers.append(await here.apply(new("a"), confirm=60))

        nursery.start_soon(apply)
        await trio.sleep(10)
        await here.found.stop_all("test")
        await trio.testing.wait_all_tasks_blocked()
        assert (answers[0]["applied"], answers[0]["confirmed"], answers[0]["undone"]) == (True, False, None)
        assert here.lives() == {"a": 2}


@pytest.mark.parametrize("where", ["set_cards", "restart", "want", "start_order"])
async def test_a_bug_in_the_middle_of_an_apply_leaves_the_old_set_in_force(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async with applying(tmp_path, card("a"), card("b"), card("gone"), card("same")) as here:
        homes: dict[str, Any] = {"start_order": type(here.found.graph), "restart": type(here.found.aside)}
        home = homes.get(where, type(here.found))
        ours = here.found.aside if where == "restart" else here.found
        real, calls = getattr(home, where), [0]

        def broken(self: Any, *words: Any, **more: Any) -> Any:
            if sum(word == "d" or word == ["d"] for word in words) or where in ("set_cards", "restart"):
                calls[0] += self is ours or where == "start_order"
                if calls[0] == 1 and (self is ours or where == "start_order"):
                    raise RuntimeError("injected")
            return real(self, *words, **more)

        before = {service.label: service.card for service in here.found.table}
        with monkeypatch.context() as patch:
            patch.setattr(home, where, broken)
            if where == "start_order":  # the plan itself asks for it: nothing has begun then
                with pytest.raises(RuntimeError):
                    await here.apply(new("a"), card("b"), card("same"), card("d"))
            else:
                answer = await here.apply(new("a"), card("b"), card("same"), card("d"))
                assert not answer["applied"]
                assert "arje itself failed" in answer["undone"]["why"]
        await here.settle()
        assert calls[0] >= 1
        assert {service.label: service.card for service in here.found.table} == before
        assert here.up() == {"a", "b", "gone", "same"}
        assert here.lives()["same"] == here.lives()["b"] == 1
        assert not here.found.paused
        assert not here.found.going
        assert (await here.apply(new("a"), card("b"), card("same"), card("d")))["applied"]


async def test_rollback_goes_back_as_far_as_it_remembers_and_says_what_there_is(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with applying(tmp_path, card("a")) as here:
        with pytest.raises(CardError, match="no set before"):
            await here.door.rollback("", HAND)
        await here.apply(new("a"))
        await here.apply(new("a"), card("b"))
        await here.apply(new("a"), card("b"), card("c", enabled=False))
        sets = await here.door.sets()
        assert [each["in_force"] for each in sets] == [True, False, False, False]
        assert [each["changed"] for each in sets] == [[], ["c"], ["b"], ["a"]]
        assert {each["who"] for each in sets} == {HAND, "cards.d"}
        answer = await here.door.rollback("", HAND)
        assert {c["label"]: c["feels"] for c in answer["back"]} == {"c": "nothing"}
        assert here.lives() == {"a": 2, "b": 1}, "the others feel nothing"
        answer = await here.door.rollback(sets[-1]["token"], HAND)
        assert {c["label"]: c["feels"] for c in answer["back"]} == {"a": "restarts", "b": "stops"}
        assert here.found.table.get("a").card.payload == card("a").payload
        assert len(await here.door.sets()) == 1
        with pytest.raises(CardError, match="no set 'x'"):
            await here.door.rollback("x", HAND)
        plan = await here.door.plan()
        assert plan["undone"]["token"] == sets[-1]["token"]
        assert feels(plan) == {"a": "restarts", "b": "starts", "c": "nothing"}
        again = await here.door.apply("", HAND)
        assert again["applied"]
        assert (await here.door.plan())["undone"] is None


async def test_rollback_stops_what_was_pulled_in_and_leaves_what_hands_did(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    off, timed = card("off", enabled=False), card("timed", timer=(Timer(every=100),))
    async with applying(tmp_path, card("a"), off, timed, card("b")) as here:
        here.found.timers.disarm("timed", HAND)
        answer = await here.apply(card("a", requires=("off",)), off, replace(timed, description="x"), card("b"))
        assert feels(answer) == {"a": "nothing", "off": "starts", "timed": "nothing"}
        here.found.unwant("b", HAND)
        answer = await here.door.rollback("", HAND)
        assert {c["label"]: c["feels"] for c in answer["back"]} == {"a": "nothing", "off": "stops", "timed": "nothing"}
        assert here.up() == {"a"}
        assert not here.found.timers.is_armed("timed")


async def test_what_sticks_is_so_in_every_set(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with applying(tmp_path, card("a")) as here:
        await here.apply(new("a"))
        here.found.history.stuck("a", "enabled", False)
        await here.door.rollback("", HAND)
        assert here.found.table.get("a").card.enabled is False


async def test_the_history_is_bounded_and_a_thousand_applies_leave_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    import gc

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    async with applying(tmp_path, card("a")) as here:

        async def go(count: int) -> int:
            for number in range(count):
                assert (await here.apply(card("a", description=str(number % 7)), card(f"b{number % 2}")))["applied"]
                here.host.actors[:] = [actor for actor in here.host.actors if not actor.ended.is_set()]
            return objects()

        first = await go(500)  # by then all that is kept a number of is full
        assert await go(500) - first < 500
        assert len(await here.door.sets()) == 21
        assert here.lives()["a"] == 1


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([card("a")], [new("a")], {"a": "restarts"}),
        ([card("a")], [card("a", supervision=ALWAYS)], {"a": "nothing"}),
        ([card("a")], [card("a", wants=("b",)), card("b", enabled=False)], {"a": "nothing", "b": "nothing"}),
        ([card("a")], [card("a", requires=("b",)), card("b", enabled=False)], {"a": "nothing", "b": "starts"}),
        ([card("a"), card("b", part_of=("a",))], [new("a"), card("b", part_of=("a",))], {"a": "restarts", "b": "restarts"}),
        (
            [card("a"), card("b", requires=("a",), terms=(Term(name="a", on_restart=Reaction.RESTART),))],
            [new("a"), card("b", requires=("a",), terms=(Term(name="a", on_restart=Reaction.RESTART),))],
            {"a": "restarts", "b": "restarts"},
        ),
        ([card("a"), card("b", requires=("a",))], [new("a"), card("b", requires=("a",))], {"a": "restarts"}),
        ([card("a")], [card("a"), card("b", timer=(Timer(every=9),))], {"b": "arms"}),
        ([card("a", timer=(Timer(every=9),))], [card("a", enabled=False)], {"a": "disarms"}),
        ([card("a", timer=(Timer(every=9),))], [], {"a": "disarms"}),
        ([card("a")], [card("a"), card("c", requires=("d",)), card("d", enabled=False)], {"c": "starts", "d": "starts"}),
        ([card("a")], [card("a", masked=True)], {"a": "nothing"}),
        ([card("a")], [new("a", masked=True)], {"a": "stops"}),
    ],
)  # fmt: skip
async def test_plan_says_what_everybody_feels(
    tmp_path: Path, autojump_clock: MockClock, before: list[Any], after: list[Any], told: dict[str, str]
) -> None:
    async with applying(tmp_path, *before) as here:
        here.disk.write(after)
        plan = await here.door.plan()
        assert feels(plan) == told
        assert all(change["why"] for change in plan["changes"] if change["change"] == "keep"), plan["changes"]


async def test_plan_says_who_makes_room_and_who_yields(tmp_path: Path, autojump_clock: MockClock) -> None:
    hand = card("hand", enabled=False)
    async with applying(tmp_path, hand, card("b")) as here:
        here.found.want("hand", HAND)
        await here.settle()
        here.disk.write([hand, card("b"), card("c", conflicts=("hand",))])
        change = (await here.door.plan())["changes"][0]
        assert (change["feels"], change["why"]) == (
            "nothing",
            "skipped: c conflicts with hand, which is wanted already",
        )
        here.disk.write([hand, new("b", conflicts=("hand",))])
        plan = await here.door.plan()
        assert feels(plan) == {"b": "restarts", "hand": "stops"}
        assert plan["changes"][1]["why"] == "b conflicts with it"


async def test_plan_tells_who_reloads(tmp_path: Path, autojump_clock: MockClock) -> None:
    kept = Supervision(reload=Reload(signal="HUP"))
    asker = card("b", requires=("a",), supervision=kept, terms=(Term(name="a", on_restart=Reaction.RELOAD),))
    async with applying(tmp_path, card("a"), asker) as here:
        here.disk.write([new("a"), asker])
        plan = await here.door.plan()
        assert feels(plan) == {"a": "restarts", "b": "reloads"}
        assert "a has started again" in plan["changes"][1]["why"]
