"""The families of features, in the order in which status shows them. Each answers the questions of family.py."""

from arje.incarnate.families import files, filters, ids, joins, limits, namespaces, plumbing, privileges
from arje.incarnate.family import Family

FAMILIES: tuple[Family, ...] = (namespaces, joins, ids, privileges, files, limits, plumbing, filters)

__all__ = ["FAMILIES"]
