"""The families of features, in the order in which status shows them. Each answers the questions of family.py."""

from arje.incarnate.families import (
    cgroups,
    files,
    filters,
    ids,
    joins,
    limits,
    namespaces,
    network,
    plumbing,
    priority,
    privileges,
)
from arje.incarnate.family import Family

FAMILIES: tuple[Family, ...] = (
    namespaces,
    network,
    joins,
    ids,
    privileges,
    files,
    cgroups,
    limits,
    priority,
    plumbing,
    filters,
)

__all__ = ["FAMILIES"]
