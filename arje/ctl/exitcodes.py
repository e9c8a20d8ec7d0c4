"""The exit codes of arjectl: the LSB's, as systemctl and supervisorctl have them, and ours from 150."""

from __future__ import annotations

from enum import IntEnum


class Query(IntEnum):
    """Answers of verbs that only look."""

    TRUE = 0
    FALSE = 1
    NOT_RUNNING = 3
    NO_SUCH_SERVICE = 4


class Action(IntEnum):
    """Answers of verbs that change something."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_PERMISSION = 4
    NO_SUCH_SERVICE = 5
    CARD_INVALID = 6
    NOT_RUNNING = 7
    UNREACHABLE = 150
    DEPENDENTS = 151
    TIMED_OUT = 152
    ISOLATION_REFUSED = 153
    DEGRADED = 154
    PLAN_CHANGED = 155
