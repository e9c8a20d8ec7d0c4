"""What a card says of others beyond their names: the terms of single edges, and contracts with several at once.

A list of names is the plain form of an edge. A table has terms for each name: ``requires = {db = {on_restart =
"restart"}}``, in short ``{db = "undegraded"}``. A contract is with a number of services of which enough have to be up;
the ancestor tags each with its kind, ``{"Quorum": {"of": […], "at_least": 2}}``, and so may a TOML card.

What systemd calls ``BindsTo`` is ``requires`` here: whose requirement goes for good does not run without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from arje.card.nearest import nearest
from arje.card.rules import FORBID, Flag, Rule, Seconds, Text, Texts, many, text, whole_rule
from arje.card.soma import FEATURES
from arje.card.unreadable import Unreadable, shown, together

#: Every kind of edge that a card writes down as names.
KINDS: Final = (
    "requires",
    "requisite",
    "wants",
    "waits_for",
    "after",
    "before",
    "conflicts",
    "part_of",
    "required_by",
    "wanted_by",
)
#: The kinds that may have terms.
WITH_TERMS: Final = ("requires", "requisite", "wants")
_HARD: Final = ("requires", "requisite")


class Reaction(StrEnum):
    """What a service does when one that it has an edge to has started again, or reloaded, beside it."""

    KEEP = "keep"
    RESTART = "restart"
    RELOAD = "reload"


#: A feature, or a family of them: ``cgroup`` means each of its limits.
_FEATURE_NAMES: Final = (*FEATURES, *sorted({name.partition(".")[0] for name in FEATURES} - set(FEATURES)))


def _feature(value: Any) -> str:
    if text(value) not in _FEATURE_NAMES:
        near = nearest(value, _FEATURE_NAMES)
        raise Unreadable("", f"no feature {shown(value)}", f"did you mean {near!r}?" if near else "")
    return str(value)


_FEATURES: Final = {"type": "array", "items": {"enum": list(_FEATURE_NAMES)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """On which terms a card has one of its edges. A card writes it in place of the name: ``requires = {db = {…}}``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    kind: Text = "requires"
    """Which edge: ``requires``, ``requisite`` or ``wants``."""
    name: Text = ""
    """The name in it."""
    on_restart: Reaction = Reaction.KEEP
    """What this service does when that one has started again: ``keep`` running, ``restart`` or ``reload`` as well."""
    on_reload: Reaction = Reaction.KEEP
    """What this service does when that one has reloaded: ``keep`` running, ``restart`` or ``reload`` as well."""
    recover: Flag = True
    """Whether this service starts again by itself when it had failed for want of that one and that one is back."""
    undegraded: Flag = False
    """Whether that one must have all the isolation that it asks for: this service neither starts nor runs otherwise."""
    granted: Annotated[tuple[str, ...], Rule(many(_feature), _FEATURES)] = ()
    """Features of that one's isolation, each of which must not be degraded."""

    @property
    def reacts(self) -> bool:
        """Whether this service does anything when that one comes back or reloads."""
        return self.on_restart is not Reaction.KEEP or self.on_reload is not Reaction.KEEP

    @property
    def is_strict(self) -> bool:
        """Whether it asks for isolation."""
        return self.undegraded or bool(self.granted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Of these names enough services must be up, or this one does not run: any one of them, or a quorum."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID

    of: Texts = ()
    """Labels or provided names; every service that provides one of them counts once."""
    at_least: Annotated[int, whole_rule(1, 10**6)] = 1
    """How many must be up. So many are pulled in."""
    grace: Seconds = 0.0
    """How long too few are borne before this service stops, in seconds."""

    def __str__(self) -> str:
        return f"{self.at_least if self.at_least > 1 else 'any'} of {', '.join(self.of)}"


@dataclass(slots=True)
class _Reader:
    """Reads the edges of one card; ``wrong`` collects, ``raw`` is changed."""

    raw: dict[str, Any]
    seconds: Callable[[Any, str], Any]
    wrong: list[Unreadable] = field(default_factory=list)

    def terms(self, kind: str, table: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the term of every name that has one."""
        for name, value in table.items():
            place = f"{kind}.{name}"
            if value == "undegraded":
                value = {"undegraded": True}
            if not isinstance(value, dict):
                self.wrong.append(Unreadable(place, f"{shown(value)} is no term", _TERM))
                continue
            term = {"kind": kind, "name": name}
            for word, item in value.items():
                try:
                    term[word] = _TERMS[word](item) if word in _TERMS else _no_term(word)
                    if kind not in _HARD and word not in ("on_restart", "on_reload"):
                        raise Unreadable("", f"{kind} has no such term", "write it under requires")
                except Unreadable as error:
                    self.wrong += [
                        Unreadable(f"{place}.{word}.{each.field}".rstrip("."), str(each), each.remedy)
                        for each in error.all()
                    ]
            yield term

    def contract(self, value: Any, place: str) -> dict[str, Any] | None:
        """Return one contract; those which are plain edges go there, and are None."""
        if not isinstance(value, dict) or not value:
            raise Unreadable(place, f"{shown(value)} is no contract", _CONTRACT)
        if "of" in value:
            return {
                name: self.seconds(item, f"{place}.{name}") if name == "grace" else item for name, item in value.items()
            }
        tag = next(iter(value))
        kind, body = str(tag).lower(), value[tag]
        rest = {name: item for name, item in value.items() if name != tag}
        if kind == "any":
            if not isinstance(body, list):
                raise Unreadable(f"{place}.any", f"{shown(body)} is not a list", _CONTRACT)
            return self.contract({"of": body, **rest}, place)
        if kind == "quorum" and isinstance(body, dict) and not rest:
            if missing := next((name for name in ("of", "at_least") if name not in body), ""):
                raise Unreadable(f"{place}.{missing}", "is missing", _CONTRACT)
            return self.contract(body, place)
        if kind in ("conflicts", "after") and not rest:
            if not isinstance(body, list):
                raise Unreadable(place, f"{shown(body)} is not a list", f'write {{{kind} = ["name"]}}')
            self.raw[kind] = [*self.raw.get(kind, ()), *body]
            return None
        near = nearest(kind, ("any", "quorum", "conflicts", "after"))
        raise Unreadable(place, f"{shown(tag)} is no contract", f"did you mean {near!r}?" if near else _CONTRACT)


_TERM: Final = 'write {on_restart = "restart"}, or "undegraded"'
_CONTRACT: Final = "write {any = [names]} or {quorum = {of = [names], at_least = 2}}"


def _no_term(word: str) -> Any:
    near = nearest(word, _TERMS)
    raise Unreadable("", "no such term", f"did you mean {near!r}?" if near else f"write {', '.join(_TERMS)}")


def _reaction(value: Any) -> str:
    if value not in list(Reaction):
        raise Unreadable("", f"{shown(value)} is not known", "write keep, restart or reload")
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unreadable("", f"{shown(value)} is neither true nor false", "write true or false")
    return value


_TERMS: Final[dict[str, Callable[[Any], Any]]] = {
    "on_restart": _reaction,
    "on_reload": _reaction,
    "recover": _flag,
    "undegraded": _flag,
    "granted": many(_feature),
}


def spelled(raw: dict[str, Any], wrong: list[Unreadable], seconds: Callable[[Any, str], Any]) -> dict[str, Any]:
    """Return a card's dict with its edges in plain lists, their terms and contracts apart.

    ``seconds`` reads a duration. What cannot be read is left out and told in ``wrong``.
    """
    reader = _Reader(dict(raw), seconds)
    terms: list[Any] = []
    for kind in WITH_TERMS:
        if isinstance(table := raw.get(kind), dict):
            terms += reader.terms(kind, table)
            reader.raw[kind] = list(table)
    if terms:
        known = raw.get("terms", [])
        reader.raw["terms"] = [*known, *terms] if isinstance(known, list) else known  # which is then found wrong
    if isinstance(contracts := raw.get("contracts"), list):
        reader.raw["contracts"] = list[Any]()
        for index, value in enumerate(contracts):
            try:
                found = reader.contract(value, f"contracts.{index}")
            except Unreadable as error:
                reader.wrong += error.all()
                continue
            if found is not None:
                reader.raw["contracts"].append(found)
    wrong += reader.wrong
    return reader.raw


def of_terms(terms: tuple[Term, ...], edges: dict[str, tuple[str, ...]]) -> None:
    """Let every term belong to an edge that the card has. Raises Unreadable."""
    wrong = [
        Unreadable(f"terms.{index}", f"{term.kind} does not name {term.name!r}", f"write {term.kind} = {{…}}")
        for index, term in enumerate(terms)
        if term.kind not in WITH_TERMS or term.name not in edges[term.kind]
    ]
    if wrong:
        raise together(wrong)
