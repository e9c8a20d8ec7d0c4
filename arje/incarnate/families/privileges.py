"""What the payload may do: capabilities, securebits, keyring, personality, and user namespaces below its own.

What status shows right before execve is not what the payload has: execve computes new sets from these, from the user and
from the program's file (capabilities(7), "Transformation of capabilities during execve()"). :func:`after_exec` does so for
a program that has no rights of its own; that the file had none is seen when the payload runs (:func:`excess`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from arje.card.nearest import nearest
from arje.card.privileges import CAPABILITIES, PERSONALITIES, SECUREBITS
from arje.card.soma import Soma
from arje.incarnate.blueprint import Blueprint, Credentials, Wish
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader, Scene, lose
from arje.incarnate.setup import ChildSetup
from arje.incarnation import Cause, Degradation
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.facts import Facts
from arje.kernel.powers import SYS_RESOURCE
from arje.native import Op

NEEDS: Final = {"disable_nested_userns": ("user",)}
MUST: Final = frozenset({"personality"})
SHOWN_BY: Final[dict[str, str]] = {}
APPLY: Final[dict[str, Applier]] = {}
AFTER: Final[dict[str, Finisher]] = {}

_ALL: Final = 2**64 - 1
_NUMBER: Final = {name: number for number, name in enumerate(CAPABILITIES)}
#: Capabilities over the owner of a network namespace. A root manager's user namespaces come last (isolation.md §3, 6), so
#: the networks of its services are owned by its own.
_OVER_NETWORKS: Final = sum(
    1 << _NUMBER[name] for name in ("net_bind_service", "net_broadcast", "net_admin", "net_raw")
)
_TABLES: Final = (("securebits", SECUREBITS), ("personality", PERSONALITIES))


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield the sets that the card speaks of, and the rest."""
    if asked := soma.capabilities:
        for name in ("bounding", "keep", "ambient"):
            if (value := getattr(asked, name)) is not None:
                text = value if isinstance(value, str) else " ".join(value) or "none"
                yield Wish(f"capabilities.{name}", text, f"soma.capabilities.{name}")
    if soma.securebits:
        yield Wish("securebits", " ".join(soma.securebits), "soma.securebits")
    if soma.keyring == "new":
        yield Wish("keyring", "a new session keyring", "soma.keyring")
    if soma.personality:
        yield Wish("personality", " ".join(soma.personality), "soma.personality")
    if soma.lock_personality:
        yield Wish("lock_personality", "locked", "soma.lock_personality")
    if soma.disable_nested_userns:
        yield Wish("disable_nested_userns", "no user namespace below", "soma.disable_nested_userns")


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield unknown names, and sets that contradict each other."""
    asked = soma.capabilities
    sets = {name: getattr(asked, name) for name in ("bounding", "keep", "ambient")} if asked else {}
    for name, value in sets.items():
        known = {*CAPABILITIES, *({"all"} if name == "keep" else ())}
        yield from _unknown(f"soma.capabilities.{name}", (value,) if isinstance(value, str) else value or (), known)
    for field, table in _TABLES:
        yield from _unknown(f"soma.{field}", getattr(soma, field), set(table))
    if soma.keyring not in ("inherit", "new"):
        yield Nonsense("soma.keyring", f"no keyring {soma.keyring!r}", "write inherit or new")
    for small, large in (("keep", "bounding"), ("ambient", "bounding"), ("ambient", "keep")):
        if beyond := mask(sets.get(small)) & ~mask(sets.get(large), none=_ALL) if sets.get(small) != "all" else 0:
            yield Nonsense(f"soma.capabilities.{small}", f"{names(beyond)} is not in {large}", f"add it to {large}")
    kept = mask(sets.get("keep")) if sets.get("keep") != "all" else 0
    if soma.disable_nested_userns and (kept | mask(sets.get("ambient"))) >> SYS_RESOURCE & 1:
        detail = "with sys_resource it could lift the limit on user namespaces"
        yield Nonsense("soma.capabilities.keep", detail, "take sys_resource or disable_nested_userns out")


def _unknown(field: str, values: tuple[str, ...], known: set[str]) -> Iterator[Nonsense]:
    for value in values:
        if value not in known:
            near = nearest(value, known)
            yield Nonsense(field, f"no such name: {value!r}", f"did you mean {near!r}?" if near else "")


def mask(value: str | tuple[str, ...] | None, none: int = 0) -> int:
    """Return the bits of names, of ``"all"``, or of None."""
    if value is None:
        return none
    return _ALL if isinstance(value, str) else sum(1 << _NUMBER[name] for name in set(value))


def names(bits: int) -> str:
    """Return the names of bits for people."""
    known = [name for number, name in enumerate(CAPABILITIES) if bits >> number & 1]
    missing = [name for name in CAPABILITIES if name not in known]
    if len(missing) <= 4:
        return "all" + (f" but {' '.join(missing)}" if missing else "")
    return " ".join(known) or "none"


# -- the sets to be had ------------------------------------------------------------------------------------------------


class Sets(NamedTuple):
    """What is to be set before execve. None: as it is. ``plain``: for execve the payload's user is one like any other."""

    plain: bool
    bounding: int | None
    permitted: int | None
    inheritable: int
    ambient: int | None

    @property
    def survives(self) -> bool:
        """Whether something that is permitted has to survive the change to a user who is not root."""
        return self.plain and bool(self.permitted)


def sets_of(soma: Soma, credentials: Credentials | None, own: int | None = None) -> Sets:
    """Return the sets that give a card's payload, under its user, what the card asks for after execve.

    ``own`` is the manager's uid, ours when it is not said.
    """
    asked = soma.capabilities
    uid = credentials.uid if credentials else os.geteuid() if own is None else own
    plain = uid != 0 or "noroot" in soma.securebits
    bounding = mask(asked.bounding) if asked and asked.bounding is not None else None
    if asked and isinstance(asked.keep, tuple) and not plain:
        bounding = mask(asked.keep) if bounding is None else bounding  # root has all of it after execve
    if soma.disable_nested_userns:
        bounding = (_ALL if bounding is None else bounding) & ~(1 << SYS_RESOURCE)
    if asked is None:
        return Sets(plain, bounding, None, 0, None)
    within = _ALL if bounding is None else bounding
    ambient = mask(asked.ambient) if asked.ambient is not None else mask(asked.keep) if plain else 0
    permitted = mask(asked.keep) if asked.keep is not None else ambient if plain else _ALL
    inheritable = mask(asked.keep) | ambient
    return Sets(plain, bounding, permitted & within, inheritable & within, ambient & within)


def unworkable(soma: Soma, credentials: Credentials | None, own: int) -> Nonsense | None:
    """Return what cannot be for this user: execve gives root its whole bounding set. None when all can."""
    asked = soma.capabilities
    if asked is None or not isinstance(asked.keep, tuple) or sets_of(soma, credentials, own).plain:
        return None
    if asked.bounding is None or not (more := mask(asked.bounding) & ~mask(asked.keep)):
        return None
    detail = f"execve gives root the whole bounding set, so {names(more)} as well"
    return Nonsense("soma.capabilities.keep", detail, "leave it out of bounding, run_as another user, or set noroot")


def foresee(soma: Soma, asked_user: bool, capabilities: CapabilitySet) -> Iterator[Degradation]:
    """Yield what is not this manager's, or this kernel's, to give. ``asked_user``: the card itself has a user namespace."""
    mine, asked, wished = capabilities.powers, soma.capabilities, {wish.feature: wish for wish in wishes(soma)}
    inside = asked_user or bool(soma.join.user)
    known = (1 << mine.last + 1) - 1
    mine_to_give = known if inside else mine.permitted & mine.bounding
    for name in ("keep", "ambient"):
        wish = wished.get(f"capabilities.{name}")
        value = getattr(asked, name, None)
        if wish is None or not isinstance(value, tuple):
            continue
        bits = mask(value)
        if new := bits & ~known:
            detail = f"this kernel does not know {names(new)}"
            yield _in_part(wish, bits & mine_to_give, Cause.KERNEL_TOO_OLD, detail, "use a kernel that has it")
        elif lacking := bits & ~mine_to_give:
            detail, remedy = (
                f"the manager has no {names(lacking)}",
                "give it to the manager, or ask for a user namespace",
            )
            yield _in_part(wish, bits & mine_to_give, Cause.NO_CAPABILITY, detail, remedy)
        elif capabilities.privileged and soma.namespaces.user and (void := bits & _OVER_NETWORKS):
            detail = f"{names(void)}: its network belongs to the manager's user namespace, not to its own"
            remedy = "leave namespaces.user out, or run it under an ordinary user's manager"
            yield _in_part(wish, bits & ~void, Cause.NOT_DELEGATED, detail, remedy)
    if (wish := wished.get("disable_nested_userns")) and capabilities.privileged and not soma.namespaces.user:
        detail = "without a user namespace of its own the limit would be the manager's"
        yield lose(wish, Cause.NOT_DELEGATED, detail, "add namespaces.user")
    may_filter = soma.no_new_privs or soma.namespaces.user or inside or capabilities.privileged
    if (wish := wished.get("lock_personality")) and not may_filter:
        detail = "a filter wants no_new_privs or CAP_SYS_ADMIN"
        yield lose(wish, Cause.NO_CAPABILITY, detail, "add no_new_privs")


def _in_part(wish: Wish, bits: int, cause: Cause, detail: str, remedy: str) -> Degradation:
    return lose(wish, cause, detail, remedy, obtained=names(bits), partial=bool(bits))


# -- the child's steps -------------------------------------------------------------------------------------------------


def place_before(setup: ChildSetup, scene: Scene) -> None:
    """Place what has to be done while the child may still do everything, before its ids change."""
    soma, have, sets = scene.soma, scene.have, sets_of(scene.soma, scene.credentials, scene.capabilities.powers.uid)
    if "disable_nested_userns" in have:
        field = "soma.disable_nested_userns"
        setup.add(Op("no-nested-user"), "disable_nested_userns", field, "no user namespace below this one")
    if "personality" in have:
        bits = sum(PERSONALITIES[name] for name in set(soma.personality))
        setup.add(Op("personality", a=bits), "personality", "soma.personality", " ".join(soma.personality))
    if "lock_personality" in have and not soma.no_new_privs:
        _lock(setup)
    if "securebits" in have and not sets.survives:
        _securebits(setup, soma)
    if sets.bounding is not None and (feature := _bounding_feature(soma, have)):
        field = f"soma.{feature}"
        setup.add(Op("bounding", a=sets.bounding), feature, field, f"at most {names(sets.bounding)}")
    if sets.survives:
        setup.add(Op("keep-caps"), *_kept_feature(soma), "what is permitted survives the change of user")


def _bounding_feature(soma: Soma, have: frozenset[str]) -> str:
    """Return the feature for which the bounding set is cut; empty when whoever asked for it is lost."""
    asked = soma.capabilities
    if asked and asked.bounding is not None:
        return "capabilities.bounding" if "capabilities.bounding" in have else ""
    if asked and isinstance(asked.keep, tuple):
        return "capabilities.keep"
    return "disable_nested_userns" if "disable_nested_userns" in have else ""


def _kept_feature(soma: Soma) -> tuple[str, str]:
    asked = soma.capabilities
    assert asked is not None
    feature = "keep" if asked.keep is not None else "ambient" if asked.ambient is not None else "bounding"
    return f"capabilities.{feature}", f"soma.capabilities.{feature}"


def place_after(setup: ChildSetup, scene: Scene) -> None:
    """Place what is done with the new ids: the last that needs rights, then the rights themselves."""
    soma, sets = scene.soma, sets_of(scene.soma, scene.credentials, scene.capabilities.powers.uid)
    if "keyring" in scene.have:
        setup.add(Op("keyring"), "keyring", "soma.keyring", "a session keyring of its own")
    if sets.permitted is None or sets.ambient is None:
        return
    feature, field = _kept_feature(soma)
    ambient = sets.ambient & _to_give(scene)
    late = "securebits" in scene.have and sets.survives
    halves = (sets.inheritable & 0xFFFFFFFF, sets.inheritable >> 32)
    words = f"permitted {names(sets.permitted)}, inheritable {names(sets.inheritable)}"
    if late:  # setting them wants CAP_SETPCAP, and may forbid to raise the ambient set
        setup.add(Op("capset", a=_ALL, p=halves), feature, field, f"inheritable {names(sets.inheritable)}")
    else:
        setup.add(Op("capset", a=sets.permitted, p=halves), feature, field, words)
    explicit = soma.capabilities is not None and soma.capabilities.ambient is not None
    setup.add(Op("ambient", a=ambient), "capabilities.ambient" if explicit else feature, field, names(ambient))
    if late:
        _securebits(setup, soma)
        setup.add(Op("capset", a=sets.permitted, p=halves), feature, field, words)


def _to_give(scene: Scene) -> int:
    """Return the bits of the capabilities that there are where the payload lives."""
    mine = scene.capabilities.powers
    known = (1 << mine.last + 1) - 1
    return known if {"user", "join.user"} & scene.have else mine.permitted & mine.bounding


def _securebits(setup: ChildSetup, soma: Soma) -> None:
    bits = sum(1 << SECUREBITS[name] for name in set(soma.securebits))
    setup.add(Op("securebits", a=bits), "securebits", "soma.securebits", " ".join(soma.securebits))


def place_last(setup: ChildSetup, scene: Scene) -> None:
    """Place the filter that wants no_new_privs first."""
    if "lock_personality" in scene.have and scene.soma.no_new_privs:
        _lock(setup)


def _lock(setup: ChildSetup) -> None:
    setup.add(Op("lock-personality"), "lock_personality", "soma.lock_personality", "personality changes no more")


# -- reading back ------------------------------------------------------------------------------------------------------


class Held(NamedTuple):
    """Capabilities of a process, as bits."""

    permitted: int
    bounding: int
    ambient: int


def held(status: dict[str, str]) -> Held:
    """Return what status says. Raises KeyError."""
    return Held(*(int(status[name], 16) for name in ("CapPrm", "CapBnd", "CapAmb")))


def after_exec(status: dict[str, str], soma: Soma) -> Held:
    """Return what execve of a program without rights of its own makes of what status says (capabilities(7))."""
    now, inheritable = held(status), int(status["CapInh"], 16)
    real, effective, *_ = status["Uid"].split()
    root = "0" in (real, effective) and "noroot" not in soma.securebits
    return now._replace(permitted=(inheritable | now.bounding if root else 0) | now.ambient)


def _bounding(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    assert plan.soma.capabilities is not None
    bounding = held(facts.status).bounding
    return Answer(names(bounding), not bounding & ~mask(plan.soma.capabilities.bounding))


def _keep(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    assert plan.soma.capabilities is not None
    permitted, kept = after_exec(facts.status, plan.soma).permitted, plan.soma.capabilities.keep
    if kept == "all":
        return Answer(names(permitted), permitted == permitted | held(facts.status).permitted)
    if plan.soma.capabilities.ambient is not None and sets_of(plan.soma, plan.credentials).plain:
        inheritable = int(facts.status["CapInh"], 16)  # the card says itself what of it programs get
        return Answer(f"inheritable {names(inheritable)}", inheritable == mask(kept) and not permitted & ~mask(kept))
    return Answer(names(permitted), permitted == mask(kept))


def _ambient(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    assert plan.soma.capabilities is not None
    ambient = held(facts.status).ambient
    return Answer(names(ambient), ambient == mask(plan.soma.capabilities.ambient))


def _nested(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """The step itself has read the limit back; nobody who is left may lift it."""
    left = after_exec(facts.status, plan.soma)
    return Answer("limit 0, for good", not (left.permitted | left.bounding) >> SYS_RESOURCE & 1)


READ: Final[dict[str, Reader]] = {
    "capabilities.bounding": _bounding,
    "capabilities.keep": _keep,
    "capabilities.ambient": _ambient,
    "disable_nested_userns": _nested,
}


def excess(plan: Blueprint, before: dict[str, str], running: dict[str, str]) -> dict[str, str]:
    """Return by feature what a running payload has beyond what was said to be granted: its file has rights of its own.

    Less is no matter: a program may give up what it likes at once.
    """
    wished = {wish.feature for wish in plan.wishes} & plan.has
    expected, now = after_exec(before, plan.soma), held(running)
    found = {}
    if "capabilities.bounding" in wished and now.bounding & ~expected.bounding:
        found["capabilities.bounding"] = names(now.bounding)
    if "capabilities.keep" in wished and now.permitted & ~expected.permitted:
        found["capabilities.keep"] = names(now.permitted)
    if "capabilities.ambient" in wished and now.ambient & ~expected.ambient:
        found["capabilities.ambient"] = names(now.ambient)
    return found
