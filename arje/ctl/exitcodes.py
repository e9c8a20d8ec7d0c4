"""The exit codes of arjectl: the LSB's, as systemctl and supervisorctl have them, and ours from 150.

Plain numbers: an enum costs arjectl as much time as all of its own modules.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class Query:
    """Answers of verbs that only look."""

    TRUE: Final = 0
    FALSE: Final = 1
    NOT_RUNNING: Final = 3
    NO_SUCH_SERVICE: Final = 4


class Action:
    """Answers of verbs that change something; from USAGE on some of them are those of all verbs."""

    DONE: Final = 0
    FAILED: Final = 1
    USAGE: Final = 2
    NO_PERMISSION: Final = 4
    NO_SUCH_SERVICE: Final = 5
    CARD_INVALID: Final = 6
    NOT_RUNNING: Final = 7
    UNREACHABLE: Final = 150
    DEPENDENTS: Final = 151
    TIMED_OUT: Final = 152
    ISOLATION_REFUSED: Final = 153
    DEGRADED: Final = 154
    PLAN_CHANGED: Final = 155
    NOT_PID1: Final = 156


_OF_ALL: Final = {
    2: "the command line is wrong",
    6: "a card is not valid",
    7: "the service does not run",
    150: "no manager can be reached",
    151: "refused: running services need it (--force)",
    152: "it took longer than --timeout",
    153: "isolation that the card requires cannot be had",
    154: "done, but degraded",
    155: "the plan has changed meanwhile, or was rolled back",
    156: "the manager is no machine's and no container's first process",
}
_OF_QUERIES: Final = {
    0: "it is so, or the service runs",
    1: "it is not so",
    3: "the service does not run",
    4: "no such service",
}
_OF_ACTIONS: Final = {0: "done", 1: "failed", 4: "this user may not", 5: "no such service"}


def meaning(code: int, *, query: bool) -> str:
    """Return what a code means, of a verb that only looks or of one that changes something."""
    return _OF_ALL.get(code) or (_OF_QUERIES if query else _OF_ACTIONS)[code]
