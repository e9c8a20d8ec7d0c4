"""Watching an incarnation: each of its system calls waits until a thread of ours lets it through (seccomp_unotify(2)).

The filter is set in the child, before it gives up any right that setting it needs, and its listener is taken by us with
pidfd_getfd(2) before exec closes it. A filter stays for life, and without a listener its calls fail with ENOSYS: so the
thread answers until nobody is left who could call, long after anybody wants to know; when it cannot, it kills whom
it watches. A call that was seen once, and whose
arguments say nothing, is let through in C.

What is written down may be a lie of the service's (another thread may change a path after we have read it): it becomes a
proposal to a person, never a permission.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from dataclasses import replace
from typing import Final

from arje import log, native
from arje.card.syscalls import KNOWN
from arje.incarnate import calls
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.caller import Caller
from arje.incarnate.seen import Seen
from arje.incarnate.setup import PlannedOp
from arje.kernel import seccomp
from arje.native import filtering, notices

LOG = log.logger()
THREAD: Final = "arje-observer"
#: The first of these ops, the filter comes right before it: here the right to set one is there, if it ever is.
_FIRST_LATE: Final = native.STEP_NUMBER["observe"]


class Observer:
    """What was seen of one service, in all its incarnations since. ``allowed``: other calls are refused, and counted."""

    def __init__(self, allowed: frozenset[str] | None = None) -> None:
        self.seen = Seen()
        self._allowed = allowed
        self._silent = bytearray(notices.NUMBERS)
        self._over = False
        self.began = threading.Event()
        """Set when something of the payload itself was seen, or when nothing will be."""

    def attach(self, pid: int, fd: int) -> None:
        """Take the listener of a child that waits before exec, and answer it from now on. Raises OSError."""
        self._silent[:] = bytes(notices.NUMBERS)
        self.seen.started = False
        with contextlib.ExitStack() as on_failure:
            payload = os.pidfd_open(pid)
            on_failure.callback(os.close, payload)
            listener = notices.take_fd(pid, fd)
            on_failure.callback(os.close, listener)
            try:
                threading.Thread(target=self._run, args=(listener, payload), name=THREAD, daemon=True).start()
            except RuntimeError as error:  # as Python says that there can be no thread more
                raise OSError(errno.EAGAIN, str(error)) from error
            on_failure.pop_all()

    def stop(self) -> None:
        """Look at nothing any more; what waits goes on, until the end of who is watched."""
        self._over = True
        self._allowed = None
        self._silent[:] = b"\1" * notices.NUMBERS

    def _run(self, listener: int, payload: int) -> None:
        try:
            while (notice := notices.next_notice(listener, self._silent)) is not None:
                notices.answer(listener, notice, self._judge(notice))
        except (OSError, MemoryError) as error:
            LOG.error("a service is not watched any more, and cannot go on", error=str(error))
            with contextlib.suppress(OSError):  # or its calls would wait for ever, or fail with ENOSYS one by one
                signal.pidfd_send_signal(payload, signal.SIGKILL)
        finally:
            os.close(listener)
            os.close(payload)
            self.began.set()

    def _judge(self, notice: notices.Notice) -> int:
        """Take note of a call. Returns 0, or the errno that it gets."""
        name = filtering.syscall_name(notice.number)
        if self._over:
            return 0
        try:
            return self._refusal(name) or self._note(notice, name)
        except (OSError, LookupError, ValueError):  # it is gone, or what it says means nothing
            self.seen.unread += 1
        except Exception:
            LOG.exception("a system call was not understood", call=name)
            self.seen.unread += 1
        return 0

    def _refusal(self, name: str) -> int:
        if self._allowed is None or not self.seen.started or name in self._allowed:
            return 0
        self.seen.refused[name] = self.seen.refused.get(name, 0) + 1
        return errno.EPERM if name in KNOWN else errno.ENOSYS  # as families/filters.py has it

    def _note(self, notice: notices.Notice, name: str) -> int:
        caller = Caller(notice.pid)
        if not self.seen.started:
            if name == "execve":  # what came before was arje's own set-up
                calls.note(self.seen, name, caller, notice.args)
            elif self.seen.execute and name not in ("sendto", "exit_group", "clock_gettime"):
                self.seen.started = True
                self.began.set()
                self.seen.powerful = self.seen.powerful or bool(caller.capabilities)
        if self.seen.started:
            if name not in calls.NOTES and notice.number < notices.NUMBERS and self._allowed is None:
                self._silent[notice.number] = 1
            calls.note(self.seen, name, caller, notice.args)
        return 0


def observed(blueprint: Blueprint, observer: Observer) -> Blueprint:
    """Return a plan whose payload is watched from its first instruction on."""
    program = notices.observing_filter(seccomp.arch(), seccomp.number_of("sendto"))
    ops = list(blueprint.ops)
    late = (at for at, planned in enumerate(ops) if native.STEP_NUMBER[planned.op.step] >= _FIRST_LATE)
    at = next(late, len(ops))
    added = [PlannedOp(native.Op("observe", a=len(program) // 8, p=program), "", "", "every system call is watched")]
    if os.geteuid() != 0 and "user" not in blueprint.kinds:
        added.insert(0, PlannedOp(native.Op("no-new-privs"), "", "", "or nobody may watch it"))
    return replace(blueprint, ops=(*ops[:at], *added, *ops[at:]), watcher=observer.attach)
