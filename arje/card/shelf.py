"""All the cards of all the directories: layers, drop-ins, templates and their instances, masks.

What a file and its drop-ins came to is remembered by their content (:class:`Memory`), so that a set in which one file has
changed is judged again in that one alone, and one that has not changed not at all (``cache.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from arje.card.card import Card
from arje.card.clash import clashing
from arje.card.disk import NoText, read
from arje.card.layers import EVERY, Layers, find, name_of
from arje.card.loader import Document, Loaded, digest_of, load_file, load_text, parse
from arje.card.specifiers import Surroundings
from arje.card.supervision import consequences
from arje.card.template import Template, template_of
from arje.errors import CardProblem

#: The edges that pull in what they name, as contracts do: an instance that stands there is made.
_PULLS: Final = ("requires", "wants", "waits_for", "on_failure", "on_success")
_MOST: Final = 10_000  # instances made on demand: a template may require another instance of itself, and so on


@dataclass(slots=True)
class Memory:
    """What was judged, by the content that it came from. ``used`` are the keys of the latest load, ``judged`` counts what
    it did not find; ``unsaved``: something is known that no file has (``cache.py``)."""

    here: Surroundings = field(default_factory=Surroundings)
    known: dict[str, Loaded] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    judged: int = 0
    unsaved: bool = False

    def begin(self) -> None:
        """Begin to count what a load uses."""
        self.used, self.judged = set(), 0

    def end(self) -> None:
        """Forget what the load has not used."""
        self.known = {key: self.known[key] for key in self.used}

    def get(self, content: tuple[object, ...], judge: Callable[[], Loaded]) -> Loaded:
        """Return what a content came to, judging it if nobody has, or if what its specifiers said is not so any more."""
        key = hashlib.sha256(repr(content).encode(errors="surrogatepass")).hexdigest()
        self.used.add(key)
        if key not in self.known or not self.here.are_still(self.known[key].rests_on):
            self.judged += 1
            self.unsaved = True
            self.here.told.clear()
            loaded = judge()
            self.known[key] = replace(loaded, rests_on=tuple(sorted(self.here.told.items())))
        return self.known[key]


def load_dirs(directories: Iterable[Path], memory: Memory | None = None, also: Iterable[str] = ()) -> Loaded:
    """Load the cards of the directories, the later over the earlier, and the instances that are named ``also``.

    A directory that is not there holds no cards; one that cannot be read is a problem.
    """
    memory = memory or Memory()
    memory.begin()
    loaded = _Shelf(find(directories), memory).load(also)
    memory.end()
    return loaded


def load_files(files: Iterable[Path]) -> Loaded:
    """Load card files, each for itself. Of two cards with one label, or with cgroups that are not apart, the second is a
    problem."""
    return together(map(load_file, files))


def taken(label: str) -> str:
    """Return how the problem of a card begins whose label another one has."""
    return f"{label!r} is already the label of a card in"


def together(each: Iterable[Loaded]) -> Loaded:
    """Return a set of cards of several: one label is one card, and no cgroup lies in another's."""
    cards: dict[str, Card] = {}
    problems: dict[CardProblem, None] = {}
    templates: list[Template] = []
    for loaded in each:
        problems |= dict.fromkeys(loaded.problems)
        templates += loaded.templates
        for card in loaded.cards:
            if (first := cards.get(card.label)) is None:
                cards[card.label] = card
                continue
            message = f"{taken(card.label)} {first.source.file}"
            line = card.source.line_of("label")
            problems[CardProblem(card.source.file, line, "label", message, "choose another label")] = None
    for card, problem in clashing(cards.values()):
        problems[problem] = None
        del cards[card.label]
    return Loaded(tuple(cards.values()), tuple(problems), tuple(templates))


class _Shelf:
    """One load."""

    def __init__(self, layers: Layers, memory: Memory) -> None:
        self._layers = layers
        self._memory = memory
        self._here = memory.here
        self._texts: dict[Path, str | None] = {}
        self._documents: dict[Path, Document | None] = {}
        self._problems: list[CardProblem] = list(layers.problems)
        self._templates: dict[str, Template] = {}
        self._broken: dict[Path, tuple[CardProblem, ...]] = {}  # drop-ins that are no table
        self._bad: set[Path] = set()  # those of them that the card being judged takes: it is not loaded

    def load(self, also: Iterable[str]) -> Loaded:
        found = [self._file(self._layers.cards[name]) for name in sorted(self._layers.cards)]
        listed = [self._listed(template) for template in self._templates.values()]
        masked = [self._masked(label) for label in sorted(self._layers.masks)]
        known = {card.label for loaded in (*found, *listed, *masked) for card in loaded.cards}
        made = self._on_demand([loaded for loaded in (*found, *listed)], known, also)
        for template in self._templates.values():
            if not any(card.source.template == template.label for loaded in (*listed, *made) for card in loaded.cards):
                found.append(Loaded((), self._sample(template)))
        whole = together([*found, *listed, *masked, *made])
        problems = tuple(dict.fromkeys((*self._problems, *whole.problems)))
        templates, hidden = tuple(self._templates.values()), tuple(self._layers.hidden)
        return Loaded(whole.cards, problems, templates, hidden, self._strays(whole))

    def _strays(self, whole: Loaded) -> tuple[str, ...]:
        """Return the labels whose drop-ins nobody takes; of a card that is wrong it is not known which it would."""
        if whole.problems:
            return ()
        known = {EVERY, *self._templates, *(card.label for card in whole.cards)}
        own = (scope for scope in self._layers.dropins if f"{scope.partition('@')[0]}@" not in self._templates)
        return tuple(scope for scope in own if scope not in known)

    # -- files ---------------------------------------------------------------------------------------------------------

    def _text(self, file: Path) -> str | None:
        """Return the text of a file; None, and a problem, when it has none."""
        if file not in self._texts:
            try:
                self._texts[file] = read(file)
            except NoText as error:
                self._problems.append(error.problem)
                self._texts[file] = None
        return self._texts[file]

    def _document(self, file: Path) -> Document | None:
        """Return a drop-in; None when it is broken. One that says nothing says nothing."""
        if file not in self._documents:
            self._documents[file] = None
            if (text := self._text(file)) is not None:
                parsed = parse(file, text)
                if isinstance(parsed, tuple):
                    self._documents[file] = parsed[0]
                elif not text.strip() or all(line.lstrip()[:1] in ("", "#") for line in text.splitlines()):
                    self._documents[file] = Document(str(file), digest_of(text), {}, {})
                else:
                    self._broken[file] = parsed.problems
        return self._documents[file]

    def _dropins(self, label: str) -> Sequence[Document]:
        found = [(file, self._document(file)) for file in self._layers.of(label)]
        self._bad |= {file for file, document in found if document is None}
        return [document for _, document in found if document is not None]

    def _digests(self, files: Iterable[Path]) -> tuple[tuple[str, str], ...]:
        return tuple((str(file), digest_of(self._text(file) or "")) for file in files)

    # -- cards ---------------------------------------------------------------------------------------------------------

    def _file(self, file: Path) -> Loaded:
        if (text := self._text(file)) is None:
            return Loaded((), ())
        name = name_of(file)
        if name.endswith("@") and file.suffix == ".toml":
            return self._template(name, file, text)
        if file.suffix == ".json" or "label" in text or "\\" in text:  # which drop-ins it takes, parsing would tell
            files = [dropin for each in sorted(self._layers.dropins) for dropin in self._layers.dropins[each]]
        else:
            files = list(self._layers.of(name))
        content = ("card", str(file), digest_of(text), self._digests(files))
        return self._judged(files, content, lambda: load_text(file, text, self._dropins, self._here))

    def _judged(self, files: Iterable[Path], content: tuple[object, ...], judge: Callable[[], Loaded]) -> Loaded:
        """Ask the memory. A drop-in that cannot be read, or is broken, is a problem of who takes it."""
        if any(self._text(file) is None for file in files):
            return Loaded((), ())
        return self._memory.get(content, lambda: self._with_dropins(judge))

    def _with_dropins(self, judge: Callable[[], Loaded]) -> Loaded:
        self._bad.clear()
        loaded = judge()
        told = [problem for file in sorted(self._bad) for problem in self._broken.get(file, ())]
        return Loaded((), (*told, *loaded.problems)) if self._bad else loaded

    def _template(self, name: str, file: Path, text: str) -> Loaded:
        parsed = parse(file, text)
        if isinstance(parsed, Loaded):
            return parsed
        common = self._layers.of(name)
        documents = [self._document(dropin) for dropin in common]
        if any(document is None for document in documents):
            return Loaded((), tuple(problem for dropin in common for problem in self._broken.get(dropin, ())))
        given = [parsed[0], *(document for document in documents if document is not None)]
        self._templates[name] = template_of(name, given, lambda label: self._dropins(label)[len(common) :])
        return Loaded((), ())

    def _listed(self, template: Template) -> Loaded:
        labels = dict.fromkeys(template.labels)
        for scope in self._layers.dropins:
            if scope.startswith(template.label) and scope != template.label and self._enables(scope):
                labels[scope] = None
        own = [label for label in labels if label not in self._layers.cards and label not in self._layers.masks]
        each = [self._instance(template, label) for label in own]
        cards = tuple(card for loaded in each for card in loaded.cards)
        problems = (problem for loaded in each for problem in loaded.problems)
        return Loaded(cards, tuple(dict.fromkeys((*template.problems, *problems))))

    def _enables(self, label: str) -> bool:
        """Whether the drop-ins of an instance say that it is enabled."""
        files = self._layers.dropins[label]
        said = [self._document(file) for file in files]
        self._problems += (problem for file in files for problem in self._broken.get(file, ()))
        return any([each.raw["enabled"] is True for each in said if each and "enabled" in each.raw][-1:])

    def _instance(self, template: Template, label: str) -> Loaded:
        documents = tuple((each.file, each.digest) for each in template.documents)
        files = self._layers.of(label)
        content = ("instance", label, template.labels, documents, self._digests(files))
        return self._judged(files, content, lambda: template.instance(label, self._here))

    def _sample(self, template: Template) -> tuple[CardProblem, ...]:
        documents = tuple((each.file, each.digest) for each in template.documents)
        content = ("sample", template.label, documents)
        return self._memory.get(content, lambda: Loaded((), template.sample(self._here))).problems

    def _on_demand(self, found: list[Loaded], known: set[str], also: Iterable[str]) -> list[Loaded]:
        """Make the instances that somebody names, and those that these name, until none is missing."""
        made: list[Loaded] = []
        names = [*also, *(name for loaded in found for card in loaded.cards for name in pulled(card))]
        for name in names:  # it grows
            template = self._templates.get(f"{name.partition('@')[0]}@")
            if name in known or template is None or not name.partition("@")[2] or len(made) >= _MOST:
                continue
            known.add(name)
            made.append(self._instance(template, name))
            names += (more for card in made[-1].cards for more in pulled(card))
        return made

    def _masked(self, label: str) -> Loaded:
        """Return a masked card: what lies below the mask, as far as that is a card; it is there and does not start."""
        mask = self._layers.masks[label]
        template = self._templates.get(f"{label.partition('@')[0]}@")
        if label.endswith("@"):
            return Loaded((), ())
        if (below := self._layers.below.get(label)) is not None:
            loaded = self._file(below)
        elif template is not None:
            loaded = self._instance(template, label)
        else:
            loaded = Loaded((), ())
        card = next((card for card in loaded.cards if card.label == label), None)
        if card is None:
            empty = f'label = "{label}"\npayload = "virtual"\n'
            card = next(iter(load_text(mask, empty, here=self._here).cards), None)
        if card is None:  # a name that no card can have
            return Loaded((), ())
        digest = digest_of(f"{mask} {card.source.digest}")
        source = replace(card.source, digest=digest, mask=str(mask))
        return Loaded((replace(card, masked=True, enabled=False, source=source),), ())


def pulled(card: Card) -> Iterable[str]:
    """Return the names that a card pulls in: an instance of one of these names is made."""
    yield from (name for edge in _PULLS for name in getattr(card, edge))
    yield from (name for contract in card.contracts for name in contract.of)
    yield from (then.label for _, then in consequences(card.supervision) if then.label)
    if card.log.to:
        yield card.log.to


def load_again(card: Card, text: str, here: Surroundings | None = None) -> Loaded:
    """Load a card again from another text of its own file, under the drop-ins that it has on disk. Never raises."""
    documents = []
    for part in card.source.parts[1:]:
        file = Path(part.file)
        try:
            parsed = parse(file, read(file))
        except NoText as error:
            return Loaded((), (error.problem,))
        if isinstance(parsed, tuple):
            documents.append(parsed[0])
    loaded = load_text(Path(card.source.file), text, lambda _label: documents, here)
    return replace(loaded, cards=tuple(each for each in loaded.cards if each.label == card.label))
