"""A real sshd of one's own: own configuration, own keys, on the loopback at a free port; ended by its pid."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import NOBODY, ROOT

SSHD = "/usr/sbin/sshd"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Sshd:
    """It answers as several hosts (``one``, ``two`` …), on each of which arjectl finds that manager's socket by itself.

    ``prefix``: run it as uid nobody. ``user``: whom ssh asks for.
    """

    def __init__(self, directory: Path, hosts: dict[str, str], *, user: str, prefix: Sequence[str] = ()) -> None:
        if not Path(SSHD).exists() or shutil.which("ssh-keygen") is None:
            pytest.skip("openssh-server is not installed")
        self.directory = directory
        self.prefix = tuple(prefix)
        directory.mkdir(exist_ok=True)
        for name in ("host", "mine"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        shutil.copy(directory / "mine.pub", directory / "authorized")
        self.port = free_port()
        self._scripts(hosts)
        (directory / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {directory}/authorized\nStrictModes no\nPasswordAuthentication no\n"
            f"PermitRootLogin yes\nForceCommand {directory}/command\n"
        )
        lines = [
            f"Host {host}\n  HostName 127.0.0.1\n  SetEnv LC_WHICH={host}\n  HostKeyAlias arje-test\n" for host in hosts
        ]
        (directory / "ssh_config").write_text(
            "".join(lines) + f"Host deaf\n  HostName 127.0.0.1\n  Port 1\n"
            f"Host *\n  Port {self.port}\n  User {user}\n  IdentityFile {directory}/mine\n  IdentitiesOnly yes\n"
            f"  BatchMode yes\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        )
        with (directory / "sshd_config").open("a") as config:
            config.write("AcceptEnv LC_WHICH\n")
        if prefix:
            for path in (directory, *directory.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
        self._log = (directory / "sshd.log").open("wb")
        command = [*prefix, SSHD, "-D", "-e", "-f", str(directory / "sshd_config")]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._await()

    def _scripts(self, hosts: dict[str, str]) -> None:
        """``command`` is what every session runs: a PATH with an arjectl in it that knows the host's manager."""
        interpreter = sys.executable
        if self.prefix:  # Debian's own: what lies below a home nobody else may execute
            interpreter = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
            if not Path(interpreter).exists():
                pytest.skip(f"{interpreter} is not installed")
        python = f"PYTHONPATH={ROOT}:{next(path for path in sys.path if path.endswith('site-packages'))}"
        bin = self.directory / "bin"
        bin.mkdir()
        cases = "".join(f"  {host}) export ARJE_SOCKET={path};;\n" for host, path in hosts.items())
        (self.directory / "command").write_text(
            f'#!/bin/sh\nexport PATH={bin}:$PATH\ncase $LC_WHICH in\n{cases}esac\neval "$SSH_ORIGINAL_COMMAND"\n'
        )
        (bin / "arjectl").write_text(f'#!/bin/sh\ncd /\n{python} exec {interpreter} -m arje.ctl "$@"\n')
        for path in (self.directory / "command", bin / "arjectl"):
            path.chmod(0o755)

    def _await(self) -> None:
        end = time.monotonic() + 30
        while True:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.directory / "sshd.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)

    def ctl(self, *words: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run arjectl with an ssh that knows the hosts."""
        env = os.environ | {"ARJE_SSH": f"ssh -F {self.directory}/ssh_config", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "arje.ctl", *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT, env=env, input=input
        )

    def said(self) -> str:
        """What sshd has logged."""
        return (self.directory / "sshd.log").read_text(errors="replace")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)
        self._log.close()


def me() -> str:
    return getpass.getuser()
