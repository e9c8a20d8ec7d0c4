"""The logs of all services: who follows them, and what is read back of them from memory and disk.

What a disk does costs lines, which are counted, and nothing else: one that hangs is given up after :data:`_ANSWER`
seconds, and what is in memory answers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from arje import log
from arje.card.card import Card
from arje.supervisor import logread
from arje.supervisor.ears import Ears
from arje.supervisor.follower import SLOW_READER, Follower, Line
from arje.supervisor.logread import MOST, Query
from arje.supervisor.logtext import Chunk, micros
from arje.supervisor.logwriter import LogWriter
from arje.supervisor.pipes import Pipes
from arje.supervisor.servicelog import ServiceLog, lines_of

LOG = log.logger()
_ANSWER: Final = 5.0  # seconds for the disk to give back what it holds
_WRITE: Final = 1.0  # seconds for it to take what there is, before it is asked
_FLUSH: Final = 2.0  # seconds for it to take the last lines at the end
_READERS: Final = 4  # threads


class Logs:
    """The logs of all services, and those who follow them."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.pipes = Pipes()
        self._ears = Ears()
        self._directory = directory
        self._writer = LogWriter()
        self._logs: dict[str, ServiceLog] = {}
        self._followers: set[Follower] = set()
        self._readers: trio.CapacityLimiter | None = None
        self._hung: set[str] = set()

    def of(self, label: str) -> ServiceLog:
        """Return the log of a service; it is made at the first call."""
        if label not in self._logs:
            self._logs[label] = ServiceLog(label, self._directory, self._writer, self._tell, self.pipes, self._ears)
        return self._logs[label]

    def set_cards(self, cards: Collection[Card]) -> None:
        """Let the logs be kept as these cards say, from the next line on."""
        for card in cards:
            self.of(card.label).rules = card.log
        self.pipes.set_cards(cards)

    def forget(self, label: str) -> None:
        """Let go of a service's log: its card is gone. The file stays."""
        if (gone := self._logs.pop(label, None)) is not None:
            gone.close()
            self.pipes.forget(label)

    def follow(self, labels: frozenset[str] | None = None) -> Follower:
        """Return a follower of every line from now on. Who does not read loses lines, and hurts nobody."""
        follower = Follower(labels)
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Tell a follower nothing more."""
        self._followers.discard(follower)
        follower.close()

    def _tell(self, label: str, chunk: Chunk) -> None:
        followers = [follower for follower in self._followers if follower.follows(label)]
        if not followers:
            return
        lines = lines_of(label, chunk, first=max(follower.room() for follower in followers))
        for follower in followers:
            if lost := follower.tell(label, lines, chunk.lines):
                self.of(label).drop(SLOW_READER, lost)

    # -- reading back --------------------------------------------------------------------------------------------------

    async def read(self, labels: list[str], query: Query) -> list[Line]:
        """Return the last lines of each of these services that a query picks, in the order of time.

        Those of files, too, where memory does not hold enough. A disk that does not answer is told in a line of its own.
        Who begins to follow right after misses nothing, and hears nothing twice.
        """
        asked = {label: self._for(label, query) for label in labels}
        kept = {label: list(self.of(label).lines) for label in labels}
        totals = {label: self.of(label).total for label in labels}
        wanting = [label for label in labels if not _suffices(kept[label], asked[label])]
        files, notes = await self._from_files({label: asked[label] for label in wanting}) if wanting else ({}, [])
        found: list[Line] = []
        for label in labels:
            if wanting:
                self._catch_up(label, kept[label], totals[label], files.get(label, []))
            picked = [line for line in kept[label] if asked[label].picks(line)]
            merged = _merge(files.get(label, []), picked)
            found += merged[max(0, len(merged) - asked[label].lines) :]
        return notes + _within(sorted(found, key=lambda line: line.wall))

    def _catch_up(self, label: str, kept: list[Line], total: int, files: list[Line]) -> None:
        """Add to what memory held before the files were read what came meanwhile, and a word where that was too much."""
        count = self.of(label).total - total
        new = list(self.of(label).lines)[-count:] if count else []
        missing = count - len(new)
        if missing and new[0].wall not in {line.wall for line in files}:
            text = f"up to {missing} lines are left out: they came while the disk was asked"
            kept.append(Line(label, "arje", 0, new[0].wall - 1e-6, text))
        kept += new

    def _for(self, label: str, query: Query) -> Query:
        if not query.life:
            return query
        if not (began := self.of(label).began):
            return replace(query, lines=0)
        return replace(query, since=max(began, query.since or began))

    async def _from_files(self, asked: dict[str, Query]) -> tuple[dict[str, list[Line]], list[Line]]:
        """Read files in a thread. Returns the lines by label, and what is to be told of those that are not there.

        A log at which a thread hangs is not asked again before that has come back: the others have need of threads, too.
        """
        found: dict[str, list[Line]] = {}
        hung = [label for label in asked if label in self._hung]
        willing = [label for label in asked if label not in self._hung]
        cut: list[str] = []
        notes: list[str] = []
        current: set[str] = set()

        def read_all() -> None:
            left = MOST
            for label in willing:
                current.add(label)
                try:
                    found[label], whole = logread.read(self._directory, label, asked[label], left)
                    left = max(0, left - sum(len(line.text) for line in found[label]))
                    cut.extend([] if whole else [label])
                except OSError as error:
                    notes.append(f"{label}: its older lines cannot be read: {error.strerror}")
                finally:
                    current.clear()
                    self._hung.discard(label)

        if self._readers is None:
            self._readers = trio.CapacityLimiter(_READERS)
        with trio.move_on_after(_ANSWER) as scope:
            async with trio.open_nursery() as nursery:
                for label in willing:
                    nursery.start_soon(self.of(label).box.wait_written, _WRITE)
            await trio.to_thread.run_sync(read_all, abandon_on_cancel=True, limiter=self._readers)
        if scope.cancelled_caught:
            for label in list(current):
                self._hung.add(label)
                if label not in current:  # it has come back this very moment
                    self._hung.discard(label)
            hung = [label for label in asked if label not in found]
        if hung:
            notes.append(f"{', '.join(hung)}: the disk does not answer: older lines are not shown")
        if cut:
            notes.append(f"{', '.join(cut)}: older lines are left out: an answer has at most {MOST >> 20} MiB")
        return dict(found), [_note(text) for text in notes]

    def close(self) -> None:
        """End every follower, give the disk two seconds for the last lines, and close every descriptor."""
        for service_log in self._logs.values():
            service_log.close()
        self._ears.close()
        for follower in self._followers:
            follower.close()
        if lost := self.pipes.close():
            LOG.warning(
                "what nobody has read is lost", **{f"bytes_for_{label}": count for label, count in lost.items()}
            )
        self._writer.flush(_FLUSH)


def _note(text: str) -> Line:
    return Line("arje", "arje", 0, 0.0, text)


def _suffices(kept: list[Line], query: Query) -> bool:
    """Whether the lines in memory, the newest ones of a log, are all that a query can want of it."""
    if query.since is not None and kept and kept[0].wall < query.since:
        return True
    return sum(query.picks(line) for line in kept) >= query.lines


def _merge(files: list[Line], kept: list[Line]) -> list[Line]:
    """Return lines of files and of memory, none twice: by its time a line of a log is known again.

    What only memory has, because the disk did not take it, stands after what it followed.
    """
    written = {micros(line.wall): place for place, line in enumerate(files)}
    after: dict[int, list[Line]] = {}
    place = next((written[m] - 1 for line in kept if (m := micros(line.wall)) in written), len(files) - 1)
    for line in kept:
        if (found := written.get(micros(line.wall))) is not None:
            place = found
        else:
            after.setdefault(place, []).append(line)
    merged = after.get(-1, [])
    for number, line in enumerate(files):
        merged += [line, *after.get(number, [])]
    return merged


def _within(lines: list[Line]) -> list[Line]:
    """Return the newest of the lines that one answer has room for."""
    size = 0
    for place in range(len(lines) - 1, -1, -1):
        size += len(lines[place].text)
        if size > MOST:
            return [_note(f"older lines are left out: an answer has at most {MOST >> 20} MiB"), *lines[place + 1 :]]
    return lines
