"""The manager's process: one lock, one signalfd, one nursery; cards in, services up, and down again in order."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from arje import log, native, paths
from arje.card.shelf import Memory
from arje.card.specifiers import Surroundings
from arje.control.server import serve
from arje.errors import ArjeError, CardProblem
from arje.incarnate.outcome import discard
from arje.incarnate.spares import EACH
from arje.incarnate.spawn import Incarnator
from arje.init import runtime
from arje.init.watch import watch_cards
from arje.kernel import cgroup
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.claim import claim
from arje.service.ways import OF_PID1, Way
from arje.supervisor import compiled, kept_history, transient
from arje.supervisor.cards import starts_by_itself
from arje.supervisor.catalogue import Catalogue
from arje.supervisor.door import Door
from arje.supervisor.host import Host, Machine
from arje.supervisor.logs import Logs
from arje.supervisor.reaper import Reaper
from arje.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from arje.init.duties import Duties

LOG = log.logger()
_MANAGERS: Final = 100  # of one name in one cgroup
COURTESY: Final = 5.0  # seconds between TERM and KILL for what is no service's, in a machine's end
_SIGNALS: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decided. ``cards``: directories, the later overriding the earlier. ``state_dir``: for what
    outlives the manager. ``ready_fd`` gets a newline, and is closed, when the socket serves and the enabled services are
    on their way. ``cache``: where the compiled cards are kept, in the runtime directory unless it says where.
    ``record``: the file in which every input is written down. ``duties``: what pid 1 has to do beside. ``metrics``: a
    socket for scrapers."""

    runtime_dir: Path
    cards: tuple[Path, ...]
    user: bool
    state_dir: Path
    ready_fd: int | None = None
    cache: Path | None = None
    record: Path | None = None
    duties: Duties | None = None
    metrics: Path | None = None

    @property
    def signals(self) -> tuple[int, ...]:
        """The signals that are read."""
        return tuple({*_SIGNALS, *(self.duties.signals if self.duties else ())})


def run(options: Options) -> int:
    """Be the manager until told to stop. Returns the exit status. Raises ArjeError, OSError."""
    signal.pthread_sigmask(
        signal.SIG_BLOCK, options.signals
    )  # before any thread exists: signalfd(2) is the only reader
    with runtime.owned(options.runtime_dir, user=options.user) as before:
        native.prctl_subreaper()
        base = _cgroup_base(options, before)
        variables = {"RUNTIME_DIR": str(options.runtime_dir)}
        nofile = runtime.raise_descriptors()
        incarnator = Incarnator(CapabilitySet.detect(base), base, variables=variables, spares=EACH, nofile=nofile)
        logs = Logs(options.runtime_dir / paths.LOGS_NAME)
        try:
            reaper = Reaper()
            machine = Machine(incarnator, reaper)
            if options.duties is not None:
                machine.courtesy = COURTESY
            return _supervised(options, machine, logs, reaper)
        except BaseExceptionGroup as group:
            raise _plain(group) from group
        finally:
            incarnator.close()
            if base is not None:
                with contextlib.suppress(OSError):
                    base.rmdir()
            logs.close()
            log.drain()


def _supervised(options: Options, host: Host, logs: Logs, reaper: Reaper) -> int:
    """Run the manager in this world until told to stop; return the exit status."""
    instruments: list[trio.abc.Instrument] = []
    with contextlib.ExitStack() as stack:
        if options.record is None:
            supervisor = Supervisor(host, logs, options.state_dir)
        else:
            from arje.replay.recording import recorded

            supervisor, steps = stack.enter_context(recorded(options.record, host, logs, options.state_dir))
            instruments = [steps]
        trio.run(_main, options, supervisor, reaper, instruments=instruments)
    return supervisor.farewell.status


def _plain(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what a nursery wrapped, when it is one error of those that are told in a line; else the group."""
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, (ArjeError, OSError)) else group


def _cgroup_base(options: Options, before: int) -> Path | None:
    """Return this manager's own cgroup. What a manager that died left in it is killed: nobody else keeps it any more.

    ``before`` is the pid of the runtime directory's last owner, 0 when it left in good order.
    """
    name = runtime.cgroup_name(options.runtime_dir, user=options.user)
    for number in range(1, _MANAGERS + 1):
        base = cgroup.find_base(name, number)
        if base is None:
            return None
        if holder := claim(base):
            LOG.warning("this cgroup is another manager's: taking another", cgroup=str(base), holder=holder)
            continue
        left = cgroup.Cgroup(base)
        if pids := left.pids():
            killed = {"manager": before, "processes": len(pids), "cgroup": str(base)}
            LOG.warning("killing what a manager that died has left", **killed)
        discard(left)
        if (base := cgroup.find_base(name, number)) is not None and not claim(base):
            return base
    LOG.error("no cgroup is free: services have none", tried=_MANAGERS, name=name)
    return None


async def _main(options: Options, supervisor: Supervisor, reaper: Reaper) -> None:
    catalogue = supervisor.catalogue = _catalogue(options)
    door = Door(supervisor, options.cards, options.runtime_dir, "user" if options.user else "system")
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await nursery.start(_read_signals, options, reaper, supervisor, door, nursery)
        nursery.start_soon(_end, options.duties, supervisor, nursery.cancel_scope)
        nursery.start_soon(watch_cards, catalogue.directories, door)
        transient.clear(options.runtime_dir)
        why = compiled.recall(catalogue.cache, catalogue.memory) if catalogue.cache else ""
        _load(supervisor)
        compiled.tell(catalogue.memory, why)
        nursery.start_soon(compiled.keep, catalogue.cache, catalogue.memory)
        nursery.start_soon(kept_history.keep, supervisor, options.state_dir / paths.SETS_NAME)
        if options.metrics:
            from arje.control.scrape import serve_metrics  # most managers have none

            await nursery.start(serve_metrics, options.metrics, door.metrics)
        await nursery.start(serve, paths.socket_of(options.runtime_dir), door)
        LOG.info("ready", socket=str(paths.socket_of(options.runtime_dir)), services=len(supervisor.table))
        if options.duties is not None:
            options.duties.take(supervisor, door, nursery, lambda: _load(supervisor))
            options.duties.begin()
        else:
            start_enabled(supervisor)
        if options.ready_fd is not None:
            _tell_ready(options.ready_fd)


def _tell_ready(fd: int) -> None:
    """Whoever wanted to know may have gone; the services need not suffer for it."""
    try:
        os.write(fd, b"\n")
        os.close(fd)
    except OSError as error:
        LOG.warning("nobody hears that we are ready", fd=fd, error=error.strerror)


def _catalogue(options: Options) -> Catalogue:
    """Return where the cards are: commands lowest, then what lives until the next boot, then the given directories."""
    below = [options.runtime_dir / name for name in (paths.TRANSIENT_NAME, paths.CARDS_NAME)]
    for directory in below:  # so that they are watched, and not all that happens beside them
        with contextlib.suppress(OSError):
            directory.mkdir(mode=0o755, exist_ok=True)
    layers = (*(directory for directory in below if directory not in options.cards), *options.cards)
    cache = options.cache or options.runtime_dir / paths.CACHE_NAME
    return Catalogue(layers, options.runtime_dir, cache, Memory(Surroundings(user=options.user)))


def _load(supervisor: Supervisor) -> None:
    """Take every good card; a bad one is told and stops only itself. A circle of edges is broken (``Graph.for_boot``)."""
    loaded, edges = supervisor.catalogue.read()
    supervisor.catalogue.take(loaded)
    supervisor.problems = (*loaded.problems, *edges)
    for problem in supervisor.problems:
        _tell(problem)
    supervisor.set_cards(list(loaded.cards), "cards.d")
    supervisor.history.begin(loaded.cards, supervisor.host.wall())


def _tell(problem: CardProblem) -> None:
    LOG.error("bad card", problem=str(problem))


def start_enabled(supervisor: Supervisor) -> None:
    """Start every service that starts by itself."""
    for service in list(supervisor.table):
        if starts_by_itself(service.card) and not service.card.hooked_to and not service.wanted:
            supervisor.start(service.label, "cards.d", gently=True)


async def _read_signals(
    options: Options,
    reaper: Reaper,
    supervisor: Supervisor,
    door: Door,
    nursery: trio.Nursery,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    fd = native.signalfd(options.signals)
    try:
        task_status.started()
        while True:
            await trio.lowlevel.wait_readable(fd)
            signals = native.read_signals(fd)
            numbers = {number for number, _, _ in signals}
            reaper.drain()
            if signal.SIGHUP in numbers:
                nursery.start_soon(_reload, door)
            if options.duties is not None:
                options.duties.heed(signals)
            elif numbers & {signal.SIGTERM, signal.SIGINT} and not supervisor.farewell.say(Way.EXIT, "signal"):
                LOG.warning("told to stop while stopping: killing what is left")
                supervisor.kill_now()
    finally:
        os.close(fd)


async def _reload(door: Door) -> None:
    try:
        answer = await door.apply("", "SIGHUP")
    except Exception:  # a reload that fails changes nothing; it must not end the manager
        LOG.exception("reload failed, the old cards stay")
        return
    if answer["busy"] or answer["undone"]:
        LOG.error("reload refused, the old cards stay", why=answer["busy"] or answer["undone"]["why"])
    for problem in answer["problems"]:
        LOG.error("reload refused, the old cards stay", **problem)


async def _end(duties: Duties | None, supervisor: Supervisor, scope: trio.CancelScope) -> None:
    """Stop every service once arje is to end, whoever wants it, and end this run."""
    farewell = supervisor.farewell
    await farewell.said.wait()
    LOG.info("stopping", who=farewell.who, way=farewell.way.value, status=farewell.status)
    if duties is not None:
        await duties.stop()
    else:
        await supervisor.stop_all(farewell.who)
        if farewell.way in OF_PID1:
            LOG.error("arje ends, the machine does not", asked=farewell.way.value, why="this manager is not its pid 1")
    scope.cancel()
