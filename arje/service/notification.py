"""What a service says of itself by sd_notify(3): the text of one datagram as data. Pure; who sent it is another's question.

The protocol is lines ``NAME=value``. What is not known is not an error: newer services say more than we ask. A value that
is none (``WATCHDOG_USEC=soon``) is left out and told in ``wrong``, and the rest of the message counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: Bytes of the longest message (PIPE_BUF; sd_notify(3) sends no longer one).
LONGEST: Final = 4096
_NAME: Final = re.compile("[A-Z0-9_]+")
_FD_NAME: Final = re.compile("[!-9;-~]{1,255}")  # printable ASCII without the colon (sd_pid_notify_with_fds(3))
ACCESS: Final = ("none", "main", "exec", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message. Times are seconds; a field that was not said is None or False."""

    ready: bool = False
    reloading: bool = False
    stopping: bool = False
    monotonic: float | None = None
    """CLOCK_MONOTONIC of ``RELOADING=1``."""
    status: str | None = None
    errno: int | None = None
    error_name: str | None = None
    """``BUSERROR`` or ``VARLINKERROR``."""
    main_pid: int | None = None
    watchdog: bool = False
    watchdog_trigger: bool = False
    watchdog_interval: float | None = None
    extend: float | None = None
    """Seconds from now that it asks for."""
    store: bool = False
    store_remove: bool = False
    store_name: str = "stored"
    store_poll: bool = True
    barrier: bool = False
    access: str | None = None
    restart_reset: bool = False
    exit_status: int | None = None
    custom: tuple[tuple[str, str], ...] = ()
    """``X_…`` variables."""
    wrong: tuple[str, ...] = ()
    """Lines that were left out, each with its reason."""


def parse(data: bytes) -> Notification:
    """Return what a datagram says. Raises ValueError for one that is no message at all; nothing of it counts then."""
    if len(data) > LONGEST:
        raise ValueError(f"longer than {LONGEST} bytes")
    body = data.removesuffix(b"\0")
    if b"\0" in body:
        raise ValueError("a NUL byte in it")
    said: dict[str, str] = {}
    wrong = []
    for line in body.decode(errors="replace").split("\n"):
        name, equals, value = line.partition("=")
        if not line:
            continue
        if not equals or not _NAME.fullmatch(name):
            wrong.append(f"{line[:80]!r}: no NAME=value")
        else:
            said[name] = value
    return _of(said, wrong)


def _of(said: dict[str, str], wrong: list[str]) -> Notification:
    def number(name: str, least: int = 0, most: int = 2**64 - 1) -> int | None:
        if (text := said.get(name)) is None:
            return None
        if text.isascii() and text.isdecimal() and least <= int(text[:24]) <= most:
            return int(text)
        wrong.append(f"{name}={text[:40]}: no number from {least} to {most}")
        return None

    def seconds(name: str, least: int = 0) -> float | None:
        value = number(name, least)
        return None if value is None else value / 1e6

    def one_of(name: str, known: tuple[str, ...]) -> str | None:
        if (value := said.get(name)) is None or value in known:
            return value
        wrong.append(f"{name}={value[:40]}: not {', '.join(known)}")
        return None

    name = said.get("FDNAME", "stored")
    if not _FD_NAME.fullmatch(name):
        wrong.append(f"FDNAME={name[:40]}: not 1 to 255 printable characters without a colon")
        name = "stored"
    watchdog = said.get("WATCHDOG")
    return Notification(
        ready=said.get("READY") == "1",
        reloading=said.get("RELOADING") == "1",
        stopping=said.get("STOPPING") == "1",
        monotonic=seconds("MONOTONIC_USEC"),
        status=said.get("STATUS"),
        errno=number("ERRNO", 0, 4095),
        error_name=said.get("VARLINKERROR") or said.get("BUSERROR"),
        main_pid=number("MAINPID", 1, 2**22),
        watchdog=watchdog == "1",
        watchdog_trigger=watchdog == "trigger",
        watchdog_interval=seconds("WATCHDOG_USEC", 1),
        extend=seconds("EXTEND_TIMEOUT_USEC", 1),
        store=said.get("FDSTORE") == "1",
        store_remove=said.get("FDSTOREREMOVE") == "1",
        store_name=name,
        store_poll=said.get("FDPOLL") != "0",
        barrier=said.get("BARRIER") == "1",
        access=one_of("NOTIFYACCESS", ACCESS),
        restart_reset=said.get("RESTART_RESET") == "1",
        exit_status=number("EXIT_STATUS", 0, 255),
        custom=tuple((name, value) for name, value in said.items() if name.startswith("X_")),
        wrong=tuple(wrong),
    )
