"""What an environment's answers must look like; pure. Every sentence that is returned is something that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from arje.incarnation import Cause
from tests.matrix.witness import EFFECTS

Told = dict[str, dict[str, dict[str, Any]]]
#: Features that have a namespace's name, which a second reader can look at: /proc/PID/ns of the running payload.
_LINKS = ("mount", "pid", "net", "uts", "ipc", "user", "cgroup-ns", "time")


def of(told: Told, impossible: dict[str, str], unforeseen: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong. ``impossible`` is feature → cause: these must be lost, and no others.

    ``unforeseen`` are lost features of which nobody can know before a start.
    """
    for feature, modes in told.items():
        for mode, found in modes.items():
            for wrong in _row(feature, mode, found, impossible.get(feature), feature in unforeseen):
                yield f"{feature}, {mode}: {wrong}"


def _row(feature: str, mode: str, found: dict[str, Any], cause: str | None, unforeseen: bool) -> Iterator[str]:
    yield from (f"it left {thing} behind" for thing in found["leaks"])
    started = found["outcome"] == "started"
    if found["ran"] != started:
        yield f"{found['outcome']}, and its first instruction {'ran' if found['ran'] else 'did not run'}"
    if started != (mode == "prefer" or cause is None):
        yield f"it {found['outcome']}: {found['text'] or 'with ' + str(found['losses'])}"
    if found["outcome"] == "failed" and not unforeseen:
        yield f"no refusal, but {found['text']}"
    if not unforeseen:
        yield from _as_foretold(found)
    yield from _losses(feature, found, cause)


def _as_foretold(found: dict[str, Any]) -> Iterator[str]:
    """The dry run said what the start then did."""
    foretold = found["foretold"]
    if bool(foretold["refusal"]) != (found["outcome"] != "started"):
        yield f"foretold {foretold['refusal'] or 'that it starts'}, but it {found['outcome']}"
    said = {(loss["feature"], loss["cause"]) for loss in foretold["losses"]}
    came = {(loss["feature"], loss["cause"]) for loss in found["losses"]}
    if found["outcome"] == "started" and said != came:
        yield f"foretold {sorted(said)}, but it lost {sorted(came)}"
    if not came <= said:
        yield f"lost {sorted(came - said)} without a word before"


def _losses(feature: str, found: dict[str, Any], cause: str | None) -> Iterator[str]:
    names = [loss["feature"] for loss in found["losses"]]
    if len(set(names)) != len(names):
        yield f"one feature is lost twice: {names}"
    for loss in found["losses"]:
        if loss["cause"] == Cause.DRIFTED or not loss["remedy"] or not loss["detail"]:
            yield f"a loss that explains nothing: {loss}"
    mine = [loss for loss in found["losses"] if is_of(loss["feature"], feature)]
    if found["outcome"] == "failed":
        return
    if [loss["cause"] for loss in mine] != ([] if cause is None else [cause]):
        yield f"{cause or 'granted'} was to be, but there is {mine}"
    if found["outcome"] == "started":
        yield from _grants(feature, found, lost=bool(mine), names=names)


def _grants(feature: str, found: dict[str, Any], *, lost: bool, names: list[str]) -> Iterator[str]:
    granted = [ok for name, ok in found["grants"].items() if is_of(name, feature)]
    if not granted or any(granted) == lost:
        yield f"lost is {lost}, its grants are {granted}"
    if doubtful := [name for name, ok in found["grants"].items() if ok == (name in names)]:
        yield f"grants and losses contradict each other: {doubtful}"
    contradicted = found["seen"] is lost and not (lost and feature in EFFECTS)
    if contradicted and not any(loss["partial"] for loss in found["losses"]):
        yield f"a witness says {found['seen']}, and lost is {lost}"
    if feature in _LINKS and found["links"].get(feature, not lost) == lost:
        yield f"/proc shows {'no ' if lost else ''}namespace of the payload's own: {found['links']}"


def is_of(name: str, feature: str) -> bool:
    """Whether a feature is the one, or an item of a family that is (``binds./srv`` of ``binds``, not ``cgroup.x``)."""
    return name == feature or name.startswith(f"{feature}./")
