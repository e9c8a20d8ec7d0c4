"""The Containerfile, step by step as an image builder does it, and arje as process 1 of what it makes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arje.kernel import cgroup
from tests.conftest import HAS_CGROUP, ROOT
from tests.packaging.boxes import Box
from tests.packaging.conftest import online

CARDS = {
    "daemon": '[payload]\nexec = "/bin/sleep"\nargv = ["infinity"]\n[soma]\nnamespaces = ["mount", "pid"]\n',
    "orphans": '[payload]\nexec = "/bin/sh"\nargv = ["-c", "setsid sleep 0 & exec sleep 1000"]\n',
    "main": """[payload]
exec = "/bin/sh"
argv = ["-c", "trap 'exit 7' USR1; echo up; while :; do sleep 1000 & wait; done"]
[supervision]
ends_arje = true
""",
}


def steps() -> Iterator[tuple[str, list[str]]]:
    """Yield the instructions of the Containerfile."""
    for line in (ROOT / "ship/Containerfile").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield name, [rest] if name == "RUN" else json.loads(rest) if rest.startswith("[") else shlex.split(rest)


@pytest.fixture
def apart() -> Iterator[list[str]]:
    """A prefix that runs a command in a cgroup of its own, as container managers do; empty where there is none."""
    if not HAS_CGROUP or (own := cgroup.own()) is None:
        yield []
        return
    directory = own / f"arje-box-{os.getpid()}"
    directory.mkdir()
    yield ["sh", "-c", f'echo $$ >{directory}/cgroup.procs; exec "$@"', "sh"]
    for below, _, _ in os.walk(directory, topdown=False):
        Path(below).rmdir()


@pytest.fixture
def image(box: Callable[[str], Box], package: Path, place: Path) -> tuple[Box, list[str]]:
    """Build the image: the box, and its entry point."""
    if not online():
        pytest.skip("no network: the image is not built (its apt-get needs one)")
    context = place / "context"
    (context / "cards.d").mkdir(parents=True)
    (context / package.name).write_bytes(package.read_bytes())
    for label, text in CARDS.items():
        (context / f"cards.d/{label}.toml").write_text(text)
    debian = box("python")
    entry: list[str] = []
    for name, words in steps():
        if name == "RUN":
            debian.sh(words[0])
        elif name == "COPY":
            for source in context.glob(words[0].rstrip("/")):
                debian.copy(source, words[1] if source.is_dir() else f"{words[1]}{source.name}")
        elif name == "ENTRYPOINT":
            entry = words
        else:
            assert name in ("FROM", "STOPSIGNAL")
    return debian, entry


def inside(container: subprocess.Popen[bytes]) -> int:
    """Return the pid of the container's process 1, as we see it: the child of unshare(1)."""
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    return int(children.read_text().split()[0])


def ctl(container: subprocess.Popen[bytes], *words: str) -> str:
    """Run arjectl inside."""
    pid = str(inside(container))
    enter = ["nsenter", "-t", pid, "--user", "--mount", "--pid", "--uts", "--ipc", f"--root=/proc/{pid}/root", "--wd=/"]
    done = subprocess.run([*enter, "/usr/bin/arjectl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_arje_is_process_1_of_the_image_and_ends_it_in_order(image: tuple[Box, list[str]], apart: list[str]) -> None:
    debian, entry = image
    log = debian.directory / "log"
    for end in ("TERM", "main", "target"):
        read, write = os.pipe()
        more = ["arje.target=daemon"] if end == "target" else []  # as `podman run IMAGE WORD` gives them
        words = apart + debian.command(*entry, "--ready-fd", str(write), *more, user=True)
        with log.open("wb") as said, subprocess.Popen(words, pass_fds=[write], stdout=said, stderr=said) as container:
            try:
                os.close(write)
                assert os.read(read, 1) == b"\n", log.read_text()
                ctl(container, "wait", "daemon", "--for", "running")
                status = json.loads(ctl(container, "--json", "status"))
                assert status["manager"]["pid"] == 1
                assert status["manager"]["mode"] == "system"
                up = {each["label"] for each in status["services"] if each["state"] == "running"}
                assert up == ({"daemon"} if end == "target" else set(CARDS))
                if end == "main":
                    ctl(container, "kill", "main", "-s", "USR1")
                else:  # as `podman stop` does
                    os.kill(inside(container), signal.SIGTERM)
                assert container.wait(30) == (7 if end == "main" else 0)
            finally:
                os.close(read)
                container.kill()
    assert "Traceback" not in log.read_text()
