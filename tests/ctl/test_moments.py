"""Times as people write them, at half past ten on a day in Vienna's summer time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from arje.ctl.arguments import parse
from arje.ctl.moments import moment

NOON = 1_784_282_400.0  # 2026-07-17 10:00:00 UTC
NOW = NOON + 1800.5


@pytest.fixture(autouse=True)
def zone() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Vienna"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12:00", NOON),
        ("12:00:01.5", NOON + 1.5),
        ("2026-07-17 12:00", NOON),
        ("2026-07-17T12:00:00", NOON),
        ("2026-07-17 10:00Z", NOON),
        ("2026-07-17 10:00:00 UTC", NOON),
        ("2026-07-17T15:30:00+05:30", NOON),
        ("05:00-0500", NOON),
        ("2026-01-17 11:00", NOON - 181 * 86400),
        ("2026-07-17", NOON - 12 * 3600),
        ("today", NOON - 12 * 3600),
        ("yesterday", NOON - 36 * 3600),
        ("now", NOW),
        ("-5m", NOW - 300),
        ("-1h30m", NOW - 5400),
        ("- 2 h", NOW - 7200),
        ("90s ago", NOW - 90),
        ("1d 2h ago", NOW - 26 * 3600),
        ("@1784282400.25", NOON + 0.25),
    ],
)
def test_a_moment_is_understood(text: str, seconds: float) -> None:
    assert moment(text, NOW) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["", "soon", "5m", "25:00", "12:60", "2026-13-01", "2026-02-30", "@x", "12:00 Mars", "-"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time|could not convert"):
        moment(text, NOW)


def test_a_time_that_begins_with_a_minus_is_no_option() -> None:
    args = parse(["logs", "--since", "-5m", "web", "--until", "-1m", "-n", "3"])
    assert (args.since, args.until, args.labels, args.lines) == ("-5m", "-1m", ["web"], 3)
    assert parse(["web", "events", "--since", "-5m"]).labels == ["web"]
