"""What a start that did not happen, and the end of a life, say in the record."""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from typing import Final

from arje.card import signals
from arje.card.supervision import RestartWhen, Supervision
from arje.errors import IncarnationRefused, SetupFailed, errno_text
from arje.incarnation import Exit
from arje.kernel.usage import Usage
from arje.service.record import Failure, FailureReason
from arje.service.restart import reason_of
from arje.supervisor.vigil import Doom

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


@dataclass(frozen=True, slots=True)
class End:
    """How a life ended, and what is known of it beside the status: ``doom`` is why arje ended it, ``oom`` whether the
    kernel did for want of memory, ``mute`` whether it should have said first that it is ready; ``said`` is what it told of
    itself: an errno and an error's name; ``used`` is what it had used."""

    exit: Exit
    doom: Doom | None = None
    oom: bool = False
    mute: bool = False
    said: tuple[int, str] = (0, "")
    used: Usage | None = None

    @property
    def because(self) -> FailureReason | None:
        """The reason that the exit status does not tell; None when it tells all."""
        if self.doom is not None and self.doom.reason is not None:
            return self.doom.reason
        if self.oom:
            return FailureReason.OOM_KILL
        return FailureReason.PROTOCOL if self.mute and self.exit.ok else None

    @property
    def detail(self) -> str:
        """What happened, in words that go before the rule of the card."""
        if self.doom is not None:
            return self.doom.detail
        return "it ended before it was ready" if self.mute else ""

    def reason(self, supervision: Supervision) -> FailureReason | None:
        """Return why this ending is a failure; None for a success."""
        return self.because or reason_of(supervision, self.exit)

    def rules(self, supervision: Supervision) -> Supervision:
        """Return the rules by which it starts again: those of the card, unless it is not to."""
        if self.doom is not None and (self.doom.again or self.doom.rests):
            ending = self.exit.code if self.exit.kind == "exited" else signals.name_of(self.exit.code)
            good = replace(supervision, success_exit=(*supervision.success_exit, ending))
            if self.doom.rests:
                return replace(good, restart=RestartWhen.NEVER, restart_on=())
            return replace(good, restart=RestartWhen.ALWAYS, no_restart_on=())
        if self.doom is None or not self.doom.final:
            return supervision
        return replace(supervision, restart=RestartWhen.NEVER, restart_on=())

    def failure(self, reason: FailureReason, told: str) -> Failure:
        """Return the record of a failure."""
        number, name = self.said
        text = ": ".join(filter(None, (told, name)))
        return Failure(reason=reason, step=self.doom.step if self.doom else "", errno=number, detail=text)


def exit_status(exit: Exit) -> str:
    """Return EXIT_STATUS as systemd.exec(5) has it: the code, or the signal's name."""
    return str(exit.code) if exit.kind in ("exited", "unknown") else signals.name_of(exit.code)
