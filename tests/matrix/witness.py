"""A second reader: whether a running payload has a feature, by /proc, by its files as we see them, or by its own word.

Nothing of arje is asked; who reads is the driver, from outside. True and False are what is seen; None: it cannot be seen
from here (another user's process, a helper that is not there). What no file shows the payload itself says (``INSIDE``).
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.matrix.rows import LIMITS

Witness = Callable[[int, Path], bool]
_NS = {"mount": "mnt", "cgroup-ns": "cgroup"}
_LIMIT_LINES = {
    "cpu": "Max cpu time",
    "fsize": "Max file size",
    "data": "Max data size",
    "stack": "Max stack size",
    "core": "Max core file size",
    "rss": "Max resident set",
    "nproc": "Max processes",
    "nofile": "Max open files",
    "memlock": "Max locked memory",
    "as": "Max address space",
    "locks": "Max file locks",
    "sigpending": "Max pending signals",
    "msgqueue": "Max msgqueue size",
    "nice": "Max nice priority",
    "rtprio": "Max realtime priority",
    "rttime": "Max realtime timeout",
}
#: What the files of a row's cgroup say when it is granted.
_CGROUP = {
    "cpu_weight": ("cpu.weight", "50"),
    "cpu_max": ("cpu.max", "50000 100000"),
    "io_weight": ("io.weight", "default 200"),
    "memory_max": ("memory.max", str(256 << 20)),
    "memory_high": ("memory.high", str(128 << 20)),
    "memory_low": ("memory.low", str(1 << 20)),
    "memory_min": ("memory.min", str(1 << 20)),
    "memory_swap_max": ("memory.swap.max", "0"),
    "memory_oom_group": ("memory.oom.group", "1"),
    "pids_max": ("pids.max", "50"),
    "cpuset": ("cpuset.cpus", "0"),
    "cpuset_mems": ("cpuset.mems", "0"),
    "cpu_idle": ("cpu.idle", "1"),
    "io_max": ("io.max", "wbps=1048576"),
}


def _status(pid: int) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))


def _stat(pid: int) -> list[str]:
    """The fields after the name, the third of proc_pid_stat(5) first."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _in_root(pid: int, path: object) -> Path:
    return Path(f"/proc/{pid}/root/{str(path).lstrip('/')}")


def _own_space(name: str) -> Witness:
    return lambda pid, place: os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")


def _own_file_system(path: str) -> Witness:
    return lambda pid, place: _in_root(pid, path).stat().st_dev != Path(path).stat().st_dev


def _read_only(path: str) -> Witness:
    return lambda pid, place: bool(os.statvfs(_in_root(pid, path or place / "data")).f_flag & os.ST_RDONLY)


def _limit(name: str) -> Witness:
    wanted = str(LIMITS[name] * 2 or 5)

    def look(pid: int, place: Path) -> bool:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
        return next(line[26:].split()[0] for line in lines if line.startswith(_LIMIT_LINES[name])) == wanted

    return look


def _group(pid: int) -> Path | None:
    """The directory of the payload's cgroup, below ours when it has one of its own."""
    words = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1].split(":", 2)[2]
    if words.rsplit("/", 1)[-1] != "row":
        return None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            root, point = line.split()[3:5]
            return Path(point) / words[len(root.rstrip("/")) :].lstrip("/")
    return None


def _cgroup(file: str, wanted: str) -> Witness:
    def look(pid: int, place: Path) -> bool:
        group = _group(pid)
        return group is not None and (group / file).exists() and wanted in (group / file).read_text()

    return look


def _delegated(pid: int, place: Path) -> bool:
    group = _group(pid)
    return group is not None and (group / "cgroup.procs").stat().st_uid == int(_status(pid)["Uid"].split()[0])


def _joined(name: str) -> Witness:
    """The neighbour of the row is the only other child of ours."""

    def look(pid: int, place: Path) -> bool:
        mine = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        theirs = os.readlink(f"/proc/{pid}/ns/{name}")
        others = [child for child in mine if child != str(pid)] + [
            child for one in mine for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()
        ]
        same = any(os.readlink(f"/proc/{other}/ns/{name}") == theirs for other in others if other != str(pid))
        return same and theirs != os.readlink(f"/proc/self/ns/{name}")

    return look


def _hostname(pid: int, place: Path) -> bool:
    look = ["/usr/bin/nsenter", f"--target={pid}"]
    if os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user"):
        look += ["--user", "--preserve-credentials"]
    done = subprocess.run([*look, "--uts", "/usr/bin/uname", "-n"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr)
    return done.stdout.strip() == "row"


def _local(address: str) -> Witness:
    """An address in a net namespace that is not ours."""
    own = _own_space("net")
    return lambda pid, place: own(pid, place) and address in Path(f"/proc/{pid}/net/fib_trie").read_text()


def _devices(pid: int) -> set[str]:
    return {line.split(":")[0].strip() for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]}


def _route(destination: str) -> Witness:
    def look(pid: int, place: Path) -> bool:
        lines = Path(f"/proc/{pid}/net/route").read_text().splitlines()[1:]
        mine = os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
        return mine and any(line.split()[1] == destination for line in lines)

    return look


def _alone(pid: int, place: Path) -> bool:
    return _devices(pid) == {"lo"} and "127.0.0.1" not in Path(f"/proc/{pid}/net/fib_trie").read_text()


def _only_kill(field: str) -> Witness:
    return lambda pid, place: int(_status(pid)[field], 16) == 1 << 5


def _bounded(pid: int, place: Path) -> bool:
    return not int(_status(pid)["CapBnd"], 16) & ~(1 << 5)


def _urgent(pid: int, place: Path) -> bool:
    number = {"x86_64": 252, "aarch64": 31}[os.uname().machine]  # ioprio_get(2)
    return int(ctypes.CDLL(None).syscall(number, 1, pid)) == 1 << 13


def _shown(path: str, text: str) -> Witness:
    return lambda pid, place: _in_root(pid, path or place / "secret").read_text() == text


def _mapped(pid: int, place: Path) -> bool:
    return Path(f"/proc/{pid}/uid_map").read_text() != Path("/proc/self/uid_map").read_text()


def _mounted(kind: str, path: str, word: str = "") -> Witness:
    """Something of a kind of file system is mounted there, and mountinfo has the word about it."""

    def look(pid: int, place: Path) -> bool:
        point = path or str(place / "mnt")
        lines = [line for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines() if line.split()[4] == point]
        return any((not kind or f" - {kind} " in line) and word in line for line in lines)

    return look


def _secrets(pid: int, place: Path) -> bool:
    return any(
        _in_root(pid, path / "key").exists() and _in_root(pid, path / "key").read_text() == "text"
        for path in (place / "run/credentials/row", Path("/run/credentials/row"))
    )


OUTSIDE: dict[str, Witness] = {
    **{kind: _own_space(_NS.get(kind, kind)) for kind in ("mount", "pid", "net", "uts", "ipc", "user", "cgroup-ns")},
    "time": _own_space("time"),
    "hostname": _hostname,
    "time_offsets": lambda pid, place: (
        Path(f"/proc/{pid}/timens_offsets").read_text().split()[:2] == ["monotonic", "10"]
    ),
    "id-map": _mapped,
    "run_as": lambda pid, place: _status(pid)["Uid"].split() == ["1234"] * 4,
    "groups": lambda pid, place: _status(pid)["Groups"].split() == ["7"],
    "no_new_privs": lambda pid, place: _status(pid)["NoNewPrivs"] == "1",
    "capabilities.bounding": _bounded,
    "capabilities.keep": _only_kill("CapPrm"),
    "capabilities.ambient": _only_kill("CapAmb"),
    "personality": lambda pid, place: int(Path(f"/proc/{pid}/personality").read_text(), 16) == 0x40000,
    **{f"join.{kind}": _joined(_NS.get(kind, kind)) for kind in ("mount", "pid", "net", "uts", "ipc", "user", "time")},
    "join.cgroup": _joined("cgroup"),
    "root": lambda pid, place: _in_root(pid, "/").samefile(place / "root"),
    "pivot_root": lambda pid, place: _in_root(pid, "/").samefile(place / "root"),
    "read_only_root": _read_only("/"),
    "overlay": lambda pid, place: _in_root(pid, place / "merged/bin/sh").exists(),
    "private_tmp": _own_file_system("/tmp"),
    "dev": _own_file_system("/dev"),
    "proc": _own_file_system("/proc"),
    "sysfs": _own_file_system("/sys"),
    "devpts": _own_file_system("/dev/pts"),
    "mqueue": _mounted("mqueue", "/dev/mqueue"),
    "masked_paths": _shown("", ""),
    "read_only_paths": _read_only(""),
    "protect_kernel_tunables": _read_only("/proc/sys"),
    "credentials": _secrets,
    "binds": lambda pid, place: _in_root(pid, place / "mnt").samefile(place / "data"),
    "idmapped": _mounted("", "", "idmapped"),
    "tmpfs": _mounted("tmpfs", ""),
    "files": _shown("", "harmless"),
    "symlinks": lambda pid, place: os.readlink(_in_root(pid, place / "mnt/link")) == "somewhere",
    **{f"rlimit.{name}": _limit(name) for name in _LIMIT_LINES},
    "dumpable": lambda pid, place: bool(
        re.search(r"^Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    ),
    "cgroup": lambda pid, place: _group(pid) is not None,
    **{f"cgroup.{name}": _cgroup(*wanted) for name, wanted in _CGROUP.items()},
    "cgroup.delegate": _delegated,
    "cpu_affinity": lambda pid, place: _status(pid)["Cpus_allowed_list"] == "0",
    "nice": lambda pid, place: _stat(pid)[16] == "-5",
    "ioprio": _urgent,
    "scheduler": lambda pid, place: (os.sched_getscheduler(pid), _stat(pid)[15]) == (os.SCHED_FIFO, "-51"),
    "oom_score_adj": lambda pid, place: Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "-500",
    "seccomp": lambda pid, place: int(_status(pid)["Seccomp_filters"]) > int(_status(os.getpid())["Seccomp_filters"]),
    "network.none": _alone,
    "network.veth": _local("10.9.0.2"),
    "network.routes": _route("0000080A"),
    "network.pasta": _route("00000000"),
    "loopback": _local("127.0.0.1"),
    "new_session": lambda pid, place: os.getsid(pid) != os.getsid(0),
    "controlling_tty": lambda pid, place: _stat(pid)[4] != "0",
    "chdir": lambda pid, place: os.readlink(f"/proc/{pid}/cwd") == "/usr",
    "umask": lambda pid, place: _status(pid)["Umask"] == "0027",
}
_KEYCTL = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
_C = "import ctypes; c = ctypes.CDLL(None, use_errno=True)\n"
#: Feature → Python that leaves in ``seen`` what the payload finds out about itself.
INSIDE = {
    "securebits": f"{_C}seen = bool(c.prctl(27) & 1)",  # PR_GET_SECUREBITS, SECBIT_NOROOT
    "keyring": f"{_C}seen = c.syscall({_KEYCTL}, 0, -3, 0) != OURS",  # KEYCTL_GET_KEYRING_ID of the session's
    "lock_personality": f"{_C}seen = c.personality(0x0040000) == -1",
    "disable_nested_userns": f"{_C}seen = c.unshare(0x10000000) == -1",
    "landlock": "try:\n    open('/dev/null', 'w'); seen = False\nexcept PermissionError:\n    seen = True",
    "parent_death_signal": f"{_C}n = ctypes.c_int(); c.prctl(2, ctypes.byref(n)); seen = n.value == 9",
}

#: Here only an effect is seen, which something else may have as well: the filter that is why it was lost, for example.
EFFECTS = frozenset({"disable_nested_userns", "lock_personality", "capabilities.bounding"})


def payload(feature: str) -> dict[str, Any] | None:
    """The payload that is its own witness; None: any will do."""
    if feature not in INSIDE:
        return None
    ours = ctypes.CDLL(None).syscall(_KEYCTL, 0, -3, 0)
    code = f"import sys\nOURS = {ours}\nprint('ran')\n{INSIDE[feature]}\nprint(seen, flush=True)\nsys.stdin.read()"
    return {"exec": "/usr/bin/python3", "argv": ["-ISc", code]}


def look(feature: str, pid: int, place: Path) -> bool | None:
    """What is seen of a feature from outside, None when nothing can be."""
    witness = OUTSIDE.get(feature) or OUTSIDE.get(feature.partition("./")[0])
    try:
        return witness(pid, place) if witness else None
    except (PermissionError, ProcessLookupError):
        return None
    except OSError:
        return False  # what should be there is not
