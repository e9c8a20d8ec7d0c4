"""The manager's process: one lock, one signalfd, one nursery; cards in, services up, and down again in order."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from arje import log, native, paths
from arje.control.server import serve
from arje.errors import CardProblem, ManagerRunning
from arje.incarnate.spawn import Incarnator
from arje.kernel import cgroup
from arje.kernel.capabilities import CapabilitySet
from arje.service.order import Graph
from arje.supervisor.cards import read
from arje.supervisor.door import Door
from arje.supervisor.logs import Logs
from arje.supervisor.reaper import Reaper
from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_SIGNALS: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Changes of a card directory (inotify(7)): close_write, moved_from, moved_to, create, delete.
_CARD_EVENTS: Final = 0x8 | 0x40 | 0x80 | 0x100 | 0x200


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decided. ``cards``: directories, the later overriding the earlier. ``ready_fd`` gets a
    newline, and is closed, when the socket serves and the enabled services are on their way."""

    runtime_dir: Path
    cards: tuple[Path, ...]
    user: bool
    ready_fd: int | None = None


@contextlib.contextmanager
def locked(runtime_dir: Path, *, user: bool) -> Iterator[None]:
    """Own a runtime directory. Raises ManagerRunning when another manager does, OSError when it cannot be made."""
    runtime_dir.mkdir(mode=0o700 if user else 0o755, parents=True, exist_ok=True)
    lock = runtime_dir / paths.LOCK_NAME
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(fd, 32).strip()
            raise ManagerRunning(runtime_dir, int(text) if text.isdigit() else 0) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
        lock.unlink(missing_ok=True)
    finally:
        os.close(fd)


def run(options: Options) -> int:
    """Be the manager until told to stop. Returns the exit status. Raises ManagerRunning, OSError."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # before any thread exists: signalfd(2) is the only reader
    with locked(options.runtime_dir, user=options.user):
        native.prctl_subreaper()
        base = cgroup.find_base(f"arje-{os.getpid()}" if options.user else "arje")
        incarnator = Incarnator(CapabilitySet.detect(base), base, variables={"RUNTIME_DIR": str(options.runtime_dir)})
        logs = Logs(options.runtime_dir / paths.LOGS_NAME)
        try:
            trio.run(_main, options, Supervisor(incarnator, Reaper(), logs))
        finally:
            if base is not None:
                with contextlib.suppress(OSError):
                    base.rmdir()
            logs.close()
    return 0


async def _main(options: Options, supervisor: Supervisor) -> None:
    door = Door(supervisor, options.cards, options.runtime_dir, "user" if options.user else "system")
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await nursery.start(_read_signals, supervisor, door, nursery)
        await nursery.start(_watch_cards, options.cards, door)
        _load(options, supervisor)
        await nursery.start(serve, paths.socket_of(options.runtime_dir), door)
        LOG.info("ready", socket=str(paths.socket_of(options.runtime_dir)), services=len(supervisor.table))
        _start_enabled(supervisor)
        if options.ready_fd is not None:
            os.write(options.ready_fd, b"\n")
            os.close(options.ready_fd)


def _load(options: Options, supervisor: Supervisor) -> None:
    """Take every good card; a bad one, or one whose edges cannot be followed, is told and stops only itself."""
    loaded, edges = read(options.cards)
    cards = list(loaded.cards)
    for problem in (*loaded.problems, *edges):
        _tell(problem)
    while knots := Graph(cards).cycles():
        members = {edge.owner for cycle in knots for edge in cycle}
        cards = [card for card in cards if card.label not in members]
    supervisor.set_cards(cards, "cards.d")


def _tell(problem: CardProblem) -> None:
    LOG.error("bad card", problem=str(problem))


def _start_enabled(supervisor: Supervisor) -> None:
    for service in list(supervisor.table):
        if service.card.enabled and not service.wanted:
            supervisor.want(service.label, "cards.d")


async def _read_signals(
    supervisor: Supervisor, door: Door, nursery: trio.Nursery, *, task_status: trio.TaskStatus[None]
) -> None:
    fd = native.signalfd(_SIGNALS)
    stops = 0
    try:
        task_status.started()
        while True:
            await trio.lowlevel.wait_readable(fd)
            numbers = {number for number, _, _ in native.read_signals(fd)}
            supervisor.reaper.drain()
            if signal.SIGHUP in numbers:
                nursery.start_soon(_reload, door)
            if numbers & {signal.SIGTERM, signal.SIGINT}:
                stops += 1
                if stops == 1:
                    nursery.start_soon(_stop, supervisor, nursery.cancel_scope)
                else:
                    LOG.warning("told twice to stop: killing what is left")
                    supervisor.kill_now()
    finally:
        os.close(fd)


async def _reload(door: Door) -> None:
    answer = await door.apply("", "SIGHUP")
    for problem in answer["problems"]:
        LOG.error("reload refused, the old cards stay", **problem)


async def _stop(supervisor: Supervisor, scope: trio.CancelScope) -> None:
    LOG.info("stopping")
    await supervisor.stop_all("signal")
    scope.cancel()


async def _watch_cards(directories: tuple[Path, ...], door: Door, *, task_status: trio.TaskStatus[None]) -> None:
    """Note that the cards on disk have changed; only ``apply`` takes them."""
    fd = native.inotify_init()
    try:
        for directory in directories:
            if directory.is_dir():
                native.inotify_add(fd, directory, _CARD_EVENTS)
        task_status.started()
        while True:
            await trio.lowlevel.wait_readable(fd)
            os.read(fd, 65536)
            door.changed_on_disk = bool(door.plan()["changes"] or door.plan()["problems"])
    finally:
        os.close(fd)
