"""One environment's manager: incarnates every row that it is given, and tells as JSON what was foretold and what became.

``python -m tests.matrix.driver PLACE`` reads a request from its standard input: ``cgroup``, the name of a base or null;
``deny``, system calls that a filter over this process refuses with EPERM from the beginning on; ``only``, the rows, or
[] for all; ``also``, what every row prefers.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arje import native
from arje.card.card import Card
from arje.card.loader import card_of
from arje.card.namespaces import Namespaces
from arje.card.payload import Native
from arje.card.soma import RLIMITS, Soma
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.outcome import Outcome
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Degradation, Incarnation
from arje.kernel import cgroup, seccomp
from arje.kernel.capabilities import CapabilitySet
from tests.matrix import witness
from tests.matrix.rows import LIMITS, preferring, rows

#: The canary, then it waits to be looked at.
SCRIPT = "echo ran; read line"
_FILES = {"mount": "mnt", "cgroup-ns": "cgroup"}


class Filter(ctypes.Structure):
    """struct sock_fprog (seccomp(2))."""

    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


def deny(calls: tuple[str, ...]) -> None:
    """Put a filter over this process: the calls get EPERM. Raises OSError."""
    rules = {name: seccomp.ERRNO | errno.EPERM for name in calls}
    program = seccomp.compiled(rules, default=seccomp.ALLOW, foreign=seccomp.KILL_PROCESS)
    libc = ctypes.CDLL(None, use_errno=True)
    given = Filter(len(program) // 8, program)
    if os.geteuid() != 0:
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if libc.prctl(22, 2, ctypes.byref(given), 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "the filter")


def lower_limits() -> None:
    """Give this process the limits that every row is over; a lower one stays."""
    for name, most in LIMITS.items():
        hard = resource.getrlimit(RLIMITS[name])[1] % 2**64
        soft = min(resource.getrlimit(RLIMITS[name])[0] % 2**64, hard, most)
        resource.setrlimit(RLIMITS[name], (soft, min(hard, most)))


def card(soma: dict[str, Any], feature: str = "") -> Card:
    payload = witness.payload(feature) or {"exec": "/bin/sh", "argv": ["-c", SCRIPT]}
    return card_of({"label": "row", "payload": payload, "soma": soma}, "the matrix")


def plain(losses: tuple[Degradation, ...]) -> list[dict[str, Any]]:
    names = ("feature", "errno", "syscall", "detail", "remedy", "partial", "obtained")
    return [{name: getattr(loss, name) for name in names} | {"cause": loss.cause.value} for loss in losses]


def census(base: Path | None) -> list[str]:
    """What this process has that a start could leave behind; what is made once and kept is not among it."""
    found = []
    for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the names are wanted
        with contextlib.suppress(FileNotFoundError):  # the directory's own
            link = os.readlink(f"/proc/self/fd/{fd}")
            found += [] if "arje-reaper" in link or link.startswith("user:") else [f"fd {fd} {link}"]
    return found + ([f"cgroup {path.name}" for path in base.iterdir() if path.is_dir()] if base else [])


@contextlib.contextmanager
def neighbour(incarnator: Incarnator, soma: dict[str, Any]) -> Iterator[None]:
    """A service to be joined, for the rows that join one: it has what it can get of the kinds."""
    kinds = soma.get("join", {})
    if not kinds:
        yield
        return
    theirs = Namespaces(**dict.fromkeys(kinds, True), **({"mount": True} if "pid" in kinds else {}))
    other = Card(label="other", payload=Native(exec="/bin/cat"), soma=Soma(namespaces=theirs, prefer=("id-map",)))
    in_r, in_w = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    running: Incarnation | None = None
    outcome: Outcome | None = None
    try:
        with contextlib.suppress(SetupFailed):  # where nothing can be started, nothing can be joined
            outcome = incarnator.incarnate(other, StdioFds(in_r, null, null))
            running = outcome.incarnation
        incarnator.neighbours = lambda label: running if label == "other" else None
        yield
    finally:
        for fd in (in_r, in_w, null):
            os.close(fd)
        if outcome is not None:
            os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
            outcome.close()


def live(incarnator: Incarnator, soma: dict[str, Any], feature: str = "", place: Path | None = None) -> dict[str, Any]:
    """Start one row and end it; ``ran`` is the canary, ``links`` what /proc shows of the running payload.

    ``seen``: whether a witness finds the feature there; None when nobody can tell.
    """
    told: dict[str, Any] = {"outcome": "started", "losses": [], "grants": {}, "links": {}, "text": "", "seen": None}
    wanted = card(soma, feature)
    foretold = incarnator.dry_run(wanted)
    told["foretold"] = {"refusal": foretold.refusal, "losses": plain(foretold.degradations)}
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    in_r, in_w = os.pipe2(os.O_CLOEXEC)
    outcome: Outcome | None = None
    try:
        outcome = incarnator.incarnate(wanted, StdioFds(in_r, out_w, out_w))
        told["losses"] = plain(outcome.incarnation.degradations)
        told["grants"] = {grant.feature: grant.ok for grant in outcome.incarnation.grants}
        told["links"] = links(outcome.incarnation.pid)
        if place is not None:
            told["seen"] = witness.look(feature, outcome.incarnation.pid, place)
    except IncarnationRefused as error:
        told |= {"outcome": "refused", "losses": plain(error.degradations), "text": str(error)}
    except SetupFailed as error:
        told |= {"outcome": "failed", "step": error.step.value, "errno": error.errno, "text": str(error)}
    finally:
        for fd in (in_r, in_w, out_w):
            os.close(fd)
    with os.fdopen(out_r) as stream:
        words = stream.read().split()
    told["ran"] = words[:1] == ["ran"]
    if feature in witness.INSIDE and len(words) == 2:
        told["seen"] = words[1] == "True"
    if outcome is not None:
        os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
        outcome.close()
    return told


def links(pid: int) -> dict[str, bool]:
    """Kind → whether a running payload has a namespace of its own; read by ourselves, as far as we may."""
    found = {}
    for kind in ("mount", "pid", "net", "uts", "ipc", "user", "cgroup-ns", "time"):
        name = _FILES.get(kind, kind)
        with contextlib.suppress(OSError):
            found[kind] = os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
    return found


def run(
    place: Path, base: Path | None, only: tuple[str, ...] = (), also: tuple[str, ...] = (), *, briefly: bool = False
) -> dict[str, Any]:
    """Start every row (or ``only`` some) in both modes, and return feature → mode → what became of it.

    ``also`` is preferred by each; ``briefly``: what was granted when it was preferred is not required as well.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    native.prctl_subreaper()
    capabilities = CapabilitySet.detect(base)
    incarnator = Incarnator(capabilities, base, variables={"RUNTIME_DIR": f"{place}/run"})
    told: dict[str, Any] = {}
    for feature, soma in rows(place).items():
        if only and feature not in only:
            continue
        told[feature] = {}
        for mode in ("prefer", "require"):
            wanted = soma | asking(feature, mode, also)
            if briefly and mode == "require" and not told[feature]["prefer"]["losses"]:
                continue
            before = census(base)
            with neighbour(incarnator, soma):
                found = live(incarnator, wanted, feature, place)
            told[feature][mode] = found | {"leaks": left(before, base)}
    return told


def asking(feature: str, mode: str, also: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the words by which a row prefers or requires its feature, whatever becomes of what it needs besides."""
    preferred = [*preferring(feature), *also]
    if mode == "prefer":
        return {"prefer": preferred}
    return {"require": [feature], "prefer": [name for name in preferred if name != feature]}


def left(before: list[str], base: Path | None) -> list[str]:
    """What there is now and was not before: descriptors, cgroups, children."""
    found = sorted(set(census(base)) - set(before))
    with contextlib.suppress(ChildProcessError):
        child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        found.append(f"child {child.si_pid if child else 'running'}")
    return found


def main() -> None:
    request = json.load(sys.stdin)
    only, also = tuple(request["only"]), tuple(request["also"])
    lower_limits()
    if request["deny"]:
        deny(tuple(request["deny"]))
    base = cgroup.find_base(request["cgroup"]) if request["cgroup"] else None
    try:
        print(json.dumps(run(Path(sys.argv[1]), base, only, also)))
    finally:
        if base is not None:
            base.rmdir()


if __name__ == "__main__":
    main()
