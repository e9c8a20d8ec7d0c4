"""When calendar expressions come, in the nights of the year that have no 02:30 or two, and compared with systemd's own."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card.calendar import Calendar, at_least
from arje.card.on_calendar import parse
from arje.service.calendar import next_after, zone_of

#: Zones with a change at 02:00, at midnight, by half an hour, of the southern half, none, and one that lost a whole day.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Pacific/Apia",
    "UTC",
)


def moment(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone_of(zone), fold=fold).timestamp()


def come(text: str, since: str, zone: str, count: int) -> list[str]:
    """The next moments of an expression, as the clock shows them with the offset in hours."""
    found, wall = list[str](), moment(since, zone)
    for _ in range(count):
        after = next_after(parse(text), wall, zone_of(zone))
        assert after is not None
        wall = after
        found.append(f"{datetime.fromtimestamp(wall, zone_of(zone)):%m-%d %H:%M:%S%z}"[:17])
    return found


@pytest.mark.parametrize(
    ("text", "since", "zone", "expected"),
    [
        # no 02:30: right after the gap; and once, however many fall into it
        ("2:30", "2026-03-28 12:00", "Europe/Berlin", ["03-29 03:00:00+02", "03-30 02:30:00+02"]),
        ("2:0/10", "2026-03-28 12:00", "Europe/Berlin", ["03-29 03:00:00+02", "03-30 02:00:00+02"]),
        ("2,3:0", "2026-03-28 12:00", "Europe/Berlin", ["03-29 03:00:00+02", "03-30 02:00:00+02"]),
        ("daily", "2026-03-28 12:00", "Asia/Beirut", ["03-29 01:00:00+03", "03-30 00:00:00+03"]),
        ("2:15", "2026-10-03 12:00", "Australia/Lord_Howe", ["10-04 02:30:00+11", "10-05 02:15:00+11"]),
        # 02:30 twice: the first time
        ("2:30", "2026-10-24 12:00", "Europe/Berlin", ["10-25 02:30:00+02", "10-26 02:30:00+01"]),
        (
            "1,2,3:30",
            "2026-10-25 01:00",
            "Europe/Berlin",
            ["10-25 01:30:00+02", "10-25 02:30:00+02", "10-25 03:30:00+01"],
        ),
        ("daily", "2026-04-04 12:00", "America/Santiago", ["04-05 00:00:00-04", "04-06 00:00:00-04"]),
        # of every hour: as time runs
        (
            "*:0/30",
            "2026-10-25 01:45",
            "Europe/Berlin",
            ["10-25 02:00:00+02", "10-25 02:30:00+02", "10-25 02:00:00+01", "10-25 02:30:00+01", "10-25 03:00:00+01"],
        ),
        (
            "*:0/30",
            "2026-03-29 01:15",
            "Europe/Berlin",
            ["03-29 01:30:00+01", "03-29 03:00:00+02", "03-29 03:30:00+02"],
        ),
        ("*:30", "2026-03-29 01:15", "Europe/Berlin", ["03-29 01:30:00+01", "03-29 03:30:00+02"]),
        (
            "*:45",
            "2026-04-05 01:00",
            "Australia/Lord_Howe",
            ["04-05 01:45:00+11", "04-05 01:45:00+10", "04-05 02:45:00+10"],
        ),
        # a day that a country left out
        ("*-12-30 12:00", "2011-12-29 12:00", "Pacific/Apia", ["12-31 00:00:00+14"]),
        ("12:00", "2011-12-29 12:00", "Pacific/Apia", ["12-31 00:00:00+14", "12-31 12:00:00+14"]),
        # the expression's own zone wins
        ("12:00 UTC", "2026-07-01 00:00", "Europe/Berlin", ["07-01 14:00:00+02"]),
    ],
)
def test_in_the_nights_of_a_change(text: str, since: str, zone: str, expected: list[str]) -> None:
    assert come(text, since, zone, len(expected)) == expected


def test_the_second_round_of_the_clock_is_left_out_by_named_hours() -> None:
    second = moment("2026-10-25 02:10", "Europe/Berlin", fold=1)
    after = next_after(parse("2:30"), second, zone_of("Europe/Berlin"))
    assert after == moment("2026-10-26 02:30", "Europe/Berlin")


def test_an_expression_of_the_past_comes_no_more() -> None:
    assert next_after(parse("2020-01-01"), moment("2026-01-01"), UTC) is None
    assert next_after(parse("daily"), moment("2200-01-01"), UTC) is None


def test_fractions_of_seconds_come() -> None:
    assert next_after(parse("*:*:0/0.25"), moment("2026-01-01") + 0.3, UTC) == moment("2026-01-01") + 0.5


# -- against the definition, minute by minute ----------------------------------------------------------------------------


def matches(expression: Calendar, face: datetime) -> bool:
    """Whether a face of a clock is one of an expression of whole minutes; written from the grammar's own words."""
    month_length = (face.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    day = month_length.day - face.day + 1 if expression.from_end else face.day
    parts = zip(
        (expression.years, expression.months, expression.days, expression.hours, expression.minutes),
        (face.year, face.month, day, face.hour, face.minute),
        strict=True,
    )
    return face.weekday() in expression.weekdays and all(at_least(spans, value) == value for spans, value in parts)


def moments(expression: Calendar, since: datetime, until: datetime, zone: str) -> list[float]:
    """Every moment of an expression, found by walking from minute to minute with both eyes on the clock."""
    every = all(at_least(expression.hours, hour) == hour for hour in range(24))
    found, seen, last = list[float](), set[datetime](), None
    now = since
    while now <= until:
        face = now.astimezone(zone_of(zone)).replace(tzinfo=None, fold=0)
        due = matches(expression, face) and (every or face not in seen)
        if last is not None and face > last + timedelta(minutes=1) and not every:  # the clock has jumped
            lost = (last + timedelta(minutes=n) for n in range(1, (face - last) // timedelta(minutes=1)))
            due = due or any(matches(expression, each) for each in lost)
        if due and now > since:
            found.append(now.timestamp())
        seen.add(face)
        last = face
        now += timedelta(minutes=1)
    return found


CHANGES: dict[str, list[datetime]] = {zone: [] for zone in ZONES}
for name in ZONES:
    day = datetime(2011, 1, 1, tzinfo=UTC)
    while day < datetime(2028, 1, 1, tzinfo=UTC):
        following = day + timedelta(days=1)
        if day.astimezone(zone_of(name)).utcoffset() != following.astimezone(zone_of(name)).utcoffset():
            CHANGES[name].append(day)
        day = following
    CHANGES[name] = CHANGES[name] or [datetime(2026, 1, 1, tzinfo=UTC)]

numbers = st.integers


def component(least: int, most: int) -> st.SearchStrategy[str]:
    one = numbers(least, most).map(str)
    span = st.tuples(numbers(least, most), numbers(least, most)).map(lambda ends: f"{min(ends)}..{max(ends)}")
    step = st.tuples(numbers(least, most), numbers(1, most - least)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.one_of(st.just("*"), st.lists(st.one_of(one, span, step), min_size=1, max_size=3).map(",".join))


expressions = st.builds(
    lambda week, month, dash, day, hour, minute: f"{week} *-{month}{dash}{day} {hour}:{minute}".strip(),
    st.sampled_from(["", "Mon..Fri", "Sat,Sun", "Sun"]),
    st.just("*"),
    st.just("-"),
    st.one_of(st.just("*"), st.just("*"), component(1, 31)),
    component(0, 23),
    component(0, 59),
)


@given(st.data())
def test_the_next_time_is_the_first_of_all_that_the_definition_has(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(ZONES))
    expression = parse(data.draw(expressions))
    change = data.draw(st.sampled_from(CHANGES[zone]))
    since = change + timedelta(minutes=data.draw(numbers(-3 * 60, 27 * 60)))
    lead = since - timedelta(hours=26)  # what the clock showed before, so that a second round is known as one
    until = since + timedelta(hours=30)
    later = [at for at in moments(expression, lead, until, zone) if at > since.timestamp()]
    after = next_after(expression, since.timestamp(), zone_of(zone))
    if later:
        assert after == later[0]
    else:
        assert after is None or after > until.timestamp()


@given(st.data())
def test_times_come_one_after_the_other_and_on_the_face_of_the_clock(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(ZONES))
    expression = parse(data.draw(expressions))
    wall = data.draw(st.floats(1.2e9, 4e9))
    for _ in range(5):
        after = next_after(expression, wall, zone_of(zone))
        assert after is not None
        assert after > wall
        local = datetime.fromtimestamp(after, zone_of(zone))
        before = datetime.fromtimestamp(after - 1, zone_of(zone))
        jumped = local.utcoffset() != before.utcoffset()
        assert matches(expression, local.replace(tzinfo=None, fold=0)) or jumped
        wall = after


# -- against systemd -----------------------------------------------------------------------------------------------------


def systemds(text: str, since: datetime, zone: str, count: int) -> list[str]:
    """What systemd-analyze(1) says; empty when it says that it never comes."""
    words = ["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time={since:%Y-%m-%d %H:%M:%S} UTC", text]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={"TZ": zone, "PATH": "/usr/bin:/bin"})
    return re.findall(r"(?:elapse|#\d+): \w+ ([\d-]+ [\d:]+)", done.stdout)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize(
    "text",
    [
        *("Sat,Thu,Mon..Wed,Sat..Sun", "Mon,Sun 27-*-* 2,1:23", "Wed *-1", "Wed, 17:48", "10-15", "*-*-7 0:0:0"),
        *("monday *-12-* 17:00", "Mon,Fri *-*-3,1,2 *:30:45", "12..14:10,20,30", "mon,fri *-1/2-1,3 *:30:45"),
        *("Sat,Sun 12-05 08:05:40", "2030-03-05 05:40", "2027-02..04-05", "hourly", "weekly", "monthly", "quarterly"),
        *("semiannually", "yearly", "minutely", "*:2/3", "*-*~1", "Mon *-05~07/1", "*-02~03", "*-*~1..3 4:0", "02~01"),
        *("*-02-29", "*:*:5..20/7", "2026..2040/3-02-28", "0/5:0", "Mon 2026-11-25", "2020-01-01", "@1999999999"),
        *("*-*-* 07..23:30", "Sun *-*-1..7 1:00:00", "*-*-29/2 12:00", "*-*~5..28/4"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_systemd_says_the_same(text: str, zone: str) -> None:
    since = datetime(2026, 11, 25, 21, 3, 7, tzinfo=UTC)
    try:
        expression = parse(text)
    except ValueError:
        assert systemds(text, since, zone, 1) == [], "only what never comes is refused"
        return
    found, wall = list[str](), since.timestamp()
    while len(found) < 6 and (after := next_after(expression, wall, ZoneInfo(zone))) is not None:
        wall = after
        found.append(f"{datetime.fromtimestamp(wall, ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}")
    assert found == systemds(text, since, zone, 6)
