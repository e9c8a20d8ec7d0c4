"""What a card names vanishes, and mounts come and go, between the plan and the child's steps: the gate is held for it."""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from arje import native
from arje.card.soma import Bind, Credential, InjectedFile, Landlock, Namespaces, Overlay, PivotRoot
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnation import Cause
from tests.incarnate.conftest import Ran

Run = Callable[..., Ran]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to mount")
MOUNT = Namespaces(mount=True)
LIBC = ctypes.CDLL(None, use_errno=True)

#: Field that the error must name → what the card asks for of a directory that is gone by then.
VANISHING: dict[str, Callable[[Path], dict[str, Any]]] = {
    "soma.binds.0": lambda gone: {"binds": (Bind(source=str(gone), target="/mnt"),)},
    "soma.root": lambda gone: {"root": str(gone)},
    "soma.pivot_root": lambda gone: {"pivot_root": PivotRoot(new_root=str(gone))},
    "soma.overlay": lambda gone: {"overlay": Overlay(lower=(str(gone),), merged="/mnt")},
    "soma.files.0": lambda gone: {"files": (InjectedFile(path="/etc/hostname", source=f"{gone}/file"),)},
    "soma.credentials.key": lambda gone: {"credentials": (Credential(name="key", source=f"{gone}/file"),)},
    "soma.landlock.read": lambda gone: {"landlock": Landlock(read=(str(gone),), execute=("/",))},
    "soma.chdir": lambda gone: {"chdir": str(gone)},
}


@pytest.fixture
def at_gate(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do something when the child has been configured and waits at its gate, right before that is opened."""
    release = native.release

    def arrange(act: Callable[[], object]) -> None:
        def held(status_fd: int) -> None:
            monkeypatch.setattr(native, "release", release)
            act()
            release(status_fd)

        monkeypatch.setattr(native, "release", held)

    return arrange


@pytest.fixture
def gone(tmp_path: Path) -> Path:
    """A directory that will be removed."""
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/file").write_text("x")
    return tmp_path / "gone"


@pytest.mark.parametrize("field", VANISHING)
def test_what_vanishes_while_starting_fails_the_start_with_its_field(
    run: Run, at_gate: Any, gone: Path, tmp_path: Path, field: str
) -> None:
    soma = {"namespaces": MOUNT} | VANISHING[field](gone)
    if field == "soma.credentials.key":  # they lie in /run, which is not the service's own without this
        soma |= {"overlay": Overlay(lower=("/",), tmpfs_upper=2**20)}
    at_gate(lambda: shutil.rmtree(gone))
    canary = tmp_path / "canary"
    with pytest.raises(SetupFailed, match="ENOENT") as caught:
        run("touch", str(canary), **soma)
    assert caught.value.field == field
    assert not gone.exists()
    assert not canary.exists()


def test_an_optional_bind_may_vanish_at_the_last_moment(run: Run, at_gate: Any, gone: Path) -> None:
    at_gate(lambda: shutil.rmtree(gone))
    target = gone.with_name("target")
    target.mkdir()
    bind = Bind(source=str(gone), target=str(target), optional=True)
    ran = run("ls", "-A", str(target), namespaces=MOUNT, binds=(bind,))
    assert (ran.output, ran.exit.ok, ran.incarnation.degradations) == ("", True, ())


def test_a_source_that_became_a_pipe_fails_the_start(run: Run, at_gate: Any, gone: Path) -> None:
    def replace() -> None:
        shutil.rmtree(gone)
        os.mkfifo(gone)

    at_gate(replace)
    with pytest.raises(SetupFailed, match=r"ENOTDIR|EINVAL") as caught:
        run("true", namespaces=MOUNT, binds=(Bind(source=str(gone), target="/mnt"),))
    assert caught.value.field == "soma.binds.0"


def mount(place: Path) -> None:
    if LIBC.mount(b"tmpfs", str(place).encode(), b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount", str(place))


def unmount(place: Path) -> None:
    if LIBC.umount2(str(place).encode(), 2) != 0:  # MNT_DETACH
        raise OSError(ctypes.get_errno(), "umount2", str(place))


def test_a_mount_that_appears_below_a_read_only_source_is_no_way_to_write(
    run: Run, at_gate: Any, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    at_gate(lambda: mount(source / "below"))
    try:
        bind = Bind(source=str(source), target="/mnt", read_only=True)
        ran = run("sh", "-c", "touch /mnt/x /mnt/below/x", namespaces=MOUNT, binds=(bind,))
        assert ran.output.count("Read-only file system") == 2
        assert list((source / "below").iterdir()) == []
    finally:
        unmount(source / "below")


def test_a_source_that_is_unmounted_while_starting_is_what_is_there_now_or_nothing_runs(
    run: Run, at_gate: Any, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for directory in (source, target):
        directory.mkdir()
    (source / "under").touch()
    mount(source)
    (source / "over").touch()
    at_gate(lambda: unmount(source))
    canary = tmp_path / "canary"
    bind = Bind(source=str(source), target=str(target))
    try:
        ran = run("sh", "-c", f"touch {canary}; ls {target}", namespaces=MOUNT, binds=(bind,))
        assert (ran.output, ran.incarnation.degradations) == ("under\n", ())
    except IncarnationRefused as error:  # its mounts were copied before: it would not see what is at the source now
        assert [(loss.feature, loss.cause) for loss in error.degradations] == [(f"binds.{target}", Cause.DRIFTED)]  # noqa: PT017 - either is right
        assert not canary.exists()


@contextmanager
def restless(places: list[Path]) -> Iterator[None]:
    """Somebody who mounts and unmounts all the time."""
    enough, begun = threading.Event(), threading.Event()

    def disturb() -> None:
        while not enough.is_set():
            for place in places:
                mount(place)
            begun.set()
            for place in places:
                unmount(place)

    thread = threading.Thread(target=disturb)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def test_a_mount_table_that_never_rests_disturbs_no_start_and_no_reading_back(run: Run, tmp_path: Path) -> None:
    places = [tmp_path / f"place-{number}" for number in range(20)]
    for place in places:
        place.mkdir()
    spaces = Namespaces(mount=True, pid=True)
    soma = {"namespaces": spaces, "read_only_root": True, "private_tmp": True, "binds": (Bind(source=str(tmp_path)),)}
    with restless(places):
        for _ in range(20):
            ran = run("sh", "-c", "touch /x; touch /tmp/y && echo made", **soma)
            assert ran.incarnation.degradations == ()
            assert all(grant.ok for grant in ran.incarnation.grants)
            assert "Read-only file system" in ran.output
            assert ran.output.endswith("made\n")
