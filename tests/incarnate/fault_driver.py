"""One incarnation in a process of its own, told as JSON: what happened, and what of it is left behind.

``python -m tests.incarnate.fault_driver SOCKET`` is a nursery: every connection gets a fork, in which Python has started
long ago. So what a tracer counts from its attachment on is the incarnation and nothing else. The fork says ``ready``
(and with ``hold`` says ``gate`` while the child waits there), goes on when it is told to, and ends with ``done``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from arje import native
from arje.card.card import Card
from arje.card.payload import Native
from arje.card.soma import (
    Capabilities,
    CgroupLimits,
    IdMap,
    IoPriority,
    Landlock,
    Namespaces,
    Overlay,
    PivotRoot,
    RunAs,
    Scheduler,
    Seccomp,
    Soma,
    TimeOffsets,
)
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.observe import THREAD, Observer
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Degradation, Exit
from arje.kernel import cgroup
from arje.kernel.capabilities import CapabilitySet

NOBODY = 65534
#: What every payload does. The first word is the canary; then it says who it is, and waits until it was read back.
SCRIPT = "echo ran; id -u; readlink /proc/self/ns/*; read line; exit 7"
ALL = Namespaces(mount=True, pid=True, net=True, uts=True, ipc=True, user=True, cgroup=True, time=True)


def everything(place: Path) -> dict[str, Any]:
    """Every op and every duty of the parent that there is, in one soma."""
    for name in ("upper", "work", "merged"):
        (place / name).mkdir(exist_ok=True)
    merged = str(place / "merged")
    return {
        "namespaces": ALL,
        "run_as": RunAs(user=NOBODY, group=NOBODY, groups=()),
        "rlimits": (("nofile", 100, 200),),
        "cgroup": CgroupLimits(),
        "cpu_affinity": (0,),
        "nice": 3,
        "ioprio": IoPriority(kind="idle"),
        "scheduler": Scheduler(policy="batch"),
        "oom_score_adj": 400,
        "hostname": "fault",
        "time_offsets": TimeOffsets(monotonic=10),
        "overlay": Overlay(lower=("/",), upper=str(place / "upper"), work=str(place / "work"), merged=merged),
        "pivot_root": PivotRoot(new_root=merged),
        "no_new_privs": True,
        "parent_death_signal": "KILL",
        "dumpable": False,
        "chdir": "/usr",
        "landlock": Landlock(read=("/",), execute=("/",), write=("-/nowhere",), tcp_bind=(80,)),
        "seccomp": Seccomp(allow=("@system-service",)),
    }


def card_of(place: Path, request: dict[str, Any]) -> Card:
    kind = request.get("card", "plain")
    soma: dict[str, Any] = {}
    if kind == "everything":
        soma = everything(place)
    elif kind == "user":  # a user namespace in the clone call, as an ordinary user gets it
        soma = {"namespaces": Namespaces(user=True, mount=True)}
    elif kind == "late-user":
        soma = {"namespaces": Namespaces(user=True), "run_as": RunAs(user=NOBODY, group=NOBODY, groups=())}
    elif kind == "privileges":
        lines = (IdMap(inside=0, outside=100000, count=10),)
        soma = {
            "namespaces": Namespaces(user=True),
            "uid_map": lines,
            "gid_map": lines,
            "run_as": RunAs(user=5, group=6, groups=(7,)),
            "capabilities": Capabilities(bounding=("chown", "kill", "setpcap"), keep=("chown", "kill")),
            "securebits": ("noroot", "no-cap-ambient-raise"),
            "keyring": "new",
            "personality": ("addr-no-randomize",),
            "lock_personality": True,
            "disable_nested_userns": True,
        }
    elif kind == "overlay":
        soma = {"namespaces": Namespaces(mount=True), "overlay": everything(place)["overlay"]}
    elif kind == "time":
        soma = {"namespaces": Namespaces(time=True), "time_offsets": TimeOffsets(monotonic=10)}
    elif kind == "nofile":
        soma = {"rlimits": (("nofile", 16, 16),)}
    elif kind == "delegate":
        soma = {"run_as": RunAs(user=NOBODY, group=NOBODY, groups=()), "cgroup": CgroupLimits(delegate=True)}
    elif kind == "pid":
        soma = {"namespaces": Namespaces(pid=True), "run_as": RunAs(user=NOBODY, group=NOBODY, groups=())}
    for name in ("prefer", "require", "strict_caps"):
        if name in request:
            soma[name] = tuple(request[name]) if isinstance(request[name], list) else request[name]
    payload = Native(exec="/bin/sh", argv=("-c", SCRIPT), envp=(("PATH", "/usr/bin:/bin"),))
    return Card(label=place.name, payload=payload, soma=Soma(**soma))


class Census:
    """What this process has: descriptors but the reaper's image, which is made once and kept; mounts; cgroups."""

    def __init__(self, base: Path | None) -> None:
        self.fds = {}
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the names are wanted
            try:
                link = os.readlink(f"/proc/self/fd/{name}")
            except FileNotFoundError:
                continue  # the directory's own
            if "arje-reaper" not in link:
                self.fds[int(name)] = link
        self.mounts = Path("/proc/self/mountinfo").read_text()
        self.groups = sorted(path.name for path in base.iterdir() if path.is_dir()) if base else []

    def leaks(self, before: Census) -> list[str]:
        """Say what is there now and was not before."""
        found = [f"fd {fd} {link}" for fd, link in self.fds.items() if fd not in before.fds]
        found += [f"fd {fd} was closed" for fd in before.fds if fd not in self.fds]
        found += [f"cgroup {name}" for name in self.groups if name not in before.groups]
        found += ["mounts have changed"] if self.mounts != before.mounts else []
        try:
            left = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return found
        return [*found, f"child {left.si_pid if left else 'running'}"]


def plain(loss: Degradation) -> dict[str, Any]:
    return {"feature": loss.feature, "errno": loss.errno, "syscall": loss.syscall, "cause": loss.cause.value}


@contextlib.contextmanager
def marked() -> Iterator[None]:
    """Put two calls that no other code makes around what matters, to be found in a trace."""
    os.access("/arje-begin", os.F_OK)
    try:
        yield
    finally:
        os.access("/arje-end", os.F_OK)


def incarnate(incarnator: Incarnator, card: Card, told: dict[str, Any]) -> None:
    """Live one life to its end; raises what incarnate raises."""
    out_r, out_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    in_r, in_w = os.pipe2(os.O_CLOEXEC)
    try:
        with marked():
            outcome = incarnator.incarnate(card, StdioFds(in_r, out_w, out_w))
        told["degradations"] = [plain(loss) for loss in outcome.incarnation.degradations]
        os.close(in_w)
        in_w = -1
        try:
            info = os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
            ended = Exit.from_wait(info.si_code, info.si_status) if info else Exit("exited", 0)
        except ChildProcessError:  # somebody else reaped it
            ended = Exit("exited", 0)
        told["exit"] = str(outcome.exit_of(ended))
        outcome.close()
    finally:
        for fd in (out_w, in_r, in_w):
            if fd >= 0:
                os.close(fd)
        try:
            told["output"] = os.read(out_r, 65536).decode().split()
        except BlockingIOError:
            told["output"] = ["(it still runs)"]
        os.close(out_r)


def watchers() -> list[str]:
    """The observers' threads that do not end with who they watched."""
    threads = [thread for thread in threading.enumerate() if thread.name == THREAD]
    for thread in threads:
        thread.join(5)
    return [f"thread {thread.name}" for thread in threads if thread.is_alive()]


def tell(incarnator: Incarnator, base: Path | None, card: Card, observer: Observer | None = None) -> dict[str, Any]:
    """Return the whole story of one incarnation."""
    told: dict[str, Any] = {"outcome": "started", "degradations": [], "output": [], "exit": ""}
    before = Census(base)
    if observer is not None:
        incarnator.observers[card.label] = observer
    try:
        incarnate(incarnator, card, told)
    except SetupFailed as error:
        told |= {"outcome": "failed", "step": error.step.value, "errno": error.errno, "field": error.field}
        told["text"] = str(error)
    except IncarnationRefused as error:
        told |= {"outcome": "refused", "degradations": [plain(loss) for loss in error.degradations]}
        told["text"] = str(error)
    except BaseException as error:
        told |= {"outcome": "raised", "text": f"{type(error).__name__}: {error}"}
    if "nofile" in dict(LOWERED):
        resource.setrlimit(resource.RLIMIT_NOFILE, LOWERED["nofile"])
    if observer is not None:
        told |= {"seen": sorted(observer.seen.calls), "unread": observer.seen.unread}
    left = watchers()
    return told | {"leaks": left + Census(base).leaks(before)}


#: Limits as they were before the request lowered them: the census itself needs descriptors.
LOWERED: dict[str, tuple[int, int]] = {}


def become_nobody() -> None:
    """Be an ordinary user whose /proc files are its own (prctl(2): a change of credentials clears PR_SET_DUMPABLE)."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE


def hold_at_gate(say: Callable[..., None]) -> None:
    """Before the gate is opened for the first time, say so and wait: a tracer may come to the child."""
    release = native.release

    def held(status_fd: int) -> None:
        native.release = release
        say("gate")
        release(status_fd)

    native.release = held


def live(connection: socket.socket, base: Path | None, known: CapabilitySet) -> None:
    """Serve one request, in a fork."""
    fd = connection.detach()
    request = json.loads(os.read(fd, 65536))
    place = Path(request["place"])

    def say(word: str, **more: Any) -> None:
        os.write(fd, json.dumps({"at": word, "pid": os.getpid(), **more}).encode() + b"\n")
        if word != "done":
            os.read(fd, 1)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN if request.get("reaped") else signal.SIG_DFL)
    native.prctl_subreaper()
    if request.get("user"):
        become_nobody()
        base, known = None, CapabilitySet.detect(None)
    incarnator = Incarnator(known, base, spares=request.get("spares", 0))
    card = card_of(place, request)
    if incarnator.spares.wanted:
        tell(incarnator, base, card)  # the first start makes those of the next
        incarnator.spares.settle()
    if request.get("hold"):
        hold_at_gate(say)
    say("ready")
    if "nofile" in request:
        LOWERED["nofile"] = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (request["nofile"], LOWERED["nofile"][1]))
    if "nproc" in request:
        resource.setrlimit(resource.RLIMIT_NPROC, (request["nproc"], request["nproc"]))
    before = Census(base)
    told = tell(incarnator, base, card, Observer() if request.get("observe") else None)
    if incarnator.spares.wanted:  # a thread makes the next ones while it is told
        incarnator.close()
        told["leaks"] = [leak for leak in Census(base).leaks(before) if "was closed" not in leak]
    say("done", **told)


def live_apart() -> None:
    """Move into mounts of our own: what others mount meanwhile is not what an incarnation left behind."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x20000) != 0:  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    if libc.mount(b"none", b"/", None, 0x44000, None) != 0:  # MS_REC | MS_PRIVATE
        raise OSError(ctypes.get_errno(), "mount")


def main() -> None:
    """Answer connections until standard input ends."""
    if os.geteuid() == 0:
        live_apart()
    base = cgroup.find_base(f"arje-fault-{os.getpid()}")
    known = CapabilitySet.detect(base)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    print(json.dumps({"base": str(base or "")}), flush=True)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            try:
                live(connection, base, known)
            finally:
                os._exit(0)
        connection.close()


if __name__ == "__main__":
    main()
