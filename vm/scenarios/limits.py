"""Limits where cgroup2 has every controller and root has every capability: granted, felt, changed while running."""

from __future__ import annotations

import os
import resource
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from arje.card.card import Card
from arje.card.devices import IoMax
from arje.card.limits import RLIMITS
from arje.card.payload import Native
from arje.card.soma import CgroupLimits, IoPriority, Namespaces, RunAs, Scheduler, Soma
from arje.incarnate.change import change, merged
from arje.incarnate.drift import look
from arje.incarnate.outcome import Outcome
from arje.incarnate.spawn import StdioFds
from arje.incarnation import Exit
from vm.guest.checks import check, check_as, expect
from vm.guest.lab import incarnator, run

NOBODY = 65534
MIB = 1 << 20
#: Goes to the payload's own cgroup.
HERE = "cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)"
#: Limit → value, the file, and what the file says then.
EVERY: dict[str, tuple[object, str, str]] = {
    "cpu_max": ("50%", "cpu.max", "50000 100000"),
    "cpu_weight": (50, "cpu.weight", "50"),
    "io_weight": (200, "io.weight", "default 200"),
    "io_max": (
        (IoMax(device="/dev/ram0", rbps=MIB, wiops=100),),
        "io.max",
        f"1:0 rbps={MIB} wbps=max riops=max wiops=100",
    ),
    "memory_max": (256 * MIB, "memory.max", str(256 * MIB)),
    "memory_high": (128 * MIB + 1, "memory.high", str(128 * MIB)),
    "memory_low": (MIB, "memory.low", str(MIB)),
    "memory_min": (MIB, "memory.min", str(MIB)),
    "memory_swap_max": (0, "memory.swap.max", "0"),
    "memory_oom_group": (True, "memory.oom.group", "1"),
    "pids_max": (50, "pids.max", "50"),
    "cpuset": ("0", "cpuset.cpus", "0"),
    "cpuset_mems": ("0", "cpuset.mems", "0"),
}
MAX = ("memory_max", "memory_high", "memory_low", "memory_min", "memory_swap_max", "pids_max", "cpu_max")


class Held(NamedTuple):
    """A payload that runs, our end of its input, and of what it says."""

    outcome: Outcome
    tell: int
    hear: int

    def file(self, name: str) -> str:
        """Return what a file of its cgroup says."""
        return self.outcome.cgroup_file(name) or ""

    def wait(self) -> Exit:
        """Wait for its end, and leave the zombie to ``held``."""
        info = os.waitid(os.P_PIDFD, self.outcome.pidfd, os.WEXITED | os.WNOWAIT)
        assert info is not None
        return self.outcome.exit_of(Exit.from_wait(info.si_code, info.si_status))


@contextmanager
def held(*command: str, **soma: Any) -> Iterator[Held]:
    """A payload for as long as the block takes."""
    card = Card(label="payload", payload=Native(exec=command[0], argv=command[1:]), soma=Soma(**soma))
    in_r, in_w = os.pipe2(os.O_CLOEXEC)
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    outcome = incarnator().incarnate(card, StdioFds(in_r, out_w, out_w))
    for fd in (in_r, out_w):
        os.close(fd)
    try:
        yield Held(outcome, in_w, out_r)
    finally:
        outcome.kill_tree()
        os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
        outcome.close()
        os.close(in_w)
        os.close(out_r)


@check
def every_file_of_every_controller_is_granted_and_says_what_was_asked() -> None:
    subprocess.run(["modprobe", "brd"], check=True)  # a disk of memory: io.max wants a device
    files = " ".join(file for _, file, _ in EVERY.values())
    asked = CgroupLimits(**{name: value for name, (value, _, _) in EVERY.items()})  # type: ignore[arg-type]
    ran = run("sh", "-c", f"{HERE}; for file in {files}; do head -1 $file; done", cgroup=asked)
    expect([str(loss) for loss in ran.incarnation.degradations], [])
    expect(dict(zip(EVERY, ran.output.splitlines(), strict=True)), {name: said for name, (_, _, said) in EVERY.items()})
    for name in EVERY:
        ran.granted(f"cgroup.{name}")


@check
def an_idle_cgroup_is_idle() -> None:
    ran = run("sh", "-c", f"{HERE}; cat cpu.idle", cgroup=CgroupLimits(cpu_idle=True))
    expect((ran.output.strip(), ran.granted("cgroup.cpu_idle")), ("1", "1"))


@check
def max_is_taken_and_read_back_wherever_there_is_a_most() -> None:
    ran = run("true", cgroup=CgroupLimits(**dict.fromkeys(MAX, "max")))  # type: ignore[arg-type]
    expect([str(loss) for loss in ran.incarnation.degradations], [])
    expect({ran.granted(f"cgroup.{name}") for name in MAX}, {"max", "max 100000"})


@check
def a_device_that_is_not_there_is_one_degradation() -> None:
    for device in ("/dev/no-such-disk", "77:77"):
        ran = run("true", cgroup=CgroupLimits(io_max=(IoMax(device=device, rbps=MIB),)))
        (lost,) = ran.incarnation.degradations
        expect((lost.feature, lost.cause.value), ("cgroup.io_max", "limit"))


@check
def a_memory_hog_is_killed_and_the_kernel_says_why() -> None:
    limits = CgroupLimits(memory_max=24 * MIB, memory_swap_max=0)
    with held("python3", "-c", "x = bytearray(100 << 20)", cgroup=limits) as hog:
        expect(str(hog.wait()), "signal KILL")
        expect("oom_kill 1" in hog.file("memory.events").splitlines(), True, hog.file("memory.events"))
        expect(hog.outcome.oom_killed, True)


#: Reads a disk, and tells how much there was; when it is told to, it takes memory, and waits. The disk stays open: with its
#: last user a block device loses what is cached of it.
GROWS = """
import sys
disk = open("/dev/ram0", "rb")
print(len(disk.read()), flush=True)
sys.stdin.readline()
taken = bytearray(64 << 20)
print("taken", flush=True)
sys.stdin.readline()
"""


@check
def the_kernel_tells_when_a_service_uses_too_much_and_page_cache_is_not_use() -> None:
    with held("python3", "-c", GROWS, cgroup=CgroupLimits()) as grows:
        events = grows.outcome.memory_events(48 * MIB)
        poll = select.poll()
        poll.register(events.fd, select.POLLIN)
        expect(grows.file("memory.high"), str(48 * MIB))
        cached = int(os.read(grows.hear, 100))
        used, current = grows.outcome.memory_used(), int(grows.file("memory.current"))
        expect(
            cached >= 4 * MIB and current - used >= cached // 2, True, f"{cached} read, {current} of which {used} used"
        )
        expect(poll.poll(0), [])
        os.write(grows.tell, b"\n")
        expect(bool(poll.poll(20_000)), True)
        events.close()  # nobody is slowed down any more
        expect(grows.file("memory.high"), "max")
        expect(os.read(grows.hear, 100), b"taken\n")
        expect(grows.outcome.memory_used() >= 64 * MIB, True, str(grows.outcome.memory_used()))


@check
def pids_max_stops_a_fork_bomb_and_counts_it() -> None:
    with held("sh", "-c", "bomb() { bomb & bomb; }; bomb", cgroup=CgroupLimits(pids_max=10)) as bomb:
        poll = select.poll()
        fd = os.open(Path(bomb.outcome.incarnation.cgroup, "pids.events"), os.O_RDONLY)
        poll.register(fd, select.POLLPRI)
        while "max 0" in os.pread(fd, 100, 0).decode():
            poll.poll(20_000)
        os.close(fd)
        expect(int(bomb.file("pids.current")) <= 10, True, bomb.file("pids.current"))


@check
def cpu_max_throttles() -> None:
    script = f'{HERE}; until grep -q "nr_throttled [1-9]" cpu.stat; do :; done; echo throttled'
    expect(run("sh", "-c", script, cgroup=CgroupLimits(cpu_max="5%")).output, "throttled\n")


@check
def a_frozen_payload_does_nothing_until_it_is_thawed() -> None:
    with held("cat") as cat:
        expect((cat.outcome.freeze(frozen=True), cat.outcome.frozen), (True, True))
        os.write(cat.tell, b"heard")
        poll = select.poll()
        poll.register(cat.hear, select.POLLIN)
        expect(poll.poll(300), [], "it answered")
        expect((cat.outcome.freeze(frozen=False), cat.outcome.frozen), (True, False))
        expect(os.read(cat.hear, 100), b"heard")


@check
def a_delegated_cgroup_can_be_divided_by_its_user_but_not_widened() -> None:
    script = f"""id -u; {HERE}; mkdir below; echo $$ > below/cgroup.procs; echo "+memory +pids" > cgroup.subtree_control
        echo 7 > below/pids.max; cat below/pids.max; cut -d: -f3 /proc/self/cgroup
        echo max > pids.max || echo refused"""
    ran = run("sh", "-c", script, run_as=RunAs(user=1000, group=1000), cgroup=CgroupLimits(delegate=True, pids_max=20))
    expect([str(loss) for loss in ran.incarnation.degradations], [])
    expect(ran.granted("cgroup.delegate"), "uid 1000 gid 1000")
    uid, limit, place, *_, last = ran.output.splitlines()
    expect((uid, limit, place, last), ("1000", "7", "/arje/payload/below", "refused"), ran.output)


@check
def a_delegated_cgroup_is_the_root_of_a_cgroup_namespace() -> None:
    script = 'cat /proc/self/cgroup; mkdir "$0/below"; echo $$ > "$0/below/cgroup.procs"; cat /proc/self/cgroup'
    ran = run(
        *("sh", "-c", script, "/sys/fs/cgroup/arje/payload"),
        namespaces=Namespaces(cgroup=True, user=True),
        run_as=RunAs(user=1000, group=1000),
        cgroup=CgroupLimits(delegate=True),
    )
    expect(ran.granted("cgroup.delegate"), "uid 1000 gid 1000")
    expect(ran.output.split(), ["0::/", "0::/below"])


@check
def every_limit_is_changed_while_it_runs_and_read_back() -> None:
    limits = CgroupLimits(
        memory_max=64 * MIB, pids_max=7, cpu_max="20%", cpu_weight=30, io_max=(IoMax(device="1:0", wbps=2 * MIB),)
    )
    asked = Soma(
        cgroup=limits,
        rlimits=(("nofile", 77, 88),),
        nice=5,
        ioprio=IoPriority(kind="idle"),
        scheduler=Scheduler(policy="fifo", priority=3),
        oom_score_adj=-100,
    )
    with held("sh", "-c", "sleep 1000 & cat; true", namespaces=Namespaces(pid=True, mount=True)) as cat:
        os.write(cat.tell, b"up")
        expect(os.read(cat.hear, 10), b"up")
        found = change(cat.outcome, asked, incarnator().capabilities)
        expect([str(loss) for loss in found.degradations], [])
        expect(len(found.grants), 10)
        files = [cat.file(name) for name in ("memory.max", "pids.max", "cpu.max", "cpu.weight")]
        expect(files, [str(64 * MIB), "7", "20000 100000", "30"])
        expect("wbps=2097152" in cat.file("io.max"), True, cat.file("io.max"))
        processes = [entry.pid for entry in cat.outcome.processes()]
        expect(len(processes), 4, "reaper, shell, sleep and cat")
        for pid in processes:
            expect(resource.prlimit(pid, resource.RLIMIT_NOFILE), (77, 88))
            expect((os.sched_getscheduler(pid), os.sched_getparam(pid).sched_priority), (os.SCHED_FIFO, 3))
            expect(Path(f"/proc/{pid}/oom_score_adj").read_text(), "-100\n")
    expect(Path("/proc/self/oom_score_adj").read_text(), "0\n", "the manager's own")


@check
def what_is_changed_from_outside_is_seen_and_changed_back() -> None:
    features = ("cgroup.memory_max", "cgroup.pids_max", "rlimit.nofile")
    limits = CgroupLimits(memory_max=256 * MIB, pids_max=50)
    with held("cat", cgroup=limits, rlimits=(("nofile", 64, 128),)) as cat:
        pid, group = cat.outcome.incarnation.pid, cat.outcome.cgroup
        assert group is not None
        expect([answer.ok for answer in look(cat.outcome, features).values()], [True] * 3)
        group.write("memory.max", "max")
        group.write("pids.max", "51")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 4096))
        seen = look(cat.outcome, features)
        expect(
            {name: tuple(answer) for name, answer in seen.items()},
            {
                "cgroup.memory_max": ("max", False),
                "cgroup.pids_max": ("51", False),
                "rlimit.nofile": ("64 4096", False),
            },
        )
        done = change(cat.outcome, merged(Soma(), cat.outcome.soma, features), incarnator().capabilities)
        expect([str(loss) for loss in done.degradations], [])
        expect([answer.ok for answer in look(cat.outcome, features).values()], [True] * 3)
        expect((cat.file("memory.max"), cat.file("pids.max")), (str(256 * MIB), "50"))


@check
def root_may_raise_all_sixteen_limits() -> None:
    most = {name: 2**64 - 1 for name in RLIMITS} | {"nofile": 500_000, "nice": 40, "rtprio": 99}
    before = {name: resource.getrlimit(number)[1] for name, number in RLIMITS.items()}
    ran = run("cat", "/proc/self/limits", rlimits=tuple((name, value, value) for name, value in most.items()))
    expect([str(loss) for loss in ran.incarnation.degradations], [])
    expect({name: ran.granted(f"rlimit.{name}") for name in most}, {name: f"{v} {v}" for name, v in most.items()})
    expect({name: resource.getrlimit(number)[1] for name, number in RLIMITS.items()}, before, "the manager's own")


@check
def more_files_than_the_kernel_has_is_foreseen() -> None:
    ran = run("true", rlimits=(("nofile", 10**9 * 3, 10**9 * 3),))
    (lost,) = ran.incarnation.degradations
    expect((lost.feature, lost.cause.value, "fs.nr_open" in lost.detail), ("rlimit.nofile", "sysctl", True))


@check
def a_deadline_is_kept_and_forks_fall_back() -> None:
    asked = Scheduler(policy="deadline", runtime=0.002, deadline=0.05, period=0.1, reset_on_fork=True)
    ran = run("sh", "-c", "cut -d' ' -f41 /proc/$$/stat; cut -d' ' -f41 /proc/self/stat; true", scheduler=asked)
    expect((ran.output.split(), ran.granted("scheduler")), (["6", "0"], "deadline reset-on-fork"))


@check
def protection_from_the_oom_killer_is_the_payloads_alone() -> None:
    for spaces in (Namespaces(), Namespaces(pid=True, mount=True)):
        with held("cat", namespaces=spaces, oom_score_adj=-500) as cat:
            grant = next(grant for grant in cat.outcome.incarnation.grants if grant.feature == "oom_score_adj")
            expect((grant.granted, grant.ok), ("-500", True))
            expect(Path(f"/proc/{cat.outcome.incarnation.pid}/oom_score_adj").read_text(), "-500\n")
            expect(Path("/proc/self/oom_score_adj").read_text(), "0\n", "the manager's own")


BEYOND: dict[str, dict[str, Any]] = {
    "nice": {"nice": -5},
    "ioprio": {"ioprio": IoPriority(kind="realtime", level=0)},
    "scheduler": {"scheduler": Scheduler(policy="fifo", priority=50)},
    "oom_score_adj": {"oom_score_adj": -500},
    "rlimit.rtprio": {"rlimits": (("rtprio", 50, 50),)},
    "cgroup.memory_max": {"cgroup": CgroupLimits(memory_max=MIB), "prefer": ("cgroup",)},
}


@check_as(NOBODY)
def an_ordinary_user_hears_of_each_thing_that_is_beyond_it_and_why() -> None:
    causes = {}
    for feature, soma in BEYOND.items():
        ran = run("true", **soma)
        lost = [loss for loss in ran.incarnation.degradations if loss.feature != "cgroup"]
        expect([loss.feature for loss in lost], [feature])
        card = Card(label="payload", payload=Native(exec="true"), soma=Soma(**soma))
        foreseen = {(loss.feature, loss.cause) for loss in incarnator().dry_run(card).degradations}
        expect(foreseen, {(loss.feature, loss.cause) for loss in ran.incarnation.degradations}, "foreseen")
        expect(bool(lost[0].remedy), True, "a remedy")
        causes[feature] = lost[0].cause.value
    no = dict.fromkeys(("nice", "ioprio", "scheduler", "oom_score_adj"), "no-capability")
    expect(causes, no | {"rlimit.rtprio": "limit", "cgroup.memory_max": "not-delegated"})


@check_as(NOBODY)
def an_ordinary_user_may_step_back() -> None:
    asked: dict[str, Any] = {
        "nice": 10,
        "ioprio": IoPriority(kind="idle"),
        "scheduler": Scheduler(policy="batch"),
        "oom_score_adj": 500,
        "rlimits": (("nofile", 50, 60),),
    }
    for spaces in (Namespaces(), Namespaces(user=True, pid=True, mount=True)):
        ran = run("cat", namespaces=spaces, **asked)
        expect([str(loss) for loss in ran.incarnation.degradations], [])
        granted = [ran.granted(name) for name in ("nice", "ioprio", "scheduler", "oom_score_adj", "rlimit.nofile")]
        expect(granted, ["10", "idle", "batch", "500", "50 60"])
