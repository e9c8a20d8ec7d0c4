"""An incarnation between clone and confirmed exec: what the parent does, hears, decides, and cleans when it fails."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from dataclasses import replace
from typing import Protocol

from arje import native
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate import after, configure, idmap, layers, verify
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.clock import Stopwatch
from arje.incarnate.families import landlocked
from arje.incarnate.families.filters import SHOWN_AFTER
from arje.incarnate.family import loss_by
from arje.incarnate.held import Held, Site, hold, look, unready
from arje.incarnate.outcome import Outcome, discard
from arje.incarnate.policy import refusals
from arje.incarnate.spares import Spares
from arje.incarnation import Degradation, Grant, Incarnation, Step
from arje.kernel import process
from arje.kernel.cgroup import Cgroup
from arje.kernel.facts import Facts


class Owner(Protocol):
    """What a pending incarnation needs of its Incarnator."""

    @property
    def spawner(self) -> native.Spawner:
        """The owner of the stacks."""

    @property
    def ours(self) -> Facts:
        """The manager's own facts."""

    @property
    def spares(self) -> Spares:
        """What was made ahead for the next."""


def _gone(error: SetupFailed | IncarnationRefused) -> bool:
    """Return whether a refusal only means that the child is not there any more."""
    numbers = {error.errno} if isinstance(error, SetupFailed) else {loss.errno for loss in error.degradations}
    return bool(numbers & {errno.ESRCH, errno.ENOENT})


def _with(plan: Blueprint, judged: after.Settled, later: after.Settled, features: frozenset[str]) -> after.Settled:
    """Return what was judged, with these features as a later look shows them: the rest is not judged twice."""
    found = {grant.feature: grant for grant in judged[0]}
    found |= {grant.feature: grant for grant in later[0] if grant.feature in features}
    return tuple(found[wish.feature] for wish in plan.wishes), (
        *(loss for loss in judged[1] if loss.feature not in features),
        *(loss for loss in later[1] if loss.feature in features),
    )


class Pending:
    """An incarnation between clone and confirmed exec. Await ``status_fd`` readable between calls of :meth:`advance`."""

    def __init__(
        self,
        owner: Owner,
        blueprint: Blueprint,
        child: native.Child,
        group: Cgroup | None,
        clock: Stopwatch,
        number: int,
    ) -> None:
        self._owner = owner
        self._plan = blueprint
        self._child = child
        self._group = group
        self._clock = clock
        self._number = number
        self._pid = child.pid
        self._hot = self._over = False
        self._failure: SetupFailed | IncarnationRefused | None = None
        self._facts = b""
        self._trial = ""
        self._spaces: dict[str, str] = {}
        self._told: Facts | None = None
        self._read: tuple[tuple[Grant, ...], tuple[Degradation, ...]] | None = None
        self._judged: tuple[Degradation, ...] = ()
        self.losses = blueprint.losses
        self.leader_pid = child.pid
        self._held: list[Held] = []
        self._shut = False

    @property
    def status_fd(self) -> int:
        """What to wait for: the status channel, or a helper without which the gate stays shut."""
        helper = unready(self._held) if self._shut else None
        return helper.ready_fd if helper else self._child.status_fd

    @property
    def helper_pids(self) -> tuple[int, ...]:
        """Children of ours that serve this incarnation."""
        return tuple(thing.helper_pid for thing in self._held if thing.helper_pid)

    def configure(self, *, enter_cgroup: bool) -> None:
        """Do what only the parent can do, decide, and open the gate, or leave that to :meth:`advance` for a helper."""
        pid = self._child.pid
        try:
            if enter_cgroup and self._group is not None:
                self._enter_cgroup(self._group, pid)
            self.losses += configure.apply(self._plan, pid)
            if "user" in self._plan.kinds:
                self._write_maps()
            self.losses += hold(self._plan, Site(pid, self._owner.spawner, self._group), self._held)
            if refused := refusals(self._plan.soma, self.losses):
                raise IncarnationRefused(self._plan.card.label, refused)
        except (SetupFailed, IncarnationRefused) as error:
            self._kill()
            while record := native.receive(self._child.status_fd, block=True):
                self._take(record)
            if self._failure is not None or _gone(error):  # it ended first: what it said is the reason
                raise (self._failure or self._killed()) from None
            raise
        self._shut = unready(self._held) is not None
        if not self._shut:
            self._let_on()

    def _await_helpers(self) -> bool:
        """Open the gate once every helper is ready, or refuse; return whether there is none to be waited for any more."""
        while (helper := unready(self._held)) is not None:
            lost = look(helper, self._plan)
            if lost is None:
                return False
            self.losses += lost
        self._shut = False
        try:
            if refused := refusals(self._plan.soma, self.losses):
                raise IncarnationRefused(self._plan.card.label, refused)
            self._let_on()
        except (SetupFailed, IncarnationRefused) as error:
            self._failure = error
            self._kill()
        return True

    def _killed(self) -> SetupFailed:
        return SetupFailed(self._plan.card.label, Step.GATE, 0, "", "it was killed during its set-up")

    def _enter_cgroup(self, group: Cgroup, pid: int) -> None:
        try:
            group.write("cgroup.procs", str(pid))
        except OSError as error:
            wishes = [wish for wish in self._plan.wishes if wish.feature.partition(".")[0] == "cgroup"]
            self.losses += tuple(loss_by(wish, error, "write cgroup.procs") for wish in wishes)
            self._group = None
            discard(group)

    def _write_maps(self, pid: int = 0) -> None:
        """Write the maps of the child, or of ``pid`` below it. Raises SetupFailed."""
        try:
            with idmap.target(pid or self._child.pid, parent=self._child.pid if pid else None) as directory:
                idmap.write(
                    self._owner.spawner, pid or self._child.pid, directory, self._plan.uid_map, self._plan.gid_map
                )
        except OSError as error:
            label, line = self._plan.card.label, self._plan.card.source.line_of("soma.uid_map")
            hint = "check the lines of the map, and /etc/subuid for an ordinary user"
            raise SetupFailed(
                label, Step.ID_MAP, error.errno or 0, "soma.uid_map", str(error.strerror or ""), hint=hint, line=line
            ) from error

    def advance(self) -> bool:
        """Take what the status channel holds, without waiting. Returns True at EOF: then call :meth:`finish`."""
        if self._shut and not self._await_helpers():
            return False
        while True:
            try:
                record = native.receive(self._child.status_fd)
            except BlockingIOError:
                return False
            except OSError as error:
                self._give_up(Step.GATE, error, "recvmsg")
                return True
            if record is None:
                self._clock.mark("exec")
                return True
            self._take(record)

    def _take(self, record: native.Record) -> None:
        if record.kind == native.HOT:
            self._hot, self._pid = True, record.pid
            self._clock.mark("report", record.monotonic_ns)
        elif record.kind == native.FACTS:
            self._facts += record.data
            self._clock.mark("isolate", record.monotonic_ns)
        elif record.kind == native.WAITING:
            self._judge()
        elif record.kind == native.MAPS:
            self._map_late(record.pid)
        elif record.kind == native.DEGRADED:
            self._degrade(record)
        elif record.kind == native.LISTENER:
            self._watch(record)
        elif record.kind == native.TRIED:
            self._trial = str(record.errno)
        else:
            self._failure = configure.failure(self._plan, record)

    def _map_late(self, pid: int) -> None:
        try:
            self._write_maps(0 if pid == self._child.pid else pid)
            self._let_on()
        except SetupFailed as error:
            self._failure = self._killed() if _gone(error) else error  # what it still says of its end replaces it
            self._kill()

    def _watch(self, record: native.Record) -> None:
        """The payload's calls wait for answers from now on; nobody but the watcher gives them."""
        assert self._plan.watcher is not None
        try:
            self._plan.watcher(record.pid, record.errno)
        except OSError as error:
            self._give_up(Step.OBSERVE, error, "pidfd_getfd")

    def _judge(self) -> None:
        """Read back while the child waits before exec: what a card requires is granted, or nothing of it runs.

        The rest was told as well, and is looked at when the payload is on its way: it decides nothing.
        """
        try:
            self._judged, self._read = self.losses, self._read_back(self._plan.required)
            if refused := refusals(self._plan.soma, self._read[1]):
                raise IncarnationRefused(self._plan.card.label, refused)
            self._let_on()
        except (SetupFailed, IncarnationRefused) as error:
            self._failure = error
            self._kill()
        except OSError as error:
            self._give_up(Step.REPORT, error, str(error.filename or ""))

    def _let_on(self) -> None:
        self._clock.mark("configure")
        try:
            native.release(self._child.status_fd)
        except BrokenPipeError:  # it has ended meanwhile; the channel says why
            pass
        except OSError as error:
            raise SetupFailed(self._plan.card.label, Step.GATE, error.errno or 0, "", "sendto") from error

    def _give_up(self, step: Step, error: OSError, detail: str) -> None:
        self._failure = self._failure or SetupFailed(self._plan.card.label, step, error.errno or 0, "", detail)
        self._kill()

    def _degrade(self, record: native.Record) -> None:
        """One degradation for each feature: what else of it fails follows from the first."""
        feature = self._plan.ops[record.op_index].feature
        wish = next((wish for wish in self._plan.wishes if wish.feature == feature), None)
        lost = {loss.feature: loss for loss in self.losses if loss.obtained == "none"}
        if wish is None or feature in lost:  # a report that could not be made is no loss: it is read from outside then
            return
        under = lost.get(self._plan.stands_on(record.op_index)) if record.errno == errno.ECANCELED else None
        if under is not None:
            detail = f"needs {under.feature}: {under.detail}"
            self.losses += (replace(under, feature=feature, requested=wish.requested, detail=detail),)
        else:
            known = layers.explain(self._plan, record.errno, record.syscall)
            said = OSError(record.errno, os.strerror(record.errno))
            self.losses += (known or loss_by(wish, said, record.syscall),)

    def _read_back(self, only: frozenset[str] | None = None) -> tuple[tuple[Grant, ...], tuple[Degradation, ...]]:
        """Read back every wish, or ``only`` some features."""
        facts = self._told or (Facts.of_report(self._facts) if self._facts else None)
        if facts is None:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                facts = Facts.of_process(self._pid)
        self._spaces = facts.namespaces if facts else {}
        self._told = facts
        if facts and self._trial:
            facts.texts[landlocked.TOLD] = self._trial
        if facts and self._clock.ended("exec") and "seccomp" in self._plan.has:
            with contextlib.suppress(OSError):  # it runs: what cannot be read now is no failure of its start
                facts.texts["after"] = process.status_text(self._pid, parent=(os.getpid(), self._child.pid))
        plan = self._plan if self.losses is self._plan.losses else replace(self._plan, losses=self.losses)
        return verify.read_back(plan, facts, self._owner.ours, self._group, self.losses, only)

    def _confirmed_by_a_look(
        self, grants: tuple[Grant, ...], losses: tuple[Degradation, ...]
    ) -> tuple[tuple[Grant, ...], tuple[Degradation, ...]]:
        """Look at the running payload for what execve may have added. Raises IncarnationRefused."""
        grants, losses = verify.look(self._plan, self._told, self._pid, self._child.pidfd, grants, losses)
        accepted = {loss.feature for loss in self.losses}
        new = tuple(loss for loss in losses if loss.feature not in accepted and loss.errno not in after.GONE)
        if refused := refusals(self._plan.soma, new):
            raise IncarnationRefused(self._plan.card.label, refused)
        return grants, losses

    def wait(self) -> None:
        """Block until the channel's end: what a program without a loop calls. First the wait, then the look."""
        try:
            self._poll()
            while not self.advance():
                self._poll()
        except OSError as error:
            raise SetupFailed(self._plan.card.label, Step.GATE, error.errno or 0, "", "poll") from error

    def _poll(self) -> None:
        poll = select.poll()
        poll.register(self.status_fd, select.POLLIN)
        poll.poll()

    def finish(self) -> Outcome:
        """Return the running incarnation, read back from the kernel. Raises SetupFailed, IncarnationRefused."""
        label = self._plan.card.label
        if self._failure is None and not self._hot:
            self._failure = self._killed()
        if self._failure is None and (error := native.exec_error(self._child)):  # a filter kept it from saying so
            record = native.Record(native.EXEC_FAILED, "exec", 0, error, 0, "execve", self._pid, b"")
            self._failure = configure.failure(self._plan, record)
        if self._failure is not None:
            self.abort()
            raise self._failure
        try:
            if self._read is None or self.losses != self._judged:
                self._read = self._read_back()
            else:
                rest = frozenset(wish.feature for wish in self._plan.wishes) - self._plan.required
                rest |= SHOWN_AFTER & self._plan.has
                self._read = _with(self._plan, self._read, self._read_back(rest), rest)
            settled = after.settle(self._plan, self._read, self._pid, leader=self._child.pid)
            grants, losses = self._confirmed_by_a_look(*settled)
        except OSError as error:
            self.abort()
            raise SetupFailed(label, Step.REPORT, error.errno or 0, "", str(error.filename or "")) from error
        except BaseException:
            self.abort()
            raise
        self._over = True
        os.close(self._child.status_fd)
        if self._group is not None:
            self._group.close()  # it was for the clone; a descriptor less that every later child copies
        self._owner.spawner.give_back(self._child)
        self._owner.spares.refill()
        incarnation = Incarnation(
            id=self._number,
            label=label,
            pid=self._pid,
            leader_pid=self._child.pid,
            cgroup=str(self._group.path) if self._group else "",
            grants=grants,
            degradations=losses,
            setup_ms=self._clock.total_ms,
            steps=self._clock.steps(),
            started=self._clock.ended("exec"),
            namespaces=self._spaces,
        )
        return Outcome(incarnation, self._child, self._group, self._held, self._plan)

    def _kill(self) -> None:
        try:
            signal.pidfd_send_signal(self._child.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except OSError:
            if self._group is None:
                raise
            self._group.kill()

    def abort(self) -> None:
        """Kill and reap the child; close and remove everything. Somebody else may have reaped it already.

        May be called again. Whatever of it fails, the rest is done.
        """
        if self._over:
            return
        self._over = True
        with contextlib.ExitStack() as last_first:
            if self._group is not None:
                last_first.callback(discard, self._group)
            for fd in (self._child.pidfd, self._child.status_fd, self._child.verdict_fd):
                if fd >= 0:
                    last_first.callback(os.close, fd)
            for thing in self._held:
                last_first.callback(thing.release)
            self._kill()
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self._child.pidfd, os.WEXITED)
            self._owner.spawner.give_back(self._child)
