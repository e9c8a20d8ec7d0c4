"""The plan of an incarnation: every refusal that can be foreseen, what was asked, and the child's ops. Reads no card file.

``make`` is called again with more ``losses`` when the kernel refuses the clone: the plan without what it refused.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

from arje.card import env_file, signals
from arje.card.card import Card
from arje.card.disk import NoText
from arje.card.files import Proc
from arje.card.payload import Native
from arje.card.soma import IdMap, Soma
from arje.errors import SetupFailed
from arje.incarnate import mark
from arje.incarnate.blueprint import Blueprint, Program
from arje.incarnate.families import (
    FAMILIES,
    files,
    filters,
    ids,
    joins,
    limits,
    namespaces,
    network,
    priority,
    privileges,
)
from arje.incarnate.families.namespaces import feature_of
from arje.incarnate.family import Scene, Unworkable
from arje.incarnate.foresee import raised
from arje.incarnate.given import NOTHING, Given
from arje.incarnate.held import foresee_fallback
from arje.incarnate.policy import is_required
from arje.incarnate.setup import ChildSetup
from arje.incarnate.wishes import foresee, refuse, refuse_nonsense, wishes_of
from arje.incarnation import Degradation, Step
from arje.kernel import identity
from arje.kernel.capabilities import CapabilitySet
from arje.native import CLONE_NEW, FACT

#: Feature (or family) → the fact that shows it, beside those of status.
SHOWN_BY: Final = {feature: fact for family in FAMILIES for feature, fact in family.SHOWN_BY.items()}
_WORLD: Final = files.MUST | network.MUST
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make(
    card: Card,
    capabilities: CapabilitySet,
    *,
    variables: dict[str, str] | None = None,
    losses: tuple[Degradation, ...] = (),
    cgroup_late: bool = False,
    given: Given = NOTHING,
) -> Blueprint:
    """Plan one incarnation. ``cgroup_late``: the cgroup is entered after the clone, so its namespace comes later too.

    Raises SetupFailed with step ``plan`` and the card's field for everything that cannot work anywhere.
    """
    if not isinstance(card.payload, Native):
        raise SetupFailed(card.label, Step.PLAN, 0, "payload", "a virtual card has no process")
    soma = _expand(card.soma, variables or {})
    refuse_nonsense(card, soma)
    mine, asked_user = capabilities.powers, soma.namespaces.user
    soma = ids.with_auto(_user_first(network.implied(soma, capabilities), capabilities), capabilities)
    soma = filters.implied(soma, capabilities)
    soma = card.soma if soma == card.soma else soma  # kept for as long as the service runs: equal ones are one
    wishes = tuple(wishes_of(soma))
    who = _identity(card, soma)
    known = (
        *losses,
        *ids.foresee(soma, who, capabilities),
        *joins.foresee(soma, capabilities),
        *privileges.foresee(soma, asked_user, capabilities),
        *foresee_fallback(soma, capabilities),
        *raised(soma, capabilities),
        *filters.foresee(soma, capabilities),
    )
    lost = foresee(wishes, soma, capabilities, known)
    soma, lost = ids.without_maps(soma, lost, mine)
    gone = {loss.feature for loss in lost if not loss.partial}
    have = frozenset(wish.feature for wish in wishes) - gone
    late_user = "user" in have and capabilities.privileged
    kinds = tuple(kind for kind in soma.namespaces.asked() if feature_of(kind) in have)
    if late_user:
        kinds = tuple(kind for kind in kinds if kind != "user")
    if cgroup_late:
        kinds = tuple(kind for kind in kinds if kind != "cgroup")
    if "run_as" not in have:
        who = None
    maps = ids.maps(soma, who, mine) if "user" in have else ((), ())
    who_inside = ids.credentials(soma, who, have, maps, mine)
    for problem in (ids.unmapped(soma, who, maps), privileges.unworkable(soma, who_inside, mine.uid)):
        if problem is not None:
            refuse(card, problem)
    required = frozenset(wish.feature for wish in wishes if is_required(soma, wish.feature))
    setup = ChildSetup(required)
    judged = soma.strict_caps or bool(soma.require) or any(_is_another_world(soma, feature) for feature in have)
    scene = Scene(
        soma=soma,
        capabilities=capabilities,
        have=have,
        credentials=who_inside,
        late_user=late_user,
        cgroup_late=cgroup_late,
        maps=maps,
        wishes=wishes,
        label=card.label,
        runtime_dir=(variables or {}).get("RUNTIME_DIR", ""),
    )
    try:
        _place(setup, scene, judged=judged)
    except Unworkable as error:
        refuse(card, error.problem)
    return Blueprint(
        card=card,
        soma=soma,
        program=_program(card, card.payload, variables or {}, files.environment(scene), given),
        wishes=wishes,
        losses=lost,
        kinds=kinds,
        ops=tuple(setup.ops),
        uid_map=maps[0],
        gid_map=maps[1],
        late_user=late_user,
        credentials=who_inside,
        judged=judged,
        required=required,
        apart="join.time" in have or ids.is_another(who_inside, maps, have, mine),
        given=given,
    )


def _is_another_world(soma: Soma, feature: str) -> bool:
    """Whether a payload that runs without it, because only reading back tells, would already have seen the wrong world."""
    return not _WORLD.isdisjoint((feature, feature.partition(".")[0])) and is_required(soma, feature)


def _user_first(soma: Soma, capabilities: CapabilitySet) -> Soma:
    """Add the user namespace in which alone an ordinary user may have what the card asks for; its ids stay the user's."""
    if soma.namespaces.user or not capabilities["user"].available:
        return soma
    if not any(capabilities[wish.feature].needs_user for wish in wishes_of(soma)):
        return soma
    mine = capabilities.powers
    return replace(
        soma,
        namespaces=replace(soma.namespaces, user=True),
        uid_map=(IdMap(inside=mine.uid, outside=mine.uid),),
        gid_map=(IdMap(inside=mine.gid, outside=mine.gid),),
    )


def clone_flags(kinds: tuple[str, ...]) -> int:
    """Return the CLONE_NEW* flags of namespace kinds."""
    return sum(CLONE_NEW[kind] for kind in kinds)


def _expand(soma: Soma, variables: dict[str, str]) -> Soma:
    """Replace ``${NAME}`` in the soma's paths."""
    if not variables:
        return soma

    def text(value: str) -> str:
        return substitute(value, variables)

    return replace(filters.expanded(files.expand(soma, text), text), chdir=text(soma.chdir))


def substitute(text: str, variables: dict[str, str]) -> str:
    """Return the text with every ``${NAME}`` of ``variables`` replaced; other dollars stay as they are."""
    for name, value in variables.items():
        text = text.replace(f"${{{name}}}", value)
    return text


def _identity(card: Card, soma: Soma) -> identity.Identity | None:
    if soma.run_as is None:
        return None
    try:
        return identity.resolve(soma.run_as.user, soma.run_as.group, soma.run_as.groups)
    except identity.UnknownIdentity as error:
        field = f"soma.run_as.{error.kind}"
        raise SetupFailed(card.label, Step.PLAN, 0, field, str(error), line=card.source.line_of(field)) from error


def _place(setup: ChildSetup, scene: Scene, *, judged: bool) -> None:
    """Put every op into its phase; the order is the reason that this is one function (isolation.md §3, 10 and 14)."""
    soma = scene.soma
    if soma.new_session:
        setup.with_session()
    if "controlling_tty" in scene.have:
        setup.with_controlling_tty(soma.controlling_tty)
    joins.place(setup, scene)
    namespaces.place(setup, scene)
    network.place(setup, scene)
    files.place(setup, scene)
    setup.with_umask(soma.umask)
    priority.place(setup, scene)
    ids.place_user(setup, scene)
    joins.place_user(setup, scene)
    filters.place_early(setup, scene)
    privileges.place_before(setup, scene)
    ids.place(setup, scene)
    privileges.place_after(setup, scene)
    if soma.parent_death_signal:
        setup.with_parent_death_signal(signal_number(soma.parent_death_signal))
    if soma.chdir:
        setup.with_chdir(soma.chdir)
    limits.place(setup, scene)
    setup.with_report(_facts(scene), judged=judged)
    if soma.no_new_privs:
        setup.with_no_new_privs()
    privileges.place_last(setup, scene)
    filters.place(setup, scene)


def _facts(scene: Scene) -> int:
    """Return the bits of the facts by which the features that are had are read back."""
    bits = FACT["status"]
    for feature in scene.have:
        shown_by = SHOWN_BY.get(feature) or SHOWN_BY.get(feature.partition(".")[0], "status")
        if feature == "proc" and not isinstance(scene.soma.proc, Proc):
            shown_by = "proc"  # nothing of it but that it is a new one
        bits |= FACT[shown_by]
    return bits


def signal_number(name: str) -> int:
    """Return the number of a signal as cards name it. Raises Unreadable."""
    return signals.number(name)


def _from_file(card: Card, word: str) -> dict[str, str]:
    """Read one env file. Raises SetupFailed that names the file and the line."""
    try:
        return env_file.read(word)
    except NoText as error:
        field, problem = "payload.env_file", error.problem
        where = f"{problem.file}:{problem.line}" if problem.line else problem.file
        detail, line = f"{where}: {problem.message}", card.source.line_of(field)
        raise SetupFailed(card.label, Step.PLAN, 0, field, detail, hint=problem.remedy, line=line) from error


def _program(card: Card, payload: Native, variables: dict[str, str], told: dict[str, str], given: Given) -> Program:
    """``told``: what the isolation itself tells the payload by its environment; the card's own words win."""

    def encode(field: str, text: str) -> bytes:
        if "\0" in text:
            line = card.source.line_of(field)
            raise SetupFailed(card.label, Step.PLAN, 0, field, f"a NUL byte in {text!r}", hint="remove it", line=line)
        return os.fsencode(substitute(text, variables))

    environment = {name: os.environ[name] for name in payload.pass_env if name in os.environ}
    for word in payload.env_file:
        environment |= _from_file(card, substitute(word, variables))
    environment |= told | dict(payload.envp) | dict(given.env) | {mark.NAME: mark.of(card.label)}
    for name in given.pid_variables:
        environment.pop(name, None)
    path = encode("payload.exec", payload.exec)
    if not path:
        raise SetupFailed(card.label, Step.PLAN, 0, "payload.exec", "it is empty", hint="name a program")
    search = environment.get("PATH", DEFAULT_PATH).split(":")
    paths = (path,) if b"/" in path else tuple(os.fsencode(directory or ".") + b"/" + path for directory in search)
    argv = [encode("payload.argv0", payload.argv0) or path, *(encode("payload.argv", word) for word in payload.argv)]
    envp = [encode("payload.envp", f"{name}={value}") for name, value in environment.items()]
    return Program(paths, tuple(argv), tuple(envp))
