"""The wheel and the sdist: what a fresh environment, and a Debian with nothing but a compiler, make of them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from arje import __version__
from ship import BUILD, ROOT, run
from ship import wheel as wheels
from tests.packaging.boxes import Box
from tests.packaging.conftest import built

#: What pip needs to build and to install arje, for the Debian of boxes.py.
NEEDED = ("setuptools>=77", "wheel", "cffi", "trio", "pydantic", "structlog")


@functools.cache
def pythons() -> dict[str, str]:
    """Return the CPythons here that arje is for, version to path; the one that runs the tests first."""
    tries = [sys.executable, *(f"/usr/bin/python3.{minor}" for minor in range(11, 20))]
    tries += map(str, sorted(Path.home().glob(".pyenv/versions/3.*/bin/python")))
    found: dict[str, str] = {}
    for path in tries:
        with contextlib.suppress(OSError):
            ask = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
            version = subprocess.run([path, "-c", ask], capture_output=True, text=True, check=False).stdout.strip()
            if version and [*map(int, version.split("."))] >= [3, 11]:
                found.setdefault(version, path)
    return found


def downloads() -> Path:
    """Return a directory with the wheels of NEEDED, fetched once."""
    place = BUILD / "needed-3.11"
    if not (place / ".ready").exists():
        which = ("--only-binary=:all:", "--python-version=3.11", "--implementation=cp")
        run(wheels.tools(), "-m", "pip", "download", "-q", *which, "-d", place, *NEEDED)
        (place / ".ready").touch()
    return place


def manage(bin: Path, home: Path) -> tuple[list[dict[str, object]], int]:
    """Run an environment's ``arje --user`` and ``arjectl status`` on a card; return the services and the exit status."""
    (home / "cards").mkdir(parents=True)
    (home / "cards/still.toml").write_text('payload = { exec = "/bin/sleep", argv = ["infinity"] }\n')
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    read, write = os.pipe()
    words = [str(bin / "arje"), "--user", "--cards", str(home / "cards"), "--ready-fd", str(write)]
    with subprocess.Popen(words, env=environment, pass_fds=[write], cwd="/", stderr=subprocess.DEVNULL) as manager:
        os.close(write)
        try:
            assert os.read(read, 1) == b"\n"
            ask = [str(bin / "arjectl")]
            for verb in (["wait", "still", "--for", "running"], ["--json", "status"]):
                done = subprocess.run(
                    [*ask, *verb], env=environment, capture_output=True, text=True, cwd="/", check=False
                )
                assert done.returncode == 0, done.stderr
        finally:
            os.close(read)
            manager.terminate()
    services: list[dict[str, object]] = json.loads(done.stdout)["services"]
    return services, manager.returncode


@pytest.mark.parametrize("which", ["own", "newest"])
def test_the_wheel_in_a_fresh_environment_runs_a_manager(which: str, wheel: Path, place: Path) -> None:
    version = next(iter(pythons())) if which == "own" else max(pythons(), key=lambda each: int(each.partition(".")[2]))
    if which == "newest" and version == next(iter(pythons())):
        pytest.skip(f"no CPython newer than {version} here")
    run(pythons()[version], "-m", "venv", "--without-pip", place / "venv")
    pip = [wheels.tools(), "-m", "pip", "--python", place / "venv/bin/python", "install", "-q", "--no-compile"]
    built(lambda: Path(run(*pip, "--disable-pip-version-check", wheel)))
    services, status = manage(place / "venv/bin", place / "home")
    assert [service["state"] for service in services] == ["running"]
    assert status == 0
    for page in ("man1/arjectl.1", "man1/arje-run.1", "man5/card.5", "man8/arje.8"):
        assert (place / "venv/share/man" / page).exists(), page


def test_one_wheel_is_for_every_cpython_and_an_old_glibc(wheel: Path) -> None:
    assert wheel.name.startswith(f"arje-{__version__}-cp311-abi3-manylinux_2_")
    said = run(wheels.tools(), "-m", "auditwheel", "show", wheel)
    assert "consistent with" in said
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        native = opened.read("arje/native/_native.abi3.so")
    assert b"/root/" not in native  # nothing of who built it
    assert str(ROOT).encode() not in native
    assert not [name for name in names if name.startswith(("tests", "bench", "vm", "ship"))]
    assert "arje/control/io.arje.Manager.varlink" in names


def test_the_sdist_has_everything_that_git_has(sdist: Path) -> None:
    tracked = run("git", "ls-files", cwd=ROOT).splitlines()
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert set(tracked) - held - {".gitignore", "vm/.gitignore"} == set()


def test_the_sdist_builds_and_runs_where_nothing_but_a_compiler_is(box: Callable[[str], Box], sdist: Path) -> None:
    debian = box("compiler")
    debian.copy(sdist, f"/src/{sdist.name}")
    debian.copy(built(downloads), "/wheels")
    said = debian.sh(
        f"""
python3 -m venv /venv
/venv/bin/pip install -q --no-index --find-links /wheels /src/{sdist.name}
mkdir -p /cards /run/user
echo 'payload = {{ exec = "/bin/sleep", argv = ["infinity"] }}' >/cards/still.toml
mkfifo /ready
/venv/bin/arje --cards /cards --ready-fd 9 9>/ready 2>/log & manager=$!; read -r _ </ready
/venv/bin/arjectl wait still --for running
kill $manager; wait $manager && echo well
"""
    )
    assert said.splitlines()[-1] == "well"
    assert "still" in said
