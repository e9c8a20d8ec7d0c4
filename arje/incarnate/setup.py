"""The ordered ops of a child: what each is for, which card field asked for it, and how C is told. Pure.

The planner places each op in its phase; the caller's order counts among mounts only, so nothing can put a working
directory before the new root by accident.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache

from arje.card.soma import Overlay
from arje.native import CLONE_NEW, FACT, Op


@dataclass(frozen=True, slots=True)
class PlannedOp:
    """One op with its reason: ``feature`` as in degradations, ``field`` of the card, ``words`` for people."""

    op: Op
    feature: str
    field: str
    words: str

    def describe(self) -> str:
        """Return the line that ``arjectl plan`` prints."""
        return f"{self.op.step}: {self.words}" + (" (optional)" if self.op.optional else "")


def _same(op: PlannedOp) -> PlannedOp:
    """Return one object for all equal ops: plans are kept, and those of a thousand services have most of theirs in common.

    Not of ops with a text, which may be a secret to be forgotten with its service."""
    return op if op.op.p is not None else _known(op)


@lru_cache(maxsize=1024)
def _known(op: PlannedOp) -> PlannedOp:
    return op


def overlay_options(overlay: Overlay, *, user: bool, stage: str = "") -> str:
    """Return the mount options of an overlay, with ``\\``, ``,`` and ``:`` of paths escaped (overlayfs: "escape").

    ``user``: inside a user namespace the layers' marks live in user.* attributes. ``stage`` is the way to the stage of
    mounts.c, with room for an upper layer and an empty directory: a single layer is no overlay for the kernel.
    """
    lower = [_escape(path, colon=True) for path in overlay.lower]
    if overlay.tmpfs_upper:
        upper, work = f"{stage}overlay/upper", f"{stage}overlay/work"
    else:
        upper, work = overlay.upper, overlay.work
    if not upper and len(lower) == 1:
        lower.append(f"{stage}empty")
    options = ["lowerdir=" + ":".join(lower)]
    if upper:
        options.append(f"upperdir={_escape(upper)},workdir={_escape(work)}")
    return ",".join(options + (["userxattr"] if user else []))


def _escape(path: str, *, colon: bool = False) -> str:
    path = path.replace("\\", "\\\\").replace(",", "\\,")
    return path.replace(":", "\\:") if colon else path


@dataclass(slots=True)
class ChildSetup:
    """Builds the ops of one child. ``optional`` decides, by feature, whether a step's failure may be survived."""

    required: frozenset[str] = frozenset()
    ops: list[PlannedOp] = field(default_factory=list)

    def add(self, op: Op, feature: str, card_field: str, words: str) -> ChildSetup:
        """Append an op; it may degrade unless its feature is required."""
        optional = bool(feature) and feature not in self.required
        self.ops.append(_same(PlannedOp(op._replace(optional=optional), feature, card_field, words)))
        return self

    def with_session(self) -> ChildSetup:
        """Lead a session of its own (setsid(2))."""
        return self.add(Op("session"), "new_session", "soma.new_session", "a session of its own")

    def with_controlling_tty(self, path: str) -> ChildSetup:
        """Take a terminal for the session (ioctl_tty(2), TIOCSCTTY); right after it, while paths are the manager's."""
        op = Op("controlling-tty", p=os.fsencode(path))
        return self.add(op, "controlling_tty", "soma.controlling_tty", path)

    def with_cgroup_namespace(self) -> ChildSetup:
        """Enter a cgroup namespace after the cgroup was entered from outside."""
        op = Op("unshare", a=CLONE_NEW["cgroup"])
        return self.add(op, "cgroup-ns", "soma.namespaces.cgroup", "cgroup namespace")

    def with_mount_namespace(self, own_inode: int) -> ChildSetup:
        """Make sure that the mount namespace is not ours (its inode), and cut its propagation. Never optional."""
        self.add(Op("mount-namespace", a=own_inode), "", "soma.namespaces.mount", "not the manager's")
        return self.add(Op("mount-private"), "", "soma.namespaces.mount", "no mount event goes out or comes in")

    def with_hostname(self, name: str) -> ChildSetup:
        """Name the uts namespace (sethostname(2))."""
        encoded = name.encode()
        return self.add(Op("hostname", a=len(encoded), p=encoded), "hostname", "soma.hostname", name)

    def with_loopback(self) -> ChildSetup:
        """Bring ``lo`` up in the new net namespace."""
        return self.add(Op("loopback"), "loopback", "soma.namespaces.net", "lo is up")

    def with_network(self, request: bytes, device: str, feature: str, card_field: str, words: str) -> ChildSetup:
        """Send one rtnetlink request about a device of the new net namespace."""
        op = Op("network", a=len(request), p=request, q=device.encode())
        return self.add(op, feature, card_field, f"{device} {words}")

    def with_umask(self, mask: int) -> ChildSetup:
        """Set the file mode creation mask."""
        return self.add(Op("umask", a=mask), "umask", "soma.umask", f"{mask:04o}")

    def with_scheduler(self, policy: int, how: bytes, words: str) -> ChildSetup:
        """Set the scheduling policy: its number with flags, and its parameters as C has them."""
        return self.add(Op("scheduler", a=policy, p=how), "scheduler", "soma.scheduler", words)

    def with_late_user_namespace(self) -> ChildSetup:
        """Enter a user namespace after all mounts, or they would be locked (mount_namespaces(7)).

        Never optional: the credentials behind it are those inside; outside, its 0 is the machine's root.
        """
        return self.add(Op("unshare", a=CLONE_NEW["user"]), "", "soma.namespaces.user", "user namespace")

    def with_identity(self, uid: int, gid: int, groups: tuple[int, ...] | None, card_field: str) -> ChildSetup:
        """Change the credentials; ``groups`` None leaves them (setgroups is denied). Never optional."""
        if groups is not None:
            self.add(Op("groups", a=len(groups), p=groups), "", card_field, str(list(groups)))
        self.add(Op("gid", a=gid), "", card_field, str(gid))
        return self.add(Op("uid", a=uid), "", card_field, str(uid))

    def with_parent_death_signal(self, number: int) -> ChildSetup:
        """Set PR_SET_PDEATHSIG; after the credentials, which clear it."""
        op = Op("parent-death-signal", a=number)
        return self.add(op, "parent_death_signal", "soma.parent_death_signal", str(number))

    def with_chdir(self, path: str) -> ChildSetup:
        """Set the working directory, inside the new root and with the new credentials."""
        return self.add(Op("chdir", p=path.encode()), "chdir", "soma.chdir", path)

    def with_report(self, facts: int, *, judged: bool) -> ChildSetup:
        """Tell the parent what the child is now; ``judged``: and wait for its verdict.

        Never optional: what is not read back is not granted.
        """
        words = "what is granted is read back" + (", and judged before anything runs" if judged else "")
        op = Op("report", a=facts | (FACT["wait"] if judged else 0))
        self.ops.append(_same(PlannedOp(op, "", "", words)))
        return self

    def with_no_new_privs(self) -> ChildSetup:
        """Set PR_SET_NO_NEW_PRIVS."""
        return self.add(Op("no-new-privs"), "no_new_privs", "soma.no_new_privs", "execve grants nothing")
