"""Feature → the smallest soma that asks for it, as a card writes it. The rows of the matrix.

``ITEMS`` are examples of the families whose features have an item in their name. What several of the environments may
lack is asked for beyond what everybody has: limits over the manager's own (``LIMITS``), urgency over everybody else's.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from arje.card.files import ITEMISED
from arje.card.soma import RLIMITS

Table = dict[str, dict[str, Any]]
NOBODY = 65534
#: The hard limits that the manager gives itself before it begins; a row asks for more.
LIMITS = {
    "cpu": 10**6,
    "fsize": 2**40,
    "data": 2**42,
    "stack": 2**30,
    "core": 2**30,
    "rss": 2**42,
    "nproc": 50_000,
    "nofile": 4096,
    "memlock": 2**22,
    "as": 2**44,
    "locks": 1000,
    "sigpending": 5000,
    "msgqueue": 400_000,
    "nice": 0,
    "rtprio": 0,
    "rttime": 10**7,
}
_CGROUP: dict[str, Any] = {
    "cpu_weight": 50,
    "cpu_max": "50%",
    "io_weight": 200,
    "memory_max": "256M",
    "memory_high": "128M",
    "memory_low": "1M",
    "memory_swap_max": 0,
    "pids_max": 50,
    "cpuset": "0",
    "cpuset_mems": "0",
    "cpu_idle": True,
    "memory_min": "1M",
    "memory_oom_group": True,
    "io_max": ["1:0 wbps=1048576"],
    "delegate": True,
}
_VETH = {"bridge": "br9", "create_bridge": True, "address": ["10.9.0.2/24"]}


def furnish(place: Path) -> None:
    """Make what the rows name: a root with a shell of its own, directories to mount on, somewhere to write."""
    for name in ("root/bin", "merged", "mnt", "data", "run"):
        (place / name).mkdir(parents=True)
        (place / name).chmod(0o777)
    (place / "root/bin/sh").write_bytes(Path("/bin/busybox").read_bytes())
    (place / "root/bin/sh").chmod(0o755)
    (place / "secret").write_text("secret")


def rows(place: Path) -> Table:
    """Return the row of every feature."""
    spaces = {kind: {"namespaces": [kind]} for kind in ("mount", "pid", "net", "uts", "ipc", "user", "time")}
    return {
        **spaces,
        "cgroup-ns": {"namespaces": ["cgroup"]},
        "hostname": {"namespaces": ["uts"], "hostname": "row"},
        "time_offsets": {"namespaces": ["time"], "time_offsets": {"monotonic": 10}},
        **_identities(),
        **{f"join.{kind}": {"join": {kind: "other"}} for kind in (*spaces, "cgroup")},
        **_files(place),
        **{f"rlimit.{name}": {"rlimits": {name: LIMITS[name] * 2 or 5}} for name in RLIMITS},
        "cgroup": {"cgroup": {}},
        **{f"cgroup.{name}": {"cgroup": {name: value}} for name, value in _CGROUP.items()},
        "cpu_affinity": {"cpu_affinity": [0]},
        "dumpable": {"dumpable": False},
        "nice": {"nice": -5},
        "ioprio": {"ioprio": "realtime:0"},
        "scheduler": {"scheduler": "fifo:50"},
        "oom_score_adj": {"oom_score_adj": -500},
        "seccomp": {"seccomp": {"deny": ["@reboot"]}},
        "landlock": {"landlock": {"read": ["/"], "execute": ["/"], "tcp_bind": [80]}},
        "network.none": {"network": "none"},
        "network.veth": {"network": {"veth": _VETH}},
        "network.routes": {"network": {"veth": _VETH, "routes": ["10.8.0.0/16 via 10.9.0.1"]}},
        "network.pasta": {"network": {"pasta": {}}},
        "loopback": {"namespaces": ["net"]},
        "parent_death_signal": {"parent_death_signal": "KILL"},
        "new_session": {},
        "controlling_tty": {"controlling_tty": _terminal()},
        "chdir": {"chdir": "/usr"},
        "umask": {"umask": "027"},
    }


@cache
def _terminal() -> str:
    """A terminal that nobody has; its other end stays open in this process."""
    _, slave = os.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    return name


def _identities() -> Table:
    nobody = {"user": NOBODY, "group": NOBODY}
    return {
        "id-map": {"namespaces": ["user"]},
        "run_as": {"run_as": {"user": 1234, "group": 1234, "groups": []}},
        "groups": {"run_as": {**nobody, "groups": [7]}},
        "no_new_privs": {"no_new_privs": True},
        "capabilities.bounding": {"capabilities": {"bounding": ["kill"]}},
        "capabilities.keep": {"run_as": nobody, "capabilities": {"keep": ["kill"]}},
        "capabilities.ambient": {"run_as": nobody, "capabilities": {"keep": ["kill"], "ambient": ["kill"]}},
        "securebits": {"securebits": ["noroot"]},
        "keyring": {"keyring": "new"},
        "personality": {"personality": ["addr-no-randomize"]},
        "lock_personality": {"lock_personality": True},
        "disable_nested_userns": {"namespaces": ["user"], "disable_nested_userns": True},
    }


def _files(place: Path) -> Table:
    mount = {"namespaces": ["mount"]}
    own = f"{place}/mnt"
    bind = {"source": f"{place}/data", "target": own}
    itemised: Table = {
        "binds": {**mount, "binds": [bind]},
        "idmapped": {"namespaces": ["mount", "user"], "binds": [bind | {"idmapped": True}]},
        "tmpfs": {**mount, "tmpfs": [own]},
        "files": {**mount, "files": {f"{place}/secret": "harmless"}},
        "symlinks": {**mount, "tmpfs": [own], "symlinks": {f"{own}/link": "somewhere"}},
    }
    items = {f"{name}.{_item(name, place)}": itemised[name] for name in ITEMISED}
    return {
        **itemised,
        **items,
        "root": {**mount, "root": f"{place}/root"},
        "read_only_root": {**mount, "read_only_root": True},
        "overlay": {**mount, "overlay": {"lower": [f"{place}/root"], "merged": f"{place}/merged"}},
        "pivot_root": {**mount, "pivot_root": {"new_root": f"{place}/root"}},
        "private_tmp": {**mount, "private_tmp": True},
        "dev": {**mount, "dev": "minimal"},
        "proc": {"namespaces": ["mount", "pid"], "proc": True},
        "sysfs": {"namespaces": ["mount", "net"], "sysfs": True},
        "devpts": {**mount, "devpts": True},
        "mqueue": {"namespaces": ["mount", "ipc"], "mqueue": True, "dev": "minimal"},
        "masked_paths": {**mount, "masked_paths": [f"{place}/secret"]},
        "read_only_paths": {**mount, "read_only_paths": [f"{place}/data"]},
        "protect_kernel_tunables": {**mount, "protect_kernel_tunables": True},
        "credentials": {**mount, "credentials": {"key": "text"}},
    }


def _item(family: str, place: Path) -> str:
    """The name of the one item of a family's row."""
    return {"files": f"{place}/secret", "symlinks": f"{place}/mnt/link"}.get(family, f"{place}/mnt")


#: What a row asks for besides its feature, so that there can be it at all; ``prefer`` must name it as well.
BESIDES = {
    "groups": ("run_as",),
    "capabilities.keep": ("run_as", "capabilities.ambient"),
    "capabilities.ambient": ("run_as", "capabilities.keep"),
    "idmapped": ("binds", "id-map"),
    "symlinks": ("tmpfs",),
    "mqueue": ("dev",),
    "network.routes": ("network.veth",),
    "network.veth": ("network.routes",),
    "user": ("id-map",),
    "disable_nested_userns": ("id-map",),
}


def preferring(feature: str) -> list[str]:
    """Return what ``prefer`` must say so that only a wish of nobody's can refuse the start."""
    family = feature.partition(".")[0]
    return [feature, *BESIDES.get(feature, BESIDES.get(family, ()))]
