"""The families of features, in the order in which status shows them. Each answers the questions of family.py."""

from arje.incarnate.families import files, ids, limits, namespaces, network, plumbing
from arje.incarnate.family import Family

FAMILIES: tuple[Family, ...] = (namespaces, network, ids, files, limits, plumbing)

__all__ = ["FAMILIES"]
