"""Which files the payload sees: an own /proc, an overlay, another root. All of it inside its mount namespace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from arje.card.soma import Soma
from arje.incarnate.blueprint import Blueprint, Wish
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader, Scene
from arje.incarnate.setup import ChildSetup
from arje.kernel.facts import Facts

NEEDS: Final = {"proc": ("pid", "mount"), "overlay": ("mount",), "pivot_root": ("mount",)}
MUST: Final = frozenset({"overlay", "pivot_root"})
SHOWN_BY: Final = {"proc": "mounts", "overlay": "mounts", "pivot_root": "mounts"}
APPLY: Final[dict[str, Applier]] = {}
AFTER: Final[dict[str, Finisher]] = {}


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield what is mounted."""
    if soma.wants_proc:
        yield Wish("proc", "own /proc", "soma.proc")
    if soma.overlay:
        yield Wish("overlay", soma.overlay.merged, "soma.overlay")
    if soma.pivot_root:
        yield Wish("pivot_root", soma.pivot_root.new_root, "soma.pivot_root")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield what would change the manager's own mounts: as pid 1 it would pivot the machine."""
    for field, asked in (("pivot_root", soma.pivot_root), ("overlay", soma.overlay)):
        if asked and not soma.namespaces.mount:
            yield Nonsense(
                f"soma.{field}", "it would change the manager's own mounts", "ask for namespaces.mount as well"
            )
    if soma.proc and not (soma.namespaces.pid and soma.namespaces.mount):
        yield Nonsense("soma.proc", "a new /proc needs a pid and a mount namespace", "ask for both, or leave proc out")


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place the mounts, then the new root."""
    soma, have = scene.soma, scene.have
    if soma.overlay and "overlay" in have:
        setup.with_overlay(soma.overlay, user="user" in have and not scene.late_user)
    if "proc" in have:
        root = soma.pivot_root.new_root.rstrip("/") if soma.pivot_root and "pivot_root" in have else ""
        setup.with_proc(f"{root}/proc", make=bool(root))
    if soma.pivot_root and "pivot_root" in have:
        setup.with_pivot_root(soma.pivot_root)


def _proc(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    mount, own = facts.mount_at("/proc"), ours.mount_at("/proc")
    if mount is None or mount.kind != "proc":
        return Answer(mount.kind if mount else "", False)
    return Answer(f"proc {mount.device}", own is None or mount.device != own.device)


def _overlay(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    assert plan.soma.overlay is not None
    pivot, merged = plan.soma.pivot_root, plan.soma.overlay.merged
    if pivot is not None and "pivot_root" in plan.has:
        inside = f"{merged.rstrip('/')}/".removeprefix(f"{pivot.new_root.rstrip('/')}/").strip("/")
        merged = f"/{inside}"
    mount = facts.mount_at(merged)
    return Answer(f"{mount.kind} on {merged}" if mount else "", mount is not None and mount.kind == "overlay")


def _pivot_root(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """The root is an overlay when the card put one there, else the very directory."""
    mount, soma = facts.mount_at("/"), plan.soma
    assert soma.pivot_root is not None
    if mount is None:
        return Answer("", False)
    granted = f"{mount.kind} {mount.root}"
    if soma.overlay is not None and soma.overlay.merged.rstrip("/") == soma.pivot_root.new_root.rstrip("/"):
        return Answer(granted, mount.kind == "overlay")
    return Answer(granted, (mount.device, mount.root) == Facts.of_process("self").place_of(soma.pivot_root.new_root))


READ: Final[dict[str, Reader]] = {"proc": _proc, "overlay": _overlay, "pivot_root": _pivot_root}
