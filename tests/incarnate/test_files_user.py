"""The files family where the manager is not the machine's root: an ordinary user, and root of a user namespace only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NOBODY, ROOT, python_for_nobody

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to become the others")

#: Starts the card that stands in argv and tells, as JSON, what became of it.
START = """
import json, os, sys
from pathlib import Path
from arje.card.loader import load_text
from arje.errors import IncarnationError
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.kernel.capabilities import CapabilitySet
loaded = load_text(Path("test.toml"), sys.argv[1])
assert not loaded.problems, loaded.problems
reader, writer = os.pipe()
null = os.open("/dev/null", os.O_RDWR)
told = {"refused": "", "output": "", "grants": {}, "lost": {}}
incarnator = Incarnator(CapabilitySet.detect(None), None)
forecast = incarnator.dry_run(loaded.cards[0])
told["foretold"] = {loss.feature: loss.cause for loss in forecast.degradations}
told["warned"] = forecast.refusal
try:
    outcome = incarnator.incarnate(loaded.cards[0], StdioFds(null, writer, writer))
    os.close(writer)
    told["output"] = os.fdopen(reader).read()
    os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    told["grants"] = {grant.feature: grant.ok for grant in outcome.incarnation.grants}
    told["lost"] = {loss.feature: loss.cause for loss in outcome.incarnation.degradations}
except IncarnationError as error:
    told["refused"] = str(error)
print(json.dumps(told))
"""


def as_user(card: str) -> dict[str, Any]:
    found = python_for_nobody()
    if found is None:
        pytest.skip("no interpreter that user nobody may execute")
    python, more = found
    return start(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python], card, more)


def as_namespace_root(card: str) -> dict[str, Any]:
    """It has a user namespace already, in which setgroups(2) is denied: another one below it would need that."""
    spaces = card.replace('"user", ', "")
    return start(["unshare", "--user", "--map-root-user", sys.executable], spaces, {})


def start(words: list[str], card: str, more: dict[str, str]) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | more
    done = subprocess.run([*words, "-c", START, card], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def card(script: str, soma: str) -> str:
    words = json.dumps(["-c", f"exec 2>&1; {script}"])
    return f'[payload]\nexec = "/bin/sh"\nargv = {words}\n[soma]\n{soma}\n'


FULL = """
namespaces = ["user", "mount", "pid", "net", "ipc"]
read_only_root = true
private_tmp = true
dev = "minimal"
sysfs = true
mqueue = true
proc = {hidepid = "invisible"}
tmpfs = ["/mnt:1M"]
binds = ["/usr:/mnt/usr:ro", "-/no/such"]
masked_paths = "kernel"
read_only_paths = ["-/opt"]
files = {"/etc/hostname" = "injected", "/mnt/file" = "text"}
symlinks = {"/mnt/link" = "file"}
"""


@pytest.mark.parametrize("start_as", [as_user, as_namespace_root])
def test_the_full_list_is_granted_without_privilege(start_as: Any) -> None:
    script = "cat /etc/hostname /mnt/link; echo; touch /etc/x; touch /mnt/usr/x; echo x > /dev/null && echo /mnt/*"
    told = start_as(card(script, FULL))
    assert (told["refused"], told["lost"]) == ("", {})
    assert all(told["grants"].values())
    lines = told["output"].splitlines()
    assert lines[0] == "injectedtext"
    assert told["output"].count("Read-only file system") == 2
    assert lines[-1] == "/mnt/file /mnt/link /mnt/usr"


@pytest.mark.parametrize("start_as", [as_user, as_namespace_root])
def test_an_overlay_root_and_one_from_nothing_need_no_privilege(start_as: Any) -> None:
    links = 'symlinks = {"/bin" = "usr/bin", "/lib" = "usr/lib", "/lib64" = "usr/lib64"}\n'
    base = 'namespaces = ["user", "mount", "pid"]\n'
    layers = '[soma.overlay]\nlower = "/usr"\ntmpfs_upper = "1M"\n'
    told = start_as(card("echo x > /new && cat /new", f"{base}{layers}"))
    assert (told["output"], told["lost"], told["refused"]) == ("x\n", {}, "")
    told = start_as(card("echo /*", f'{base}{links}tmpfs = ["/"]\nbinds = ["/usr::ro"]\n'.replace("::", ":/usr:")))
    assert (told["output"], told["lost"]) == ("/bin /lib /lib64 /proc /usr\n", {})


LAYERS = 'namespaces = ["user", "mount"]\n{}[soma.overlay]\nlower = "/"\nmerged = "/mnt"\n'


def test_an_ordinary_users_overlay_of_the_whole_root_is_foreseen_with_the_mount_that_is_in_the_way() -> None:
    told = as_user(card("echo ran", LAYERS.format("")))
    assert "is below /" in told["warned"]
    assert "is below /" in told["refused"]
    assert "name a directory without mounts below it" in told["refused"]
    assert told["output"] == ""
    told = as_user(card("echo ran", LAYERS.format('prefer = ["overlay"]\n')))
    assert (told["output"], told["lost"], told["warned"]) == ("ran\n", {"overlay": "not-delegated"}, "")
    assert told["foretold"] == told["lost"]


def test_a_layer_that_root_of_a_user_namespace_may_not_have_says_why() -> None:
    """Which mounts are locked there is nowhere to be read, so it is told when the kernel refuses."""
    told = start(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable],
        card("echo ran", LAYERS.format('prefer = ["overlay"]\n').replace('"user", ', "")),
        {},
    )
    assert (told["output"], told["lost"]) == ("ran\n", {"overlay": "not-delegated"})


def test_an_idmapped_bind_needs_the_machines_root() -> None:
    soma = 'namespaces = ["user", "mount"]\n{}binds = [{{source = "/usr", target = "/mnt", idmapped = true}}]\n'
    assert (
        "idmapped./mnt: asked the service's ids, got none: EPERM" in as_user(card("true", soma.format("")))["refused"]
    )
    told = as_user(card("echo ran", soma.format('prefer = ["idmapped"]\n')))
    assert (told["output"], told["lost"]) == ("ran\n", {"idmapped./mnt": "no-capability"})
    assert not told["grants"]["idmapped./mnt"]


def test_a_mount_interface_that_is_denied_is_foreseen() -> None:
    """As an outer sandbox does it that knows mount(2) only; strace denies it here."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    words = [strace, "-f", "-o/dev/null", "-etrace=open_tree", "-einject=open_tree:error=ENOSYS", sys.executable]
    base = 'namespaces = ["mount"]\n'
    told = start(words, card("echo ran", f'{base}dev = "minimal"\nread_only_root = true\n'), {})
    assert (told["output"], told["refused"]) == ("ran\n", "")
    assert told["lost"] == {"dev": "kernel-too-old", "read_only_root": "kernel-too-old"}
    told = start(words, card("echo ran", f'{base}binds = ["/usr:/mnt"]\n'), {})
    assert "required isolation is not obtainable: binds./mnt" in told["refused"]


def test_a_machine_that_mounts_nothing_loses_each_feature_once(tmp_path: Path) -> None:
    """No mount namespace is to be had; what only hides is lost with it, what shows another world refuses."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    words = [strace, "-f", "-o/dev/null", "-etrace=fsopen", "-einject=fsopen:error=EPERM", sys.executable]
    soma = 'namespaces = ["mount", "pid", "net", "ipc"]\ndev = "minimal"\nsysfs = true\nmqueue = true\n'
    told = start(words, card("echo ran", soma), {})
    assert told["output"] == "ran\n"
    assert set(told["lost"]) == {"dev", "sysfs", "mqueue", "proc"}
    canary = tmp_path / "canary"
    told = start(words, card(f"touch {canary}", f"{soma}private_tmp = true\n"), {})
    assert "private_tmp" in told["refused"]
    assert not canary.exists()
