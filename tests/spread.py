"""How `make test` spreads the tests over its workers (pytest-xdist): processes, each with its own session's fixtures.

Most tests wait for real processes more than they compute, so there are more workers than processors. A worker that runs
out is given the next unit: one test, or tests that stay together. Long units come first, or the last of them would run
alone at the end; the small change of files full of quick tests comes last.
"""

from __future__ import annotations

import os
import re
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

_PER_CPU: Final = 2  # workers
_MOST: Final = 16  # workers: more would be started for longer than they run
#: What stays together, named by the group that matches.
_TOGETHER: Final = (
    r"(tests/vm)/",  # an emulated processor takes a whole real one: one virtual machine at a time
    r"(tests/test_commands\.py)::",  # the examples have fixed ports
    r"(tests/incarnate/\w+\.py)::",  # quick; those of faults share a process under strace
    r"(tests/(?:(?:card|kernel|native|service)/\w+|test_floors)\.py)::",  # quick
)
#: Beginnings of what takes longest, in this order.
_FIRST: Final = (
    *("tests/vm/", "tests/test_commands.py", "tests/incarnate/test_soak.py", "tests/test_linters.py"),
    *(
        "tests/manager/test_cards.py::test_five_hundred",
        "tests/supervisor/test_explore.py",
        "tests/manager/test_lean.py",
    ),
)


def unit(nodeid: str) -> str:
    """Return the name of the unit that a test belongs to: its tests run in one worker, one after the other."""
    found = next(filter(None, (re.match(pattern, nodeid) for pattern in _TOGETHER)), None)
    return found[1] if found else nodeid


def rank(nodeid: str) -> int:
    """Return when a test's turn comes: the lowest first."""
    early = next((place for place, start in enumerate(_FIRST) if nodeid.startswith(start)), None)
    return early if early is not None else len(_FIRST) + (unit(nodeid) != nodeid)


class Spread(LoadScopeScheduling):
    """Hands out units in the order of the collection, which :func:`pytest_collection_modifyitems` has put right."""

    def __init__(self, config: pytest.Config, log: object = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def pytest_xdist_auto_num_workers() -> int:
    return min(_PER_CPU * len(os.sched_getaffinity(0)), _MOST)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Spread:
    return Spread(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))
