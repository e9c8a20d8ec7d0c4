"""arje as pid 1 of namespaces, in a small root of its own: what a machine without a kernel of its own can show.

The root is a tmpfs with /usr bound into it, a /dev with a few nodes and a console that is a pseudo terminal out here.
Nothing else is mounted there: arje does that. What it cannot do in a user namespace (devtmpfs) is a failure that it has
to live with.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arje.ctl.client import Client, Unreachable
from arje.incarnate.outcome import discard
from arje.kernel import cgroup, process
from arje.kernel.cgroup import Cgroup
from tests.conftest import ROOT

SPACES = (
    *("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"),
    *("--mount", "--net", "--uts", "--ipc"),
)
PATIENCE = 20.0  # seconds
#: Makes the root at $1 and becomes "$@" in it; CONSOLE is the terminal, PARTS what is bound besides /usr.
SCRIPT = """
set -e; R=$1; shift
mount -t tmpfs root "$R"
cd "$R"
mkdir -p usr proc sys dev run tmp etc var root mnt
for link in bin sbin lib lib64; do ln -s usr/$link $link; done
mount --rbind /usr usr
case " $PARTS" in *" /tmp/"*) mount -t tmpfs -o mode=1777 tmp tmp;; esac # arje would mount over this checkout
for part in $PARTS; do mkdir -p ".$part"; mount --rbind "$part" ".$part"; done
for node in null zero full random urandom tty; do : > dev/$node; mount --bind /dev/$node dev/$node; done
: > dev/console; mount --bind "$CONSOLE" dev/console
if [ -z "$BARE" ]; then mount -t proc proc proc; mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys; fi
eval "$FURNISH"
[ -z "$GROUP" ] || echo 0 > "$GROUP/cgroup.procs" || :
exec unshare --cgroup chroot . "$@"
"""


def until(booted: Booted, what: Callable[[], object]) -> None:
    """Look until something is so; what is looked at answers at its own speed."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, f"it never became so:\n{booted.said()}"
        assert booted.process.poll() is None, f"it ended:\n{booted.said()}"


def may_unshare() -> bool:
    return subprocess.run([*SPACES, "true"], capture_output=True, check=False).returncode == 0


def own_group() -> Path | None:
    """Make a cgroup that is the root of all that a machine sees of them: each one's manager calls its own ``arje``."""
    own = cgroup.own()
    with contextlib.suppress(OSError):
        if own is not None:
            return Path(tempfile.mkdtemp(prefix="arje-machine.", dir=own))
    return None


def _remove(group: Path) -> None:
    """Remove a machine's cgroup: on a loaded host its last processes take their time to go."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return discard(Cgroup(group))
        except OSError:
            if time.monotonic() > end:
                raise


class Booted:
    """A machine. ``cards`` are written to /etc/arje/cards.d (label → text), ``furnish`` is shell that runs in its root
    before arje does, ``bare``: not even /proc is mounted there (its /proc/sys is read-only else: most of it is the host's).
    ``group`` is the cgroup that is the root of its own, else a new one is made.
    ``words`` are what a kernel, or a container's maker, gives to init."""

    def __init__(
        self,
        place: Path,
        cards: dict[str, str],
        *words: str,
        furnish: str = "",
        prefix: tuple[str, ...] = (),
        command: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        bare: bool = False,
        group: Path | None = None,
    ) -> None:
        self.root = place / "root"
        self.shared = place / "shared"
        for directory in (self.root, self.shared, self.shared / "cards", self.shared / "run"):
            directory.mkdir(exist_ok=True)
        for label, text in cards.items():
            (self.shared / "cards" / f"{label}.toml").write_text(text)
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self._said = b""
        self.may_fail = False
        self._group = None if group else own_group()
        group = group or self._group
        parts = [str(ROOT), str(self.shared), sys.base_prefix, str(Path(sys.prefix).resolve())]
        parts = [part for part in dict.fromkeys(parts) if not part.startswith("/usr")]
        mine = f"mkdir -p etc/arje run; mount --rbind {self.shared} mnt; ln -s /mnt/cards etc/arje/cards.d\n"
        run = [*command] or [sys.executable, "-m", "arje", *words]
        script = ["sh", "-c", SCRIPT, "sh", str(self.root), "sh", "-c", f"cd {ROOT} && exec {shlex.join(run)}"]
        self.process = subprocess.Popen(
            [*prefix, *SPACES, *script],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={
                "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
                "CONSOLE": os.ttyname(slave),
                "PARTS": " ".join(parts),
            }
            | {"GROUP": str(group or "")}
            | {"FURNISH": mine + furnish, "BARE": "1" if bare else ""}
            | (env or {}),
        )
        os.close(slave)

    @property
    def pid(self) -> int:
        """The pid out here of its pid 1."""
        while self.process.poll() is None:
            for pid in process.descendants(self.process.pid):
                with contextlib.suppress(OSError, KeyError):
                    seen = process.status(pid)["NSpid"].split()
                    if len(seen) > 1 and seen[-1] == "1":
                        return pid
        raise AssertionError(f"there is no pid 1:\n{self.said()}")

    def log(self) -> str:
        """What its manager has logged (machines only)."""
        path = self.shared / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def said(self) -> str:
        """What its console has shown until now."""
        while self.master >= 0 and select.select([self.master], [], [], 0)[0]:
            try:
                piece = os.read(self.master, 65536)
            except OSError:  # nobody has the other end open
                break
            if not piece:
                break
            self._said += piece
        return self._said.decode(errors="replace").replace("\r\n", "\n")

    def await_said(self, text: str, seconds: float = PATIENCE) -> str:
        """Wait until the console has shown a text."""
        end = time.monotonic() + seconds
        while text not in self.said():
            left = end - time.monotonic()
            assert left > 0, f"it never said {text!r}:\n{self.said()}"
            select.select([self.master], [], [], min(left, 0.5))
            assert self.process.poll() is None or text in self.said(), f"it ended without {text!r}:\n{self.said()}"
        return self.said()

    def type(self, text: str) -> None:
        """Type at the console."""
        os.write(self.master, text.encode())

    def client(self) -> Client:
        """Connect to its manager, once that answers."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return Client(f"/proc/{self.pid}/root/run/arje/io.arje", PATIENCE)
            except Unreachable:
                assert time.monotonic() < end, self.said()
                assert self.process.poll() is None, self.said()
                time.sleep(0.02)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        client = self.client()
        try:
            return client.call(method, **parameters)
        finally:
            client.close()

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "arje.ctl", "--socket", f"/proc/{self.pid}/root/run/arje/io.arje", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, cwd=ROOT)

    def enter(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell beside its manager, in all its namespaces and in its root."""
        spaces = ["nsenter", "-t", str(self.pid), "-U", "-p", "-m", "-n", "--preserve-credentials", "-r"]
        command = [*spaces, "sh", "-c", f"cd {ROOT}; {script}"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end: the status of unshare(1), which passes on the signal that pid 1 ended by."""
        if self.process.poll() is not None:
            return self.process.returncode
        end = time.monotonic() + PATIENCE
        ended = os.pidfd_open(self.process.pid)
        try:
            while not select.select([ended, self.master], [], [], 1)[0] or self.process.poll() is None:
                self.said()  # a console that nobody reads is full
                assert time.monotonic() < end, f"it does not end:\n{self.said()}"
        finally:
            os.close(ended)
        return self.process.wait()

    def close(self) -> None:
        if self.master < 0:
            return
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.said()
        os.close(self.master)
        self.master = -1
        if self._group is not None:
            _remove(self._group)
