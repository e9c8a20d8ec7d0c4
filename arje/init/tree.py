"""The manager's own place in the tree of cgroups: a leaf, so that controllers can be handed down beside it.

A cgroup that holds processes may have no children with limits (admin-guide/cgroup-v2, "No Internal Process Constraint");
the root of the hierarchy is exempt, but what lies there is counted nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arje.kernel import cgroup

if TYPE_CHECKING:
    from arje.init.boot import Scene

NAME = "arje"


def take(scene: Scene) -> str:
    """Move this process into a leaf of its cgroup and hand down every controller. Raises OSError."""
    place = cgroup.own_place(NAME)
    if place is None:
        raise OSError("no cgroup2 shows the cgroup that we are in")
    leaf = cgroup.leaf_of(place, NAME)
    if cgroup.own() != leaf:
        cgroup.enter_leaf(place, NAME)
    given = cgroup.enable_controllers(place)
    lacking = set((place / "cgroup.controllers").read_text().split()) - given
    if lacking:
        raise OSError(f"not handed down: {', '.join(sorted(lacking))}; it has {', '.join(sorted(given)) or 'none'}")
    return f"{leaf}: {' '.join(sorted(given)) or 'no controllers'}"
