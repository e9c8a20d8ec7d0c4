"""The story of one incarnation: plan → prepare → clone → configure → gate → child's ops → exec → verify.

``begin`` ends with the gate open and never waits long; ``Pending`` then follows the status channel. The decision to
refuse is taken before the gate: a refused payload has not run one instruction.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from arje import native
from arje.card.card import Card
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate import configure, forecast, furnishing, idmap, plan
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.clock import Stopwatch
from arje.incarnate.families.namespaces import kind_of
from arje.incarnate.family import loss_by, loss_of
from arje.incarnate.forecast import Forecast
from arje.incarnate.given import NOTHING, Given
from arje.incarnate.neighbours import CLOSED, Doors, Neighbours, enters, nobody, opened
from arje.incarnate.observe import Observer, observed
from arje.incarnate.outcome import Outcome, discard
from arje.incarnate.pending import Pending
from arje.incarnate.policy import refusals
from arje.incarnate.spares import Spares
from arje.incarnation import Degradation, Step
from arje.kernel import mounts
from arje.kernel.capabilities import Availability, CapabilitySet, cause_of_errno
from arje.kernel.cgroup import Cgroup, enable_controllers
from arje.kernel.facts import Facts
from arje.kernel.own import Own

#: What says that a kind of namespace is refused (clone(2)); everything else is about processes, not about isolation.
_REFUSES_KIND = {errno.EPERM, errno.ENOSPC, errno.EUSERS, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
#: What a probe says when the manager itself has no room: nothing is learnt from it.
_WANT_OF_ROOM = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
#: What clone3 with CLONE_INTO_CGROUP says where entering by cgroup.procs may still work (isolation.md §3, 7).
_RETRY_CGROUP = {errno.ENOSYS, errno.EOPNOTSUPP, errno.EBUSY, errno.EACCES}


@dataclass(frozen=True, slots=True)
class StdioFds:
    """The three descriptors that become 0, 1 and 2. Borrowed: the caller keeps them."""

    stdin: int
    stdout: int
    stderr: int


class Incarnator:
    """Makes processes of cards. Belongs to one thread (prctl(2): the parent death signal follows the thread)."""

    def __init__(
        self,
        capabilities: CapabilitySet,
        cgroup_base: Path | None,
        *,
        variables: dict[str, str] | None = None,
        spares: int = 0,
        nofile: int = 0,
    ) -> None:
        """``spares``: how many namespaces of a kind are made ahead (spares.py); whoever asks for some calls close.
        ``nofile``: the soft RLIMIT_NOFILE of payloads that ask for none, where the manager has raised its own; else 0."""
        self.capabilities = capabilities
        self.looked = time.time()
        """When the capabilities were looked at: CLOCK_REALTIME in seconds."""
        self._base = cgroup_base
        self._variables = variables or {}
        self._spawner = native.Spawner()
        self._numbers = itertools.count(1)
        self._time_early = 0  # CLONE_NEWTIME once the kernel turned out to be older than 6.2
        self._prepared: dict[str, tuple[Card, Blueprint, native.Plan]] = {}
        self._furnished: dict[str, Blueprint] = {}
        self._ours = Own()
        self._idmaps: dict[tuple[str, ...], int] = {}
        self.spares = Spares(spares)
        self._nofile = nofile
        self.neighbours: Neighbours = nobody
        """Who else runs here: how ``soma.join`` finds the other service."""
        self.observers: dict[str, Observer] = {}
        """Who watches the next incarnations, by label (observe.py)."""

    @property
    def runtime_dir(self) -> Path:
        """The manager's runtime directory; that of no manager is /run/arje."""
        return Path(self._variables.get("RUNTIME_DIR", "/run/arje"))

    def dry_run(self, card: Card) -> Forecast:
        """Return what :meth:`begin` would do on this machine; nothing is started."""
        try:
            return self.forecast(card)
        except SetupFailed as error:
            return forecast.told(error)

    def forecast(self, card: Card, elsewhere: CapabilitySet | None = None) -> Forecast:
        """Return the same, or what a start would do on the host with other capabilities. Raises SetupFailed."""
        return forecast.forecast(card, elsewhere or self.capabilities, self._variables, here=elsewhere is None)

    def recheck(self) -> tuple[str, ...]:
        """Look at the machine again; return the features about which it says something else than before.

        Belongs to the thread that starts services, as everything here: nobody is cloned while a probe has changed
        something of this process for a moment. Takes about 15 ms. A look that failed for want of memory or descriptors
        changes nothing. Raises OSError.
        """
        if self._base is not None:
            for directory in (self._base.parent, self._base):
                enable_controllers(directory)
        before, now = self.capabilities, CapabilitySet.detect(self._base)
        if before.features.keys() - now.features.keys() or any(
            found.errno in _WANT_OF_ROOM for found in now.features.values()
        ):
            return ()
        self.looked = time.time()
        if now == before:
            return ()
        self.capabilities = now
        self._prepared.clear()
        self._furnished.clear()
        names = {**before.features, **now.features}
        return tuple(name for name in names if before.features.get(name) != now.features.get(name))

    def requests(self, card: Card) -> int:
        """Return how many things a card asks for. Raises SetupFailed when it cannot be planned at all."""
        return len(plan.make(furnishing.bare(card), self.capabilities, variables=self._variables).wishes)

    def incarnate(self, card: Card, stdio: StdioFds, given: Given = NOTHING) -> Outcome:
        """Begin and wait until exec is confirmed. Raises what :meth:`Pending.finish` raises."""
        pending = self.begin(card, stdio, given)
        try:
            pending.wait()
        except BaseException:
            pending.abort()
            raise
        return pending.finish()

    def begin(self, card: Card, stdio: StdioFds, given: Given = NOTHING) -> Pending:
        """Clone, configure, decide and open the gate. Raises SetupFailed and IncarnationRefused; nothing is left then."""
        try:
            return self._begin(card, stdio, given)
        except OSError as error:  # the manager's own trouble: no descriptor, no memory
            raise SetupFailed(card.label, Step.PREPARE, error.errno or 0, "", str(error)) from error

    def may_hang(self, card: Card) -> bool:
        """Whether :meth:`begin` would touch files that may lie on a mount that is dead: then :meth:`furnish` first."""
        known = self._prepared.get(card.label)
        return furnishing.may_hang(card, first=known is None or known[0] is not card)

    def furnish(self, card: Card, given: Given = NOTHING) -> Blueprint:
        """Plan, and make directories: all that may hang of a start, fit for another thread. Raises as :meth:`begin`."""
        return furnishing.furnish(card, self.capabilities, self._variables, given)

    def furnished(self, blueprint: Blueprint) -> None:
        """Take what :meth:`furnish` has made; the next start of this card, with the same given, is with it."""
        self._furnished[blueprint.card.label] = blueprint

    def _begin(self, card: Card, stdio: StdioFds, given: Given) -> Pending:
        watch = Stopwatch()
        made = self._furnished.pop(card.label, None)
        made = made if made is not None and made.card is card and made.given == given else None
        blueprint, encoded = self.prepared(card, given, made)
        refused = refusals(card.soma, blueprint.losses)
        if refused:
            raise IncarnationRefused(card.label, refused)
        if made is None:
            furnishing.make_directories(blueprint, self._variables.get("RUNTIME_DIR", ""))
        if not enters(blueprint):
            return self._start(blueprint, encoded, stdio, CLOSED, watch)
        with opened(blueprint, self.neighbours) as (blueprint, doors):
            return self._start(blueprint, encoded, stdio, doors, watch)

    def _start(
        self, blueprint: Blueprint, encoded: native.Plan, stdio: StdioFds, doors: Doors, watch: Stopwatch
    ) -> Pending:
        watch.mark("plan")
        group, losses = self._make_cgroup(blueprint)
        watch.mark("cgroup")
        try:
            blueprint, child, late = self._clone(blueprint, encoded, stdio, group, doors)
            watch.mark("clone")
        except BaseException:
            if group is not None:
                discard(group)
            raise
        pending = Pending(self, blueprint, child, group, watch, next(self._numbers))
        try:
            pending.losses += losses
            pending.configure(enter_cgroup=late)
        except BaseException:
            pending.abort()
            raise
        return pending

    def prepared(
        self, card: Card, given: Given = NOTHING, made: Blueprint | None = None
    ) -> tuple[Blueprint, native.Plan]:
        """Return the plan of a card and its form for C, made once; ``made``: the plan is there already.

        Raises SetupFailed for what cannot work anywhere.
        """
        if (observer := self.observers.get(card.label)) is not None:
            made = made or plan.make(card, self.capabilities, variables=self._variables, given=given)
            blueprint = observed(made, observer)
            return blueprint, self._encode(blueprint)
        known = self._prepared.get(card.label)
        may_change = bool(getattr(card.payload, "env_file", ()))
        if known is not None and known[0] is card and known[1].given == given and not may_change:
            return replace(known[1], given=given) if given.fds else known[1], known[2]
        blueprint = made or plan.make(card, self.capabilities, variables=self._variables, given=given)
        encoded = self._encode(blueprint)
        self._prepared[card.label] = (card, blueprint, encoded)
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
            return None, tuple(loss_by(wish, error, "mkdir") for wish in wishes)
        return group, configure.write_limits(blueprint, group)

    def _clone(
        self, blueprint: Blueprint, encoded: native.Plan, stdio: StdioFds, group: Cgroup | None, doors: Doors
    ) -> tuple[Blueprint, native.Child, bool]:
        """Clone, planning again without what the kernel refuses. The bool: the cgroup is still to be entered."""
        fds = (stdio.stdin, stdio.stdout, stdio.stderr)
        late, early = False, self._time_early if "time" in blueprint.kinds else 0
        while True:
            flags = plan.clone_flags(blueprint.kinds) & ~early
            fd = group.fd if group is not None and not late else -1
            try:
                with self.spares.lend(blueprint) as spare:
                    child = self._spawner.spawn(
                        encoded,
                        fds,
                        clone_flags=flags & ~spare.flags,
                        early_unshare=early,
                        cgroup_fd=fd,
                        idmap_fd=self._idmap(blueprint),
                        apart=blueprint.apart,
                        joins=doors.joins,
                        pid_namespace=doors.pid_namespace,
                        passed=blueprint.given.fds,
                        spare_net=spare.net,
                        spare_user=spare.user,
                    )
                if early:
                    self._await_apart(child)
                elif "time" in blueprint.kinds and self._is_inside(blueprint.card.label, child):
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
            again = plan.make(
                blueprint.card,
                self.capabilities,
                variables=self._variables,
                losses=blueprint.losses,
                cgroup_late=late,
                given=blueprint.given,
            )
            if (observer := self.observers.get(blueprint.card.label)) is not None:
                again = observed(again, observer)
            blueprint = replace(again, joined=blueprint.joined)
            refused = refusals(blueprint.soma, blueprint.losses)
            if refused:
                raise IncarnationRefused(blueprint.card.label, refused)
            encoded = self._encode(blueprint)

    def _await_apart(self, child: native.Child) -> None:
        """Wait until the child has made its time namespace, whose offsets can be written then. Raises OSError."""
        record = native.receive(child.status_fd, block=True)
        if record is None or record.kind != native.APART:
            self._drop(child)
            number = record.errno if record else errno.ECHILD
            raise OSError(number, os.strerror(number))

    def _is_inside(self, label: str, child: native.Child) -> bool:
        """Whether a child waits inside its new time namespace already, where no offsets are taken (Linux before 6.2)."""
        place = f"/proc/{child.pid}/ns"
        try:
            return os.readlink(f"{place}/time") == os.readlink(f"{place}/time_for_children")
        except (FileNotFoundError, ProcessLookupError):  # it has ended; its channel says why
            return False
        except OSError as error:
            self._drop(child)
            raise SetupFailed(label, Step.CLONE, error.errno or 0, "soma.namespaces.time") from error

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

    def _idmap(self, blueprint: Blueprint) -> int:
        """The user namespace whose maps id-mapped binds take, made once for each pair of maps; -1: none is needed."""
        if not any(feature.startswith("idmapped.") for feature in blueprint.has):
            return -1
        texts = tuple(idmap.text(lines) for lines in (blueprint.uid_map, blueprint.gid_map))
        if texts not in self._idmaps:
            self._idmaps[texts] = mounts.user_namespace(self._spawner, *texts)
        return self._idmaps[texts]

    def _without_refused(self, blueprint: Blueprint, number: int) -> Blueprint:
        """Find which namespaces the kernel refuses, one by one, and count them as lost."""
        user = native.CLONE_NEW["user"] if "user" in blueprint.kinds else 0
        label, losses = blueprint.card.label, []
        if number not in _REFUSES_KIND or not self.capabilities["clone"].available:
            raise forecast.childless(label, number, self.capabilities)
        for wish in blueprint.wishes:
            kind = kind_of(wish.feature)
            if wish.feature == "cgroup" or kind not in blueprint.kinds:
                continue
            if error := native.probe_clone(native.CLONE_NEW[kind] | user):
                if error not in _REFUSES_KIND:
                    raise SetupFailed(label, Step.CLONE, error, "")
                cause, detail, remedy = cause_of_errno(error, wish.feature)
                found = Availability(wish.feature, False, False, cause, error, "clone3", detail, remedy)
                losses.append(loss_of(wish, found))
        if not losses:
            raise SetupFailed(label, Step.CLONE, number, "soma.namespaces", " ".join(blueprint.kinds))
        return replace(blueprint, losses=(*blueprint.losses, *losses))

    def close(self) -> None:
        """Release what was made ahead. It can start services afterwards as well."""
        self.spares.close()

    def _encode(self, blueprint: Blueprint) -> native.Plan:
        pid, death = "pid" in blueprint.kinds, blueprint.soma.parent_death_signal
        return native.Plan(
            [planned.op for planned in blueprint.ops],
            blueprint.program.paths,
            blueprint.program.argv,
            blueprint.program.envp,
            reaper=pid,
            reaper_death_signal=plan.signal_number(death) if pid and death else 0,
            reaper_session=blueprint.soma.new_session,
            pid_variables=[os.fsencode(name) for name in blueprint.given.pid_variables],
            nofile=self._nofile,
        )

    @property
    def spawner(self) -> native.Spawner:
        """The owner of the stacks."""
        return self._spawner

    @property
    def ours(self) -> Facts:
        """The manager's own facts."""
        return self._ours
