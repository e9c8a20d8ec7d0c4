"""Why an overlay in a user namespace is EINVAL: what is mounted below a layer there is locked (mount_namespaces(7)).

The kernel takes no layer that would show what is hidden by a mount that may not be taken away, and a new user namespace may
take away none of those that it was born with: so ``lower = "/"`` is root's alone. Mounts come and go; a start asks the
kernel, and only a forecast looks before.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from arje.card.soma import Soma
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.family import lose
from arje.incarnation import Cause, Degradation
from arje.kernel import mounts
from arje.kernel.facts import Facts

SYSCALL = "mount overlay"


def foresee(plan: Blueprint) -> Degradation | None:
    """Return the loss of an overlay whose layers are locked; None when it may be had. Never follows a symlink."""
    return explain(plan, errno.EINVAL, SYSCALL) if "user" in plan.kinds else None


def explain(plan: Blueprint, number: int, syscall: str) -> Degradation | None:
    """Return what an overlay's EINVAL means here; None when it means something else."""
    inside = "user" in plan.kinds or mounts.in_user_namespace()
    if (number, syscall) != (errno.EINVAL, SYSCALL) or "overlay" not in plan.has or not inside:
        return None
    found = next(_locked(plan.soma, Facts.of_now()), None)
    if found is None:
        return None
    wish = next(wish for wish in plan.wishes if wish.feature == "overlay")
    detail = f"in a user namespace a layer may have nothing mounted below it, and {found[1]} is below {found[0]}"
    remedy = "name a directory without mounts below it, such as /usr, or run the manager as root"
    return lose(wish, Cause.NOT_DELEGATED, detail, remedy, errno=number, syscall=syscall)


def _locked(soma: Soma, now: Facts) -> Iterator[tuple[str, str]]:
    """Yield layers with a mount below each."""
    assert soma.overlay is not None
    for layer in filter(None, (*soma.overlay.lower, soma.overlay.upper)):
        below = next((mount.point for mount in now.mounts_below(layer) if mount.point != layer), None)
        if below is not None:
            yield layer, below
