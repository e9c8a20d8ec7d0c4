"""The full sandbox as arje's card, and as the commands of others: the same namespaces, files and filter for each.

All eight kinds of namespace but time, which no peer knows; a read-only root from a directory, an own /proc, a tmpfs at
/tmp, a minimal /dev, no_new_privs, a session of its own, and one and the same compiled filter over system calls.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from arje.card.card import Card
from arje.card.filters import Landlock, Seccomp
from arje.card.payload import Native
from arje.card.soma import IdMap, Namespaces, Overlay, Soma, Tmpfs
from bench import peers, site

_NAMESPACES: Final = Namespaces(mount=True, pid=True, net=True, uts=True, ipc=True, cgroup=True, user=True)
_SELF: Final = (IdMap(inside=0, outside=0, count=1),)
#: What the peers are called by Debian. nsjail is in no Debian 12; firejail is its like there.
PACKAGES: Final = {"bwrap": "bubblewrap", "firejail": "firejail", "crun": "crun"}
_FILTER_FD: Final = 99  # out of the way of what this process has open


@dataclass(frozen=True, slots=True)
class Box:
    """``root``: a directory with the program and three mount points. ``bpf``: the filter, as arje compiled it."""

    root: Path
    bpf: Path
    card: Card

    @property
    def richer(self) -> Card:
        """The same with what the peers have not: an overlay with its upper layer on a tmpfs, and landlock."""
        soma = replace(
            self.card.soma,
            root="",
            read_only_root=False,
            overlay=Overlay(lower=(str(self.root),), tmpfs_upper=16 << 20),
            landlock=Landlock(read=("/",), execute=("/",), write=("/tmp",), tcp_bind=(), tcp_connect=()),
        )
        return replace(self.card, label="richer", soma=soma)

    def bwrap(self) -> tuple[tuple[str, ...], peers.Opened]:
        """Return bubblewrap's command, and what it finds open."""
        return (
            *("bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid", "--unshare-net", "--unshare-uts"),
            *("--unshare-ipc", "--unshare-cgroup", "--new-session", "--ro-bind", str(self.root), "/"),
            *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--seccomp", str(_FILTER_FD), "--", "/tiny"),
        ), {_FILTER_FD: self.bpf}

    def firejail(self) -> tuple[tuple[str, ...], peers.Opened]:
        """Return firejail's command: it has no user and cgroup namespaces for root, and a shorter filter of its own."""
        return (
            *("firejail", "--quiet", "--noprofile", "--net=none", "--ipc-namespace", "--private-dev", "--private-tmp"),
            *("--read-only=/", "--seccomp", "--nonewprivs", "--", str(self.root / "tiny")),
        ), {}


@contextmanager
def packed() -> Iterator[Box]:
    """Make the root directory and the filter, and remove them."""
    with TemporaryDirectory(prefix=f"arje-bench-box.{os.getpid()}.", dir="/run") as name:
        directory = Path(name)
        directory.chmod(0o755)
        root = directory / "root"
        for place in ("proc", "tmp", "dev"):
            (root / place).mkdir(parents=True)
        (root / "tiny").write_bytes(site.tiny_program())
        (root / "tiny").chmod(0o755)
        soma = Soma(
            namespaces=_NAMESPACES,
            uid_map=_SELF,
            gid_map=_SELF,
            root=str(root),
            read_only_root=True,
            tmpfs=(Tmpfs(target="/tmp", mode=0o1777),),
            dev="minimal",
            no_new_privs=True,
            seccomp=Seccomp(allow=("@system-service",)),
        )
        card = Card(label="box", payload=Native(exec="/tiny", argv=()), soma=soma)
        yield Box(root, directory / "filter.bpf", card)


def bundle(box: Box) -> Path:
    """Make the bundle that :func:`enter_bundle` works in, beside the root. The filter goes in as it is."""
    directory = box.root.parent / "bundle"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(_config(box)))
    return directory


def _config(box: Box) -> dict[str, Any]:
    """The OCI runtime specification's config.json, version 1.0, with crun's annotation for a compiled filter."""
    quiet = ["nosuid", "nodev", "noexec"]
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": quiet},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=4m"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance"],
        },
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*quiet, "mode=1777"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
    ]
    one = [{"containerID": 0, "hostID": 0, "size": 1}]
    kinds = ("mount", "pid", "network", "uts", "ipc", "cgroup", "user")
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/tiny"], "env": [], "cwd": "/", "noNewPrivileges": True},
        "root": {"path": str(box.root), "readonly": True},
        "mounts": mounts,
        "annotations": {"run.oci.seccomp_bpf_data": base64.b64encode(box.bpf.read_bytes()).decode()},
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            "uidMappings": one,
            "gidMappings": one,
        },
    }


def enter_bundle(directory: Path) -> tuple[str, ...]:
    """Mount in this process's own mount namespace what crun needs, and return its command. Raises CalledProcessError."""
    peers.refuse_shared_mounts()
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)
    crun = peers.crun_command(directory)
    if why := peers.refused("crun", crun):
        raise RuntimeError(why)
    return crun
