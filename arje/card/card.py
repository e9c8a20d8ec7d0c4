"""The card: one service as its author wrote it. Frozen data, no I/O.

These are plain dataclasses that pydantic validates (``loader.py``), so that a manager whose cards have not changed can
take them from its cache without importing pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

from arje.card import activation as activations
from arje.card import live_conditions as lives
from arje.card.activation import Activation, When
from arje.card.conditions import Conditions, live
from arje.card.edges import KINDS, Contract, Reaction, Term, of_terms
from arje.card.hooks import Hooks
from arje.card.live_conditions import LiveConditions
from arje.card.log import LogRules
from arje.card.memory import contradictions
from arje.card.path_watch import Watches
from arje.card.payload import Payload, Virtual
from arje.card.rules import FORBID, Flag, Kept, Rule, Text, Texts, kept, many, matching, text, whole_rule
from arje.card.sockets import Sockets
from arje.card.soma import Soma
from arje.card.supervision import Supervision, consequences, patience
from arje.card.timer import Timer, sensible
from arje.card.unreadable import Unreadable, shown

_LABEL: Final = matching(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}", "is no label", "letters, digits and @ . _ -, at most 64")


def _lineage(value: Any) -> str | tuple[str, ...]:
    return text(value) if isinstance(value, str) else tuple(many(text)(value))


def _path(value: Any) -> str:
    path = text(value)
    if path and not path.startswith("/"):
        raise Unreadable("", f"{shown(path)} is no absolute path", 'begin it with "/"')
    return path


def _pin(value: Any) -> str:
    if value not in ("", "started", "stopped"):
        raise Unreadable("", f"{shown(value)} is no pin", 'write "started" or "stopped"')
    return str(value)


def _table(value: Any) -> Any:
    if value is not None and not isinstance(value, dict):
        raise Unreadable("", f"{shown(value)} is not a table", "write [{name}]")
    return kept(value)


MOST_COPIES: Final = 1000
_LINEAGE: Final = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """Isolation in a few words. The loader compiles them into the soma, which is what is enforced, and wins.

    ``true`` is the widest word, ``false`` the narrowest, a list means its widest; other shapes, as the ancestor may have
    them, are kept and shown, and enforce nothing.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    networking: Kept = None
    """``none`` (not even lo), ``loopback``, ``outbound`` (it connects, nobody connects to it) or ``full``, the host's."""
    filesystem: Kept = None
    """``none`` (a root of its own with the system's programs, read-only), ``read-only``, or ``read-write``: the host's."""
    ipc: Kept = None
    """``none``: its own System V IPC and message queues; ``full``: the host's."""
    processes: Kept = None
    """``none``: it sees its own alone; ``full``: the host's. A number: how many it may have (``cgroup.pids_max``)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the files that a card is made of, and the digest of its text."""

    file: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a card came from: file, digest, and the line of every field (``soma.namespaces`` → 12).

    ``parts`` are the files that made it, the card's own first, then its drop-ins; ``owners`` names the part of the fields
    that are not the first one's. ``digest`` is that of all of it. ``template`` is the label of the template that it is an
    instance of. ``mask`` is the file that keeps it from starting.
    """

    file: str = ""
    digest: str = ""
    lines: dict[str, int] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    owners: dict[str, int] = field(default_factory=dict)
    template: str = ""
    mask: str = ""

    def line_of(self, dotted: str) -> int:
        """Return the line of a field or of its nearest parent that is in a file; 0 when none is."""
        return self.lines.get(self._known(dotted), 0)

    def file_of(self, dotted: str) -> str:
        """Return the file that :meth:`line_of` speaks of: the card's own, or a drop-in."""
        return self.parts[owner].file if (owner := self.owners.get(self._known(dotted), 0)) else self.file

    def _known(self, dotted: str) -> str:
        while dotted and dotted not in self.lines:
            dotted = dotted.rpartition(".")[0]
        return dotted


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One service: what it is called, what runs, in which body, how it is kept, and what it depends on."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    label: Annotated[str, _LABEL]
    """Unique name: letters, digits and ``@ . _ -``, at most 64 characters."""
    description: Text = ""
    """One line for people."""
    payload: Payload = field(default_factory=Virtual)
    """What runs; ``"virtual"`` or nothing for a group, which has no process."""
    soma: Soma = field(default_factory=Soma)
    """The body: namespaces, ids, files, limits."""
    supervision: Annotated[Supervision, Rule(patience)] = field(default_factory=Supervision)
    """When it starts again, when arje gives up, how it is stopped."""
    hooks: Hooks = field(default_factory=Hooks)
    """Commands at the turns of its life."""
    on_failure: Texts = ()
    """Labels that are started when it has failed for good."""
    on_success: Texts = ()
    """Labels that are started when it has ended well and does not start again."""
    log: LogRules = field(default_factory=LogRules)
    """What is kept of what it says, and who reads it."""
    requires: Texts = ()
    """Labels or provided names that must be up first; they are pulled in, and their stop stops this."""
    requisite: Texts = ()
    """As ``requires``, but not pulled in: somebody else has to start them."""
    wants: Texts = ()
    """As ``requires``, but nothing happens when they are missing or fail."""
    waits_for: Texts = ()
    """Pulled in, and waited for until they have been up once; what becomes of them later is not felt."""
    after: Texts = ()
    """Start order only."""
    before: Texts = ()
    """Start order only, seen from the other side."""
    conflicts: Texts = ()
    """These and this never run together: the start of one stops the other, whichever of the two says so."""
    part_of: Texts = ()
    """When one of these is stopped or restarted by hand, this is too; it is not started with them."""
    required_by: Texts = ()
    """As if those had this in their ``requires``: while it is enabled, they and not the manager start it."""
    wanted_by: Texts = ()
    """As if those had this in their ``wants``: while it is enabled, they and not the manager start it."""
    terms: tuple[Term, ...] = ()
    """On which terms single edges are; a card writes them in place: ``requires = {db = {on_restart = "restart"}}``."""
    contracts: tuple[Contract, ...] = ()
    """Groups of services of which enough must be up: ``[{any = ["a", "b"]}, {quorum = {of = […], at_least = 2}}]``."""
    ignore_isolate: Flag = False
    """Whether ``arjectl target`` leaves it alone."""
    provides: Texts = ()
    """Capability names that other cards may require."""
    timer: tuple[Annotated[Timer, Rule(sensible)], ...] = ()
    """When it runs by itself, a table or several: it is armed where another would be started."""
    sockets: Sockets = ()
    """What arje listens on for it, before it runs and while it restarts: words or tables, passed on in this order."""
    activation: Activation = field(default_factory=Activation)
    """When its sockets start it: ``start``, ``on-demand`` or ``per-connection``."""
    paths: Watches = ()
    """Paths that start it: words or tables, as ``"directory-not-empty:/var/spool/x"``."""
    fd_store_max: Annotated[int, whole_rule(0, 1024)] = 0
    """How many descriptors it may leave with arje, to get them back at its next start (sd_notify(3), FDSTORE)."""
    fd_store_preserve: Flag = False
    """Whether those are kept while it is stopped, and not only while it restarts."""
    enabled: Flag = True
    """Whether the manager starts it by itself, or those that it is ``required_by`` or ``wanted_by`` do."""
    masked: Flag = False
    """Nothing starts it, no hand either. A file of no bytes in its card's place, or a link to /dev/null, says the same."""
    pinned: Annotated[str, Rule(_pin, {"enum": ["", "started", "stopped"]})] = ""
    """``stopped``: nothing starts it but a hand that names it; ``started``: no failure or stop of another stops it."""
    variables: Annotated[Any, Rule(_table, {"type": "object"})] = None
    """Values for ``%{name}`` in the texts of this card. With this table, and in templates, texts have specifiers."""
    copies: Annotated[int, whole_rule(0, MOST_COPIES)] = 0
    """In a template (``web@.toml``): as many instances, ``web@1`` and up."""
    instances: Texts = ()
    """In a template: its instances by name, ``["blue"]`` for ``web@blue``."""
    only_if_exists: Annotated[str, Rule(_path, {"type": "string", "pattern": "^(/.*)?$"})] = ""
    """Start only when this absolute path is there; else the service is skipped, and says so."""
    conditions: Conditions = field(default_factory=Conditions)
    """What must be so on the machine; else the service is skipped, and says so."""
    live_conditions: LiveConditions | None = None
    """Its ``conditions`` are watched: it waits while they do not hold, and stops when they cease to; ``true``, or a table
    that says otherwise."""
    asserts: Conditions = field(default_factory=Conditions)
    """As ``conditions``, but the service fails when they do not hold."""
    id: Text = ""
    """The ancestor's identifier; kept and shown."""
    lineage: Annotated[str | tuple[str, ...] | None, Rule(_lineage, _LINEAGE)] = None
    """The ancestor's line of descent; kept and shown."""
    schema_version: Annotated[int, whole_rule(0, 2**31)] = 1
    """Version of this schema."""
    lifecycle: Kept = None
    """The ancestor's; any shape, kept and shown."""
    priority: Kept = None
    """The ancestor's; any shape, kept and shown."""
    flow: Kept = None
    """The ancestor's; any shape, kept and shown."""
    references: Kept = None
    """The ancestor's; any shape, kept and shown."""
    extensions: Kept = None
    """Anything that other programs keep in a card."""
    permissions: Permissions | None = None
    """Isolation in a few words, which the soma says exactly."""
    source: Source = field(default_factory=Source, compare=False)
    """Where the card came from; the loader's, never a file's."""

    @property
    def hooked_to(self) -> tuple[str, ...]:
        """The names of those that start it while it is enabled; without any the manager does."""
        return (*self.required_by, *self.wanted_by)

    @property
    def on_demand(self) -> bool:
        """Whether it waits for its sockets or its paths to start it."""
        return bool(self.paths) or self.activation.when is When.ON_DEMAND


def itself(card: Card) -> list[Unreadable]:
    """Return what a card says of itself and cannot: edges to itself, terms that it does not have, copies of no template."""
    own = {card.label, *card.provides}
    wrong = [
        Unreadable(field, f"only a template has {field}", f"name the file {card.label}@.toml")
        for field in ("copies", "instances")
        if getattr(card, field) and not card.label.endswith("@")
    ]
    if card.label.endswith("@"):
        wrong.append(Unreadable("label", "only a template's ends with @", f"name the file {card.label}.toml"))
    wrong += [
        Unreadable(f"{edge}.{index}", f"{name!r} is this card itself", "remove it")
        for edge in KINDS
        for index, name in enumerate(getattr(card, edge))
        if name in own and (edge != "conflicts" or name == card.label)  # of two providers one may exclude the other
    ]
    wrong += [
        Unreadable(f"contracts.{place}.of.{index}", f"{name!r} is this card itself", "remove it")
        for place, contract in enumerate(card.contracts)
        for index, name in enumerate(contract.of)
        if name == card.label
    ]
    wrong += [
        Unreadable(f"{term.kind}.{term.name}", "it has no way to reload", 'say how: supervision.reload = "HUP"')
        for term in card.terms
        if Reaction.RELOAD in (term.on_restart, term.on_reload) and card.supervision.reload is None
    ]
    wrong += [
        Unreadable(f"supervision.{place}", f"{then.label!r} is this card itself", "name another one")
        for place, then in consequences(card.supervision)
        if then.label == card.label
    ]
    if card.timer and card.supervision.ends_arje:
        wrong.append(Unreadable("supervision.ends_arje", "a timed service ends again and again", "remove it"))
    wrong += contradictions(card)
    wrong += live(card.conditions) if card.live_conditions else []
    wrong += lives.contradictions(card)
    try:
        of_terms(card.terms, {kind: getattr(card, kind) for kind in KINDS})
    except Unreadable as error:
        wrong += error.all()
    return wrong


def activated(card: Card) -> list[Unreadable]:
    """Return what does not go together of that which starts a card, and with the rest of it."""
    stdio, supervision = card.soma.stdio, card.supervision
    by_socket = "socket" in (stdio.stdin, stdio.stdout, stdio.stderr)
    has_process = not isinstance(card.payload, Virtual)
    wrong = activations.sensible(
        card.activation, card.sockets, card.paths, has_process=has_process, by_socket=by_socket
    )
    if card.activation.when is When.PER_CONNECTION:
        wrong += [
            Unreadable(field, "a process for each connection has none", 'remove it, or write activation = "on-demand"')
            for field, there in (
                ("hooks", card.hooks != Hooks()),
                ("fd_store_max", card.fd_store_max),
                ("supervision.readiness", supervision.readiness is not None),
                ("supervision.health", supervision.health is not None),
                ("supervision.watchdog", supervision.watchdog),
                ("supervision.max_memory", supervision.max_memory),
                ("supervision.reload", supervision.reload is not None),
            )
            if there
        ]
    if card.timer and (card.on_demand or card.activation.when is When.PER_CONNECTION):
        wrong.append(Unreadable("timer", "its sockets or paths start it already", "remove it, or activation and paths"))
    passed = (0 if by_socket else len(card.sockets)) + card.fd_store_max
    if supervision.readiness and supervision.readiness.fd is not None and supervision.readiness.fd < 3 + passed:
        remedy = f"write a number from {3 + passed} on"
        wrong.append(Unreadable("supervision.readiness.fd", "sockets and stored descriptors are passed there", remedy))
    return wrong
