"""The eight kinds of namespace (namespaces(7)), the names and clocks that live in them, and the loopback device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from arje.card.namespaces import Namespaces
from arje.card.soma import Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader, Scene
from arje.incarnate.setup import ChildSetup
from arje.kernel.facts import Facts

NEEDS: Final = {"hostname": ("uts",), "loopback": ("net",), "time_offsets": ("time",)}
MUST: Final = frozenset({"time_offsets"})
SHOWN_BY: Final = {"time_offsets": "time", "hostname": "nodename"}


def kind_of(feature: str) -> str:
    """Return the namespace kind of a feature's name (``cgroup-ns`` → ``cgroup``, whose feature is the directory)."""
    return "cgroup" if feature == "cgroup-ns" else feature


def feature_of(kind: str) -> str:
    """Return the feature's name of a namespace kind."""
    return "cgroup-ns" if kind == "cgroup" else kind


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield the kinds, and what is set inside them."""
    for kind in soma.namespaces.asked():
        yield Wish(feature_of(kind), f"own {kind} namespace", f"soma.namespaces.{kind}")
    if soma.hostname:
        yield Wish("hostname", soma.hostname, "soma.hostname")
    if soma.namespaces.net and not (soma.network and soma.network.mode == "none"):
        yield Wish("loopback", "up", "soma.namespaces.net")
    if soma.time_offsets:
        clocks = soma.time_offsets
        text = f"monotonic {clocks.monotonic:g} boottime {clocks.boottime:g}"
        yield Wish("time_offsets", text, "soma.time_offsets")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield what would change the manager's own world."""
    if soma.hostname and not soma.namespaces.uts:
        yield Nonsense("soma.hostname", "it would rename the machine", "ask for namespaces.uts as well")
    if soma.time_offsets and not soma.namespaces.time:
        yield Nonsense("soma.time_offsets", "there is no time namespace", "ask for namespaces.time as well")


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place what has to be done inside the new namespaces before any file is mounted."""
    if scene.cgroup_late and "cgroup-ns" in scene.have:
        setup.with_cgroup_namespace()
    if "mount" in scene.have:
        setup.with_mount_namespace(os.stat("/proc/self/ns/mnt").st_ino)
    if "hostname" in scene.have:
        setup.with_hostname(scene.soma.hostname)
    if "loopback" in scene.have:
        setup.with_loopback()


def _write_offsets(plan: Blueprint, wish: Wish, pid: int) -> None:
    """Offsets go in before the first process enters, which execve does (time_namespaces(7))."""
    offsets = plan.soma.time_offsets
    assert offsets is not None
    lines = [_offset("monotonic", offsets.monotonic), _offset("boottime", offsets.boottime)]
    Path(f"/proc/{pid}/timens_offsets").write_text("".join(lines))


def _offset(clock: str, seconds: float) -> str:
    whole = int(seconds // 1)
    return f"{clock} {whole} {round((seconds - whole) * 1e9)}\n"


APPLY: Final[dict[str, Applier]] = {"time_offsets": _write_offsets}
AFTER: Final[dict[str, Finisher]] = {}


def _namespace(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    kind = kind_of(wish.feature)
    granted = facts.namespaces.get(kind, "")
    return Answer(granted, bool(granted) and granted != ours.namespaces.get(kind))


def _hostname(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    granted = facts.texts["nodename"]
    return Answer(granted, granted == plan.soma.hostname)


def _time_offsets(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    found, asked = facts.time_offsets, plan.soma.time_offsets
    granted = f"monotonic {found['monotonic']:g} boottime {found['boottime']:g}"
    wanted = {"monotonic": asked.monotonic, "boottime": asked.boottime} if asked else {}
    return Answer(granted, all(abs(found[clock] - seconds) < 1e-6 for clock, seconds in wanted.items()))


READ: Final[dict[str, Reader]] = {
    **{feature_of(kind): _namespace for kind in Namespaces.__slots__},
    "hostname": _hostname,
    "time_offsets": _time_offsets,
}
