"""``protect_kernel_tunables``: what the machine's root without capabilities could still write, and now cannot."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from arje.card.card import Card
from arje.card.files import KERNEL_MEMORY, KERNEL_PATHS, TUNABLES
from arje.card.payload import Native
from arje.card.soma import Bind, Capabilities, CgroupLimits, Namespaces, Soma
from arje.errors import SetupFailed
from arje.incarnate import plan
from arje.incarnate.verify import READERS
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.facts import Facts
from tests.conftest import needs_root
from tests.incarnate.conftest import Ran

Run = Callable[..., Ran]
NONE = Capabilities(keep=(), bounding=())
SPACES = [Namespaces(mount=True), Namespaces(mount=True, pid=True), Namespaces(mount=True, pid=True, user=True)]
#: Opened for writing, and nothing written.
OPEN = """
import errno, os
for path in ("/proc/sys/kernel/core_pattern", "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_seqnum/x",
             "/sys/power/state", "/sys/kernel/profiling", "/dev/null"):
    try:
        os.close(os.open(path, os.O_WRONLY)); print(path, "open")
    except OSError as error:
        print(path, errno.errorcode[error.errno])
for path in ("/proc/kallsyms", "/proc/kcore"):
    try:
        print(path, len(open(path, "rb").read(9)))
    except OSError as error:
        print(path, errno.errorcode[error.errno])
"""


def look(run: Run, **soma: object) -> tuple[dict[str, str], Ran]:
    ran = run("/usr/bin/python3", "-ISc", OPEN, **soma)
    return dict(line.split() for line in ran.output.splitlines()), ran


def granted(ran: Ran) -> str:
    found = next(grant for grant in ran.incarnation.grants if grant.feature == "protect_kernel_tunables")
    assert found.ok, ran.incarnation.degradations
    return found.granted


@needs_root
def test_root_without_capabilities_changes_the_machine_unless_it_is_kept_from_it(run: Run) -> None:
    before, _ = look(run, capabilities=NONE, namespaces=Namespaces(mount=True))
    assert before["/proc/sys/kernel/core_pattern"] == "open"
    after, ran = look(run, capabilities=NONE, namespaces=Namespaces(mount=True), protect_kernel_tunables=True)
    assert after["/proc/sys/kernel/core_pattern"] == "EROFS"
    assert "read-only" in granted(ran)


@pytest.mark.parametrize("spaces", SPACES)
@pytest.mark.parametrize("more", [{}, {"read_only_root": True}, {"sysfs": True}, {"masked_paths": KERNEL_PATHS}])
def test_in_every_kind_of_root_nothing_is_written_and_no_memory_is_read(
    run: Run, spaces: Namespaces, more: dict[str, object]
) -> None:
    if "sysfs" in more:
        spaces = replace(spaces, net=True)
    found, ran = look(run, namespaces=spaces, protect_kernel_tunables=True, **more)
    assert found.pop("/dev/null") == "open"
    assert {found.pop("/proc/kallsyms"), found.pop("/proc/kcore")} <= {"0", "ENOENT"}
    assert set(found.values()) <= {"EROFS", "ENOENT", "EACCES", "ENOTDIR"}, found
    granted(ran)


@needs_root
def test_the_cgroups_stay_writable_for_who_was_given_one(run: Run, base: Path | None) -> None:
    if base is None:
        pytest.skip("no writable cgroup2 here")
    ran = run(
        *("/bin/sh", "-c", "cut -d: -f3- /proc/self/cgroup; grep ' - cgroup2 ' /proc/self/mountinfo"),
        namespaces=Namespaces(mount=True),
        cgroup=CgroupLimits(delegate=True),
        protect_kernel_tunables=True,
    )
    assert " rw," in ran.output
    granted(ran)


@needs_root
def test_a_root_without_proc_and_sys_has_nothing_to_protect(run: Run, tmp_path: Path) -> None:
    for name in ("usr", "proc", "sys"):
        (tmp_path / name).mkdir()
    for name in ("lib", "lib64"):
        (tmp_path / name).symlink_to(f"usr/{name}")
    ran = run(
        "/usr/bin/true",
        namespaces=Namespaces(mount=True),
        root=str(tmp_path),
        binds=(Bind(source="/usr"),),
        protect_kernel_tunables=True,
    )
    assert granted(ran) == "0 read-only, 0 hidden"


def test_it_is_the_managers_own_proc_without_a_mount_namespace(run: Run) -> None:
    with pytest.raises(SetupFailed, match="the manager's own mounts"):
        run("/bin/true", protect_kernel_tunables=True)


def mountinfo(points: dict[str, tuple[str, str]]) -> str:
    """Lines for mount point → (root, options), each on the one above it."""
    lines, numbers = [], {"/": 1}
    for number, (point, (root, how)) in enumerate(points.items(), 2):
        above = max((other for other in numbers if f"{point}/".startswith(other)), key=len)
        lines.append(f"{number} {numbers[above]} 0:20 {root} {point} {how} - proc proc rw")
        numbers[point] = number
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "mounts", "open_"),
    [
        ("all of it", {"/proc/sys": "ro", "/sys": "ro"}, ""),
        ("a writable /proc/sys", {"/proc/sys": "rw", "/sys": "ro"}, "/proc/sys"),
        ("no word of /proc/sys", {"/sys": "ro"}, "/proc/sys"),
        ("a writable mount below", {"/proc/sys": "ro", "/proc/sys/fs/binfmt_misc": "rw"}, "/proc/sys/fs/binfmt_misc"),
        ("a writable /sys", {"/proc/sys": "ro", "/sys": "rw"}, "/sys"),
        ("writable tracing", {"/proc/sys": "ro", "/sys": "ro", "/sys/kernel/tracing": "rw"}, "/sys/kernel/tracing"),
        ("a /sys over another", {"/proc/sys": "ro", "/sys/kernel/tracing": "rw", "/sys": "ro"}, ""),
        ("cgroups, which stay", {"/proc/sys": "ro", "/sys": "ro", "/sys/fs/cgroup": "rw"}, ""),
    ],
)
def test_what_mountinfo_shows_is_judged(name: str, mounts: dict[str, str], open_: str) -> None:
    soma = Soma(namespaces=Namespaces(mount=True), protect_kernel_tunables=True)
    blueprint = plan.make(Card(label="test", payload=Native(exec="/bin/true"), soma=soma), CapabilitySet.detect(None))
    hidden = {path: ("/null", "ro") for path in KERNEL_MEMORY if os.path.lexists(path)}
    shown = {point: ("/", how) for point, how in mounts.items()}
    text = mountinfo({"/proc": ("/", "rw")} | hidden | shown)
    facts = Facts({"mountinfo": text})
    wish = next(wish for wish in blueprint.wishes if wish.feature == "protect_kernel_tunables")
    answer = READERS[wish.feature](facts, facts, blueprint, wish)
    assert (answer.ok, answer.granted.removeprefix("open: ") if open_ else "") == (not open_, open_), name


def test_the_list_names_what_containers_hide_or_protect_besides_what_is_masked_there() -> None:
    """The paths that the OCI runtimes make read-only."""
    assert {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"} <= set(TUNABLES)
