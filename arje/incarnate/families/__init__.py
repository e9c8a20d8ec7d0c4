"""The families of features, in the order in which status shows them. Each answers the questions of family.py."""

from arje.incarnate.families import cgroups, files, ids, limits, namespaces, plumbing, priority
from arje.incarnate.family import Family

FAMILIES: tuple[Family, ...] = (namespaces, ids, files, cgroups, limits, priority, plumbing)

__all__ = ["FAMILIES"]
