"""The state table: label → record, and ``fire``, the only writer of a state.

``fire`` also keeps the books that follow from the event alone (the wish, the times of the starts, what a start by hand
forgets), so that no caller can forget them. Everything else that a caller learned goes in as keyword changes.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from arje.card.card import Card
from arje.card.supervision import Kind
from arje.errors import NoSuchService
from arje.incarnation import Degradation, Grant, Incarnation
from arje.service.record import HISTORY, Service, StateCause
from arje.service.state import WITH_PROCESS, Event, State, next_state

Subscriber = Callable[[Service, Service], None]

#: What ``fire`` alone writes; a caller that passes one of these is wrong about who owns it.
_OWNED: Final = frozenset({"label", "card", "state", "cause", "since", "history", "doing", "status_text"})


def nearest(label: str, labels: Iterable[str]) -> str:
    """Return the known label that looks most like ``label``; empty when none does."""
    return next(iter(difflib.get_close_matches(label, labels, n=1)), "")


class StateTable:
    """Every service by its label, in the order in which they came."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}
        self._subscribers: list[Subscriber] = []
        self._pending: deque[tuple[Service, Service]] = deque()
        self._telling = False

    def __iter__(self) -> Iterator[Service]:
        return iter(tuple(self._services.values()))

    def __len__(self) -> int:
        return len(self._services)

    def __contains__(self, label: object) -> bool:
        return label in self._services

    def get(self, label: str) -> Service:
        """Return the record; raise NoSuchService, with the nearest label, when there is none."""
        try:
            return self._services[label]
        except KeyError:
            raise NoSuchService(label, nearest(label, self._services)) from None

    def add(self, card: Card, cause: StateCause) -> Service:
        """Add a service, ``stopped``. Raise ValueError when the label is taken: the loader settles that earlier."""
        if card.label in self._services:
            raise ValueError(f"{card.label} is in the table already")
        service = Service(
            label=card.label,
            card=card,
            state=State.STOPPED,
            cause=cause,
            since=cause.at,
            history=((State.STOPPED, cause),),
        )
        self._services[card.label] = service
        return service

    def adopt(self, services: Iterable[Service]) -> None:
        """Take records as they are: the table of a world that is only supposed. Nobody is told."""
        self._services.update((service.label, service) for service in services)

    def replace_card(self, card: Card) -> Service:
        """Give a service its new card; state and incarnation stay. Raise NoSuchService."""
        old = self.get(card.label)
        return self._put(old, replace(old, card=card))

    def regrant(self, label: str, grants: tuple[Grant, ...], losses: tuple[Degradation, ...] = ()) -> Service:
        """Let a service's record say what is granted of some features now, and the losses of those that are not.

        Raise NoSuchService.
        """
        old = self.get(label)
        new = {grant.feature: grant for grant in old.grants} | {grant.feature: grant for grant in grants}
        told = {grant.feature for grant in grants} | {loss.feature for loss in losses}
        left = tuple(loss for loss in old.degradations if loss.feature not in told)
        return self._put(old, replace(old, grants=tuple(new.values()), degradations=(*left, *losses)))

    def note(self, label: str, *, doing: str | None = None, status_text: str | None = None) -> Service:
        """Let a record say what arje does for a service, or what that says of itself; its state stays.

        Raise NoSuchService.
        """
        old = self.get(label)
        new = replace(
            old,
            doing=old.doing if doing is None else doing,
            status_text=old.status_text if status_text is None else status_text,
        )
        return new if new == old else self._put(old, new)

    def follow(self, label: str, incarnation: Incarnation) -> Service:
        """Let a record say that another process is the main one of the running incarnation. Raise NoSuchService."""
        old = self.get(label)
        return self._put(old, replace(old, incarnation=incarnation)) if old.incarnation else old

    def hand_over(self, label: str, cause: StateCause) -> Service:
        """Let a record say that somebody else wants the service by now; its state stays. Raise NoSuchService."""
        old = self.get(label)
        return self._put(old, replace(old, activation=cause))

    def forgive(self, label: str) -> Service:
        """Forget how often a service was started, as a start by hand does. Raise NoSuchService."""
        old = self.get(label)
        return self._put(old, replace(old, step=0, starts=old.starts[-1:]))

    def remove(self, label: str) -> Service:
        """Forget a service and return its last record. Raise NoSuchService; ValueError while it may have a process."""
        service = self.get(label)
        if service.state in WITH_PROCESS:
            raise ValueError(f"{label} is {service.state.value}: stop it first")
        return self._services.pop(label)

    def fire(self, label: str, event: Event, cause: StateCause, **changes: Any) -> Service:
        """Let an event happen to a service and return its new record.

        ``changes`` are fields of the record that the caller learned with the event, and go before the table's own
        book-keeping. Since, cause and history change only when the state does. Raise NoSuchService, InvalidTransition
        (nothing has changed then), and TypeError for a field that does not exist or is the table's own.
        """
        if owned := _OWNED & changes.keys():
            raise TypeError(f"fire alone writes {', '.join(sorted(owned))}")
        old = self.get(label)
        state = next_state(label, old.state, event)
        books = _books(old, event, state, cause, changes)
        if state is not old.state:
            history = (*old.history, (state, cause))[-HISTORY:]
            books.update(state=state, cause=cause, since=cause.at, history=history)
        return self._put(old, replace(old, **books))

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber(old, new)`` after every change of a record; return the function that ends it.

        Changes arrive in order, also when a subscriber fires events itself. All subscribers hear of a change although
        one of them raises; what they raised comes out of ``fire`` as an ExceptionGroup, with the change in force.
        """
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def _put(self, old: Service, new: Service) -> Service:
        self._services[new.label] = new
        self._pending.append((old, new))
        if not self._telling:
            self._tell()
        return new

    def _tell(self) -> None:
        """Empty the queue of changes; a change that a subscriber makes meanwhile joins its end."""
        errors: list[Exception] = []
        self._telling = True
        try:
            while self._pending:
                old, new = self._pending.popleft()
                for subscriber in tuple(self._subscribers):
                    try:
                        subscriber(old, new)
                    except Exception as error:
                        errors.append(error)
        finally:
            self._telling = False
        if errors:
            raise ExceptionGroup("subscribers of the state table failed", errors)


def _books(old: Service, event: Event, state: State, cause: StateCause, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that follow from the event alone, overridden by the caller's."""
    books: dict[str, Any] = {}
    if event is Event.WANTED:
        # A start by hand always goes through: the earlier starts no longer count against it.
        books.update(wanted=True, activation=cause, starts=(), step=0, restarts=0)
        if state is State.WAITING:
            books.update(failure=None, reached=False)
    elif event in (Event.UNWANTED, Event.STOP, Event.SKIPPED):
        books.update(wanted=False)
    elif event is Event.RETRY_DUE:
        books.update(restarts=old.restarts + 1)
    elif event is Event.RECOVERED:
        books.update(failure=None)
    elif event is Event.READY:
        books.update(ready=True, failure=None, reached=True)
    elif event is Event.ARMED or (event is Event.EXITED_DONE and old.card.supervision.kind is Kind.ONE_SHOT):
        books.update(reached=True)  # who listens is up, and so is a one-shot that has done its work
    if state is State.STARTING and old.state is State.WAITING:
        keep = max(old.card.supervision.rate_limit.starts, 1)
        books.update(starts=(*old.starts, cause.at)[-keep:], ready=False, kill_method=None, grants=(), degradations=())
    if state in (State.STOPPED, State.DONE, State.FAILED):
        books.update(awaits=())
    if state is not State.BACKOFF:
        books.update(backoff_until=None)
    if state is not old.state:
        books.update(doing="")
    if state not in WITH_PROCESS:
        books.update(incarnation=None, ready=None, status_text="")
    if incarnation := changes.get("incarnation"):
        books.update(grants=incarnation.grants, degradations=incarnation.degradations)
    return books | changes
