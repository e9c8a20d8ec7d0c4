"""What only the parent can do for a child that waits at its gate, and how a refusal of the kernel becomes words."""

from __future__ import annotations

import errno
import functools
import os
import stat
from pathlib import Path
from typing import Final

from arje import native
from arje.errors import SetupFailed, errno_name
from arje.incarnate import layers
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.families import FAMILIES, cgroups, files
from arje.incarnate.families.landlocked import EXEC_HINT
from arje.incarnate.families.mount_plan import has_new_root
from arje.incarnate.family import Applier, Narrowed, loss_by
from arje.incarnation import Degradation, Step
from arje.kernel.capabilities import CGROUP_FILES
from arje.kernel.cgroup import Cgroup


def write_limits(plan: Blueprint, group: Cgroup) -> tuple[Degradation, ...]:
    """Write the cgroup's limits and say whose it is, before anything enters it; return what the kernel refused."""
    if plan.soma.cgroup is None:
        return ()
    losses = []
    for wish in plan.wishes:
        if not wish.feature.startswith("cgroup.") or wish.feature not in plan.has:
            continue
        name = wish.feature.removeprefix("cgroup.")
        try:
            if name == "delegate":
                group.delegate(*cgroups.outside(plan))
            else:
                cgroups.write(group, plan.soma.cgroup, name)
        except OSError as error:
            call = f"write {CGROUP_FILES[name][1]}" if name in CGROUP_FILES else "chown"
            losses.append(loss_by(wish, error, call))
    return tuple(losses)


APPLIERS: Final[dict[str, Applier]] = {name: applier for family in FAMILIES for name, applier in family.APPLY.items()}


@functools.cache
def applier_of(feature: str) -> Applier | None:
    """Return what the parent does for a feature, by its own name or by its family's."""
    return APPLIERS.get(feature) or APPLIERS.get(feature.partition(".")[0])


def apply(plan: Blueprint, pid: int) -> tuple[Degradation, ...]:
    """Do what only the parent can do for the waiting child; return what the kernel refused or narrowed."""
    losses = []
    for wish in plan.wishes:
        if (applier := applier_of(wish.feature)) is None or wish.feature not in plan.has:
            continue
        try:
            applier(plan, wish, pid)
        except Narrowed as narrowed:
            losses.append(narrowed.degradation)
        except (OSError, ValueError) as error:
            said = error if isinstance(error, OSError) else OSError(22, str(error))
            losses.append(loss_by(wish, said, "prlimit" if wish.feature.startswith("rlimit") else wish.feature))
    return tuple(losses)


def failure(plan: Blueprint, record: native.Record) -> SetupFailed:
    """Return the error that a FATAL or EXEC_FAILED record means, with the card's field and line."""
    step = Step(record.step)
    field, detail, hint = "", record.syscall, ""
    if record.kind == native.EXEC_FAILED:
        field = "payload.exec"
        detail = os.fsdecode(plan.program.paths[0]) if len(plan.program.paths) == 1 else plan.program.argv[0].decode()
        hint = "" if has_new_root(plan.soma) else _why_not_executable(detail)
        if not hint and record.errno == errno.EACCES and "landlock" in plan.has:
            hint = EXEC_HINT
    elif plan.ops and record.op_index < len(plan.ops) and plan.ops[record.op_index].op.step == record.step:
        planned = plan.ops[record.op_index]
        field, detail = planned.field, f"{planned.words} ({record.syscall})"
        hint = files.hint(record.syscall, errno_name(record.errno))
        if (known := layers.explain(plan, record.errno, record.syscall)) is not None:
            detail, hint = f"{detail}: {known.detail}", known.remedy
    line = plan.card.source.line_of(field)
    return SetupFailed(plan.card.label, step, record.errno, field, detail, hint=hint, line=line)


def _why_not_executable(path: str) -> str:
    """Look at a program that execve(2) refused and say what is wrong with it; empty when nothing is to be seen."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return "it is a directory"
        if not mode & 0o111:
            return "it is not executable: chmod +x"
        with open(path, "rb") as program:
            first = program.readline(256)
    except FileNotFoundError:
        return "there is no such file"
    except OSError:
        return ""
    if first.startswith(b"#!"):
        interpreter = os.fsdecode(first[2:].split()[0]) if first[2:].split() else ""
        if not Path(interpreter).exists():
            return f"its interpreter {interpreter!r} is missing"
    return ""
