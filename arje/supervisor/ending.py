"""What a start that did not happen, and the end of a life, say in the record."""

from __future__ import annotations

import errno
from typing import Final

from arje.errors import IncarnationRefused, SetupFailed, errno_text
from arje.service.record import Failure, FailureReason

#: The machine has no room: a later start may find some (clone(2), open(2), execve(2)).
_NO_ROOM: Final = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC})
_ROOM: Final = {
    errno.EMFILE: "raise the manager's RLIMIT_NOFILE, or run fewer services",
    errno.ENFILE: "raise fs.file-max, or run fewer services",
    errno.EAGAIN: "raise RLIMIT_NPROC, kernel.pid_max or pids.max of the manager's cgroup",
    errno.ENOMEM: "the machine is out of memory",
    errno.ENOSPC: "a disk is full, or a limit under /proc/sys/user is reached",
}

NotStarted = IncarnationRefused | SetupFailed | OSError


def failure_of(error: NotStarted) -> Failure:
    """Return the record of a start that did not happen."""
    if isinstance(error, IncarnationRefused):
        hint = "; ".join(loss.remedy for loss in error.degradations if loss.remedy)
        return Failure(reason=FailureReason.ISOLATION_REFUSED, detail=str(error), hint=hint)
    number = error.errno or 0
    text = errno_text(number) if number else ""
    if isinstance(error, SetupFailed):
        return Failure(
            reason=FailureReason.RESOURCES if number in _NO_ROOM else FailureReason.SETUP,
            step=error.step.value,
            errno=number,
            path=error.detail,
            field=error.field,
            hint=error.hint or _ROOM.get(number, ""),
            detail=": ".join(filter(None, (error.detail, text))),
        )
    path = error.filename if isinstance(error.filename, str) else ""
    detail = text or str(error)
    return Failure(reason=FailureReason.RESOURCES, errno=number, path=path, hint=_ROOM.get(number, ""), detail=detail)
