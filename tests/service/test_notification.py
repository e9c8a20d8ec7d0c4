"""Messages of sd_notify(3): everything that may be said, and everything that may be wrong with it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.service.notification import LONGEST, Notification, parse


def test_what_systemd_notify_sends_is_understood() -> None:
    said = parse(b"READY=1\nSTATUS=hello\nMAINPID=4711")
    assert said == Notification(ready=True, status="hello", main_pid=4711)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        (b"RELOADING=1", "reloading", True),
        (b"STOPPING=1", "stopping", True),
        (b"MONOTONIC_USEC=1500000", "monotonic", 1.5),
        (b"ERRNO=2", "errno", 2),
        (b"BUSERROR=org.x.Y", "error_name", "org.x.Y"),
        (b"VARLINKERROR=io.x.Y", "error_name", "io.x.Y"),
        (b"WATCHDOG=1", "watchdog", True),
        (b"WATCHDOG=trigger", "watchdog_trigger", True),
        (b"WATCHDOG_USEC=250000", "watchdog_interval", 0.25),
        (b"EXTEND_TIMEOUT_USEC=30000000", "extend", 30.0),
        (b"FDSTORE=1", "store", True),
        (b"FDSTOREREMOVE=1", "store_remove", True),
        (b"FDNAME=conn-1", "store_name", "conn-1"),
        (b"FDPOLL=0", "store_poll", False),
        (b"BARRIER=1", "barrier", True),
        (b"NOTIFYACCESS=all", "access", "all"),
        (b"RESTART_RESET=1", "restart_reset", True),
        (b"EXIT_STATUS=3", "exit_status", 3),
        (b"X_MINE=a=b", "custom", (("X_MINE", "a=b"),)),
        (b"READY=0", "ready", False),
    ],
)
def test_each_field_is_read(line: bytes, field: str, value: object) -> None:
    assert getattr(parse(line), field) == value


@pytest.mark.parametrize(
    "line",
    [
        b"MAINPID=-1",
        b"MAINPID=0",
        b"MAINPID=me",
        b"WATCHDOG_USEC=0",
        b"ERRNO=5000",
        b"EXIT_STATUS=256",
        b"NOTIFYACCESS=everybody",
        b"FDNAME=a:b",
        b"FDNAME=",
        "FDNAME=é".encode(),
        b"no equals sign",
        b"small=1",
        "MAINPID=١".encode(),
    ],
)
def test_a_line_that_says_nothing_sensible_is_told_and_the_others_count(line: bytes) -> None:
    said = parse(line + b"\nREADY=1")
    assert said.ready
    assert len(said.wrong) == 1


@pytest.mark.parametrize("data", [b"READY=1\0STATUS=x", b"\0\0", b"S=" + b"x" * LONGEST])
def test_what_is_no_message_does_not_count_at_all(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"NUL|longer"):
        parse(data)


def test_one_nul_at_the_end_is_what_some_c_programs_send() -> None:
    assert parse(b"READY=1\n\0").ready


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse(data), Notification)
