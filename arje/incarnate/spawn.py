"""The story of one incarnation: plan → prepare → clone → configure → gate → child's ops → exec → verify.

``begin`` ends with the gate open and never waits long; ``Pending`` then follows the status channel. The decision to
refuse is taken before the gate: a refused payload has not run one instruction.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from arje import native
from arje.card.card import Card
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate import configure, idmap, plan, verify
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.families.namespaces import kind_of
from arje.incarnate.outcome import Outcome, discard
from arje.incarnate.policy import refusals
from arje.incarnate.wishes import loss_of
from arje.incarnation import Degradation, Grant, Incarnation, Step
from arje.kernel.capabilities import Availability, CapabilitySet, cause_of_errno
from arje.kernel.cgroup import Cgroup
from arje.kernel.facts import Facts

#: What clone3 with CLONE_INTO_CGROUP says where entering by cgroup.procs may still work (isolation.md §3, 7).
_RETRY_CGROUP = {errno.ENOSYS, errno.EOPNOTSUPP, errno.EBUSY, errno.EACCES}


@dataclass(frozen=True, slots=True)
class StdioFds:
    """The three descriptors that become 0, 1 and 2. Borrowed: the caller keeps them."""

    stdin: int
    stdout: int
    stderr: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a start would do here: the ops in order, what it would lose, and why it would be refused (or empty)."""

    operations: tuple[str, ...]
    degradations: tuple[Degradation, ...]
    refusal: str


class Incarnator:
    """Makes processes of cards. Belongs to one thread (prctl(2): the parent death signal follows the thread)."""

    def __init__(
        self, capabilities: CapabilitySet, cgroup_base: Path | None, *, variables: dict[str, str] | None = None
    ) -> None:
        self.capabilities = capabilities
        self._base = cgroup_base
        self._variables = variables or {}
        self._spawner = native.Spawner()
        self._numbers = itertools.count(1)
        self._time_early = 0  # CLONE_NEWTIME once the kernel turned out to be older than 6.2
        self._prepared: dict[int, tuple[Card, Blueprint, native.Plan]] = {}
        self._ours = Facts.of_process("self")

    def dry_run(self, card: Card) -> Forecast:
        """Return what :meth:`begin` would do on this machine; nothing is started."""
        try:
            blueprint = plan.make(card, self.capabilities, variables=self._variables)
        except SetupFailed as error:
            return Forecast((), (), str(error))
        refused = refusals(card.soma, blueprint.losses)
        refusal = str(IncarnationRefused(card.label, refused)) if refused else ""
        return Forecast(tuple(blueprint.describe()), blueprint.losses, refusal)

    def requests(self, card: Card) -> int:
        """Return how many things a card asks for. Raises SetupFailed when it cannot be planned at all."""
        return len(self.prepared(card)[0].wishes)

    def incarnate(self, card: Card, stdio: StdioFds) -> Outcome:
        """Begin and wait until exec is confirmed. Raises what :meth:`Pending.finish` raises."""
        pending = self.begin(card, stdio)
        pending.wait()
        return pending.finish()

    def begin(self, card: Card, stdio: StdioFds) -> Pending:
        """Clone, configure, decide and open the gate. Raises SetupFailed and IncarnationRefused; nothing is left then."""
        began = time.monotonic()
        blueprint, encoded = self.prepared(card)
        refused = refusals(card.soma, blueprint.losses)
        if refused:
            raise IncarnationRefused(card.label, refused)
        configure.make_directories(blueprint, self._variables.get("RUNTIME_DIR", ""))
        group, losses = self._make_cgroup(blueprint)
        try:
            blueprint, child, late = self._clone(blueprint, encoded, stdio, group)
        except BaseException:
            if group is not None:
                discard(group)
            raise
        pending = Pending(self, blueprint, child, group, began, next(self._numbers))
        try:
            pending.losses += losses
            pending.configure(enter_cgroup=late)
        except BaseException:
            pending.abort()
            raise
        return pending

    def prepared(self, card: Card) -> tuple[Blueprint, native.Plan]:
        """Return the plan of a card and its form for C, made once. Raises SetupFailed for what cannot work anywhere."""
        known = self._prepared.get(id(card))
        if known is not None and known[0] is card:
            return known[1], known[2]
        blueprint = plan.make(card, self.capabilities, variables=self._variables)
        encoded = _encode(blueprint)
        if len(self._prepared) > 4096:  # cards of reloads long past
            self._prepared.clear()
        self._prepared[id(card)] = (card, blueprint, encoded)
        return blueprint, encoded

    def _make_cgroup(self, blueprint: Blueprint) -> tuple[Cgroup | None, tuple[Degradation, ...]]:
        """Make the service's cgroup, asked for or not: it is how its whole tree is killed. Limits go in before it does."""
        if self._base is None:
            return None, ()
        asked = blueprint.soma.cgroup
        try:
            group = Cgroup.create(self._base, (asked.path if asked else "") or blueprint.card.label)
        except OSError as error:
            wishes = [w for w in blueprint.wishes if w.feature == "cgroup" or w.feature.startswith("cgroup.")]
            return None, tuple(configure.loss(wish, error, "mkdir") for wish in wishes)
        return group, configure.write_limits(blueprint, group)

    def _clone(
        self, blueprint: Blueprint, encoded: native.Plan, stdio: StdioFds, group: Cgroup | None
    ) -> tuple[Blueprint, native.Child, bool]:
        """Clone, planning again without what the kernel refuses. The bool: the cgroup is still to be entered."""
        fds = (stdio.stdin, stdio.stdout, stdio.stderr)
        late, early = False, self._time_early if "time" in blueprint.kinds else 0
        while True:
            flags = plan.clone_flags(blueprint.kinds) & ~early
            fd = group.fd if group is not None and not late else -1
            try:
                child = self._spawner.spawn(encoded, fds, clone_flags=flags, early_unshare=early, cgroup_fd=fd)
                if early:
                    self._await_apart(child)
                elif "time" in blueprint.kinds and _is_inside(child.pid):
                    early = self._time_early = native.CLONE_NEW["time"]
                    self._drop(child)
                    continue
                return blueprint, child, late and group is not None
            except OSError as error:
                number = error.errno or 0
            if fd >= 0 and number in _RETRY_CGROUP:
                late = True
            elif number == errno.EINVAL and "time" in blueprint.kinds and not early:
                early = native.CLONE_NEW["time"]
                continue
            else:
                blueprint = self._without_refused(blueprint, number)
            blueprint = plan.make(
                blueprint.card,
                self.capabilities,
                variables=self._variables,
                losses=blueprint.losses,
                cgroup_late=late,
            )
            refused = refusals(blueprint.soma, blueprint.losses)
            if refused:
                raise IncarnationRefused(blueprint.card.label, refused)
            encoded = _encode(blueprint)

    def _await_apart(self, child: native.Child) -> None:
        """Wait until the child has made its time namespace, whose offsets can be written then. Raises OSError."""
        record = native.receive(child.status_fd, block=True)
        if record is None or record.kind != native.APART:
            self._drop(child)
            number = record.errno if record else errno.ECHILD
            raise OSError(number, os.strerror(number))

    def _drop(self, child: native.Child) -> None:
        """Kill and reap a child that waits at its gate, and close all that came with it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        for fd in (child.pidfd, child.status_fd, child.verdict_fd):
            if fd >= 0:
                os.close(fd)
        self._spawner.give_back(child)

    def _without_refused(self, blueprint: Blueprint, number: int) -> Blueprint:
        """Find which namespaces the kernel refuses, one by one, and count them as lost."""
        user = native.CLONE_NEW["user"] if "user" in blueprint.kinds else 0
        losses = []
        for wish in blueprint.wishes:
            kind = kind_of(wish.feature)
            if wish.feature == "cgroup" or kind not in blueprint.kinds:
                continue
            if error := native.probe_clone(native.CLONE_NEW[kind] | user):
                cause, detail, remedy = cause_of_errno(error, wish.feature)
                found = Availability(wish.feature, False, False, cause, error, "clone3", detail, remedy)
                losses.append(loss_of(wish, found))
        if not losses:
            raise SetupFailed(blueprint.card.label, Step.CLONE, number, "soma.namespaces", " ".join(blueprint.kinds))
        return replace(blueprint, losses=(*blueprint.losses, *losses))

    @property
    def spawner(self) -> native.Spawner:
        """The owner of the stacks."""
        return self._spawner

    @property
    def ours(self) -> Facts:
        """The manager's own facts."""
        return self._ours


def _is_inside(pid: int) -> bool:
    """Whether a child waits inside its new time namespace already, where no offsets are taken (Linux before 6.2)."""
    return os.readlink(f"/proc/{pid}/ns/time") == os.readlink(f"/proc/{pid}/ns/time_for_children")


def _encode(blueprint: Blueprint) -> native.Plan:
    pid, death = "pid" in blueprint.kinds, blueprint.soma.parent_death_signal
    return native.Plan(
        [planned.op for planned in blueprint.ops],
        blueprint.program.paths,
        blueprint.program.argv,
        blueprint.program.envp,
        reaper=pid,
        reaper_death_signal=plan.signal_number(death) if pid and death else 0,
        reaper_session=blueprint.soma.new_session,
    )


class Pending:
    """An incarnation between clone and confirmed exec. Await ``status_fd`` readable between calls of :meth:`advance`."""

    def __init__(
        self,
        owner: Incarnator,
        blueprint: Blueprint,
        child: native.Child,
        group: Cgroup | None,
        began: float,
        number: int,
    ) -> None:
        self._owner = owner
        self._plan = blueprint
        self._child = child
        self._group = group
        self._began = began
        self._number = number
        self._pid = child.pid
        self._hot = False
        self._failure: SetupFailed | IncarnationRefused | None = None
        self._facts = b""
        self._spaces: dict[str, str] = {}
        self._read: tuple[tuple[Grant, ...], tuple[Degradation, ...]] | None = None
        self._confirmed = 0.0
        self.losses = blueprint.losses
        self.leader_pid = child.pid
        self.status_fd = child.status_fd

    def configure(self, *, enter_cgroup: bool) -> None:
        """Do what only the parent can do, decide, and open the gate."""
        pid = self._child.pid
        if enter_cgroup and self._group is not None:
            self._group.write("cgroup.procs", str(pid))
        self.losses += configure.apply(self._plan, pid)
        if "user" in self._plan.kinds:
            self._write_maps()
        refused = refusals(self._plan.soma, self.losses)
        if refused:
            raise IncarnationRefused(self._plan.card.label, refused)
        self._let_on()

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
        while True:
            try:
                record = native.receive(self.status_fd)
            except BlockingIOError:
                return False
            if record is None:
                self._confirmed = time.monotonic()
                return True
            self._take(record)

    def _take(self, record: native.Record) -> None:
        if record.kind == native.HOT:
            self._hot, self._pid = True, record.pid
        elif record.kind == native.FACTS:
            self._facts += record.data
        elif record.kind == native.WAITING:
            self._judge()
        elif record.kind == native.MAPS:
            self._map_late(record.pid)
        elif record.kind == native.DEGRADED:
            self._degrade(record)
        else:
            self._failure = configure.failure(self._plan, record)

    def _map_late(self, pid: int) -> None:
        try:
            self._write_maps(0 if pid == self._child.pid else pid)
            self._let_on()
        except SetupFailed as error:
            self._failure = error
            self._kill()

    def _judge(self) -> None:
        """Read back while the child waits before exec: what a card requires is granted, or nothing of it runs."""
        self._read = self._read_back()
        if refused := refusals(self._plan.soma, self._read[1]):
            self._failure = IncarnationRefused(self._plan.card.label, refused)
            self._kill()
        else:
            self._let_on()

    def _let_on(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended meanwhile; the channel says why
            native.release(self.status_fd)

    def _degrade(self, record: native.Record) -> None:
        feature = self._plan.ops[record.op_index].feature
        wish = next((wish for wish in self._plan.wishes if wish.feature == feature), None)
        if wish is not None:  # a report that could not be made is no loss by itself: it is read from outside then
            self.losses += (configure.loss(wish, OSError(record.errno, os.strerror(record.errno)), record.syscall),)

    def _read_back(self) -> tuple[tuple[Grant, ...], tuple[Degradation, ...]]:
        facts = Facts.of_report(self._facts) if self._facts else None
        if facts is None:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                facts = Facts.of_process(self._pid)
        self._spaces = facts.namespaces if facts else {}
        return verify.read_back(self._plan, facts, self._owner.ours, self._group, self.losses)

    def wait(self) -> None:
        """Block until the channel's end: what a program without a loop calls. First the wait, then the look."""
        poll = select.poll()
        poll.register(self.status_fd, select.POLLIN)
        poll.poll()
        while not self.advance():
            poll.poll()

    def finish(self) -> Outcome:
        """Return the running incarnation, read back from the kernel. Raises SetupFailed, IncarnationRefused."""
        label = self._plan.card.label
        if self._failure is None and not self._hot:
            self._failure = SetupFailed(label, Step.GATE, 0, "", "it was killed during its set-up")
        if self._failure is not None:
            self.abort()
            raise self._failure
        grants, losses = self._read or self._read_back()
        os.close(self.status_fd)
        self._owner.spawner.give_back(self._child)
        incarnation = Incarnation(
            id=self._number,
            label=label,
            pid=self._pid,
            leader_pid=self._child.pid,
            cgroup=str(self._group.path) if self._group else "",
            grants=grants,
            degradations=losses,
            setup_ms=(self._confirmed - self._began) * 1000,
            started=self._confirmed,
            namespaces=self._spaces,
        )
        return Outcome(incarnation, self._child, self._group)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._child.pidfd, signal.SIGKILL)

    def abort(self) -> None:
        """Kill and reap the child; close and remove everything. Somebody else may have reaped it already."""
        self._kill()
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._child.pidfd, os.WEXITED)
        for fd in (self._child.pidfd, self._child.status_fd, self._child.verdict_fd):
            if fd >= 0:
                os.close(fd)
        self._owner.spawner.give_back(self._child)
        if self._group is not None:
            discard(self._group)
