"""What a card wishes of the kernel, what of it is nonsense anywhere, and what of it is foreseen to be lost here. Pure."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from arje.card.card import Card
from arje.card.soma import FEATURES, Soma
from arje.errors import SetupFailed
from arje.incarnation import Cause, Degradation, Step
from arje.kernel import identity
from arje.kernel.capabilities import Availability, CapabilitySet

_CPU_SETSIZE: Final = 1024  # sched_setaffinity(2): glibc's cpu_set_t
#: Features that mean nothing without another: when the right one is lost, so is the left one.
NEEDS: Final = {
    "hostname": ("uts",),
    "loopback": ("net",),
    "proc": ("pid", "mount"),
    "overlay": ("mount",),
    "pivot_root": ("mount",),
    "time_offsets": ("time",),
    "id-map": ("user",),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing a card asks for: the feature's name, the value for people, and the field it stands in."""

    feature: str
    requested: str
    field: str


def kind_of(feature: str) -> str:
    """Return the namespace kind of a feature's name (``cgroup-ns`` → ``cgroup``)."""
    return "cgroup" if feature == "cgroup-ns" else feature


def feature_of(kind: str) -> str:
    return "cgroup-ns" if kind == "cgroup" else kind


def loss_of(wish: Wish, found: Availability) -> Degradation:
    """Return the degradation of a wish that the kernel cannot grant."""
    return Degradation(
        feature=wish.feature,
        requested=wish.requested,
        obtained="none",
        cause=found.cause or Cause.NO_CAPABILITY,
        errno=found.errno,
        syscall=found.syscall,
        detail=found.detail,
        since=time.time(),
        remedy=found.remedy,
    )


def refuse_nonsense(card: Card, soma: Soma) -> None:
    def refuse(field: str, detail: str, hint: str) -> None:
        line = card.source.line_of(field)
        raise SetupFailed(card.label, Step.PLAN, 0, field, detail, hint=hint, line=line)

    spaces = soma.namespaces
    for field, asked in (("pivot_root", soma.pivot_root), ("overlay", soma.overlay)):
        if asked and not spaces.mount:
            refuse(f"soma.{field}", "it would change the manager's own mounts", "ask for namespaces.mount as well")
    if soma.proc and not (spaces.pid and spaces.mount):
        refuse("soma.proc", "a new /proc needs a pid and a mount namespace", "ask for both, or leave proc out")
    if soma.hostname and not spaces.uts:
        refuse("soma.hostname", "it would rename the machine", "ask for namespaces.uts as well")
    if soma.time_offsets and not spaces.time:
        refuse("soma.time_offsets", "there is no time namespace", "ask for namespaces.time as well")
    if (soma.uid_map or soma.gid_map) and not spaces.user:
        refuse("soma.uid_map", "there is no user namespace to map", "ask for namespaces.user as well")
    if any(not 0 <= cpu < _CPU_SETSIZE for cpu in soma.cpu_affinity):
        refuse("soma.cpu_affinity", f"{list(soma.cpu_affinity)}", f"CPUs are numbered 0 to {_CPU_SETSIZE - 1}")
    for name in (*soma.require, *soma.prefer):
        if name not in FEATURES and name not in ("cgroup", "rlimit"):
            refuse("soma.require" if name in soma.require else "soma.prefer", f"no feature {name!r}", "")
    for field, value in _texts(soma):
        if "\0" in value:
            refuse(field, f"a NUL byte in {value!r}", "remove it")


def _texts(soma: Soma) -> Iterator[tuple[str, str]]:
    yield "soma.hostname", soma.hostname
    yield "soma.chdir", soma.chdir
    if soma.overlay:
        for path in (*soma.overlay.lower, soma.overlay.upper, soma.overlay.work, soma.overlay.merged):
            yield "soma.overlay", path
    if soma.pivot_root:
        yield "soma.pivot_root", soma.pivot_root.new_root + soma.pivot_root.put_old_name


def wishes_of(soma: Soma) -> Iterator[Wish]:
    for kind in soma.namespaces.asked():
        yield Wish(feature_of(kind), f"own {kind} namespace", f"soma.namespaces.{kind}")
    if soma.namespaces.user:
        lines = ", ".join(f"{m.inside}→{m.outside}+{m.count}" for m in soma.uid_map)
        yield Wish("id-map", lines or "one line", "soma.uid_map")
    if soma.cgroup:
        yield Wish("cgroup", "own cgroup", "soma.cgroup")
        for name in soma.cgroup.__slots__:
            value = getattr(soma.cgroup, name)
            if name != "path" and value is not None:
                yield Wish(f"cgroup.{name}", str(value), f"soma.cgroup.{name}")
    for name, soft, hard in soma.rlimits:
        yield Wish(f"rlimit.{name}", f"{soft} {hard}", f"soma.rlimits.{name}")
    if soma.cpu_affinity:
        yield Wish("cpu_affinity", ",".join(map(str, soma.cpu_affinity)), "soma.cpu_affinity")
    if soma.run_as:
        yield Wish("run_as", str(soma.run_as.user), "soma.run_as")
    if soma.hostname:
        yield Wish("hostname", soma.hostname, "soma.hostname")
    if soma.namespaces.net:
        yield Wish("loopback", "up", "soma.namespaces.net")
    if soma.wants_proc:
        yield Wish("proc", "own /proc", "soma.proc")
    if soma.overlay:
        yield Wish("overlay", soma.overlay.merged, "soma.overlay")
    if soma.pivot_root:
        yield Wish("pivot_root", soma.pivot_root.new_root, "soma.pivot_root")
    if soma.time_offsets:
        offsets = soma.time_offsets
        yield Wish(
            "time_offsets", f"monotonic {offsets.monotonic:g} boottime {offsets.boottime:g}", "soma.time_offsets"
        )
    if soma.no_new_privs:
        yield Wish("no_new_privs", "1", "soma.no_new_privs")
    if soma.parent_death_signal:
        yield Wish("parent_death_signal", soma.parent_death_signal, "soma.parent_death_signal")
    if soma.dumpable is False:
        yield Wish("dumpable", "no core dumps", "soma.dumpable")
    if soma.new_session:
        yield Wish("new_session", "own session", "soma.new_session")
    if soma.chdir:
        yield Wish("chdir", soma.chdir, "soma.chdir")
    yield Wish("umask", f"{soma.umask:04o}", "soma.umask")


def foresee(
    wishes: tuple[Wish, ...], soma: Soma, capabilities: CapabilitySet, losses: tuple[Degradation, ...]
) -> tuple[Degradation, ...]:
    """Add to the losses what the probing foresees, and what falls with another feature."""
    lost = {loss.feature: loss for loss in losses}
    for wish in wishes:
        found = capabilities[wish.feature]
        if wish.feature in lost:
            continue
        if not found.available:
            lost[wish.feature] = loss_of(wish, found)
        elif found.needs_user and (not soma.namespaces.user or "user" in lost):
            detail = "this user gets it together with a user namespace only"
            no = Availability(
                wish.feature, False, True, Cause.NO_CAPABILITY, 1, "clone3", detail, "add namespaces.user"
            )
            lost[wish.feature] = loss_of(wish, no)
    for wish in wishes:
        for needed in NEEDS.get(wish.feature, ()):
            if needed in lost and wish.feature not in lost:
                because = replace(lost[needed], feature=wish.feature, requested=wish.requested)
                lost[wish.feature] = replace(because, detail=f"needs {needed}: {because.detail}")
    return tuple(lost.values())


def foresee_identity(who: identity.Identity | None, soma: Soma, capabilities: CapabilitySet) -> tuple[Degradation, ...]:
    """Foresee that an ordinary user cannot become another one."""
    mapped = any(line.inside == who.uid and line.outside != os.geteuid() for line in soma.uid_map) if who else False
    if who is None or capabilities.privileged or mapped or who.uid == os.geteuid():
        return ()
    detail = f"user {os.geteuid()} may not become user {who.uid}"
    no = Availability("run_as", False, False, Cause.NO_CAPABILITY, 1, "setresuid", detail, "run the manager as root")
    return (loss_of(Wish("run_as", who.name, "soma.run_as"), no),)
