"""The grammar of calendar expressions and of cron's lines: what is understood, and what is said of the rest."""

from __future__ import annotations

from datetime import datetime

import pytest

from arje.card import cron
from arje.card.calendar import Calendar, Span
from arje.card.on_calendar import WORDS, parse
from arje.card.unreadable import Unreadable


def faces(calendars: tuple[Calendar, ...], since: str, count: int) -> list[str]:
    """The first faces of a clock that any of some expressions matches."""
    found, least = list[str](), datetime.fromisoformat(since)
    while len(found) < count:
        here = min(face for one in calendars if (face := one.face(least)) is not None)
        found.append(f"{here:%a %Y-%m-%d %H:%M:%S}")
        least = here.replace(microsecond=0)
        least = datetime.fromtimestamp(least.timestamp() + 1)
    return found


@pytest.mark.parametrize(
    ("text", "same"),
    [  # the examples of systemd.time(7), and the normal form that it gives
        ("Sat,Thu,Mon..Wed,Sat..Sun", "Mon..Thu,Sat,Sun *-*-* 00:00:00"),
        ("Mon,Sun 12-*-* 2,1:23", "Mon,Sun 2012-*-* 02,01:23:00"),
        ("Wed *-1", "Wed *-*-01 00:00:00"),
        ("Wed..Wed,Wed *-1", "Wed *-*-01 00:00:00"),
        ("Wed, 17:48", "Wed *-*-* 17:48:00"),
        ("Wed-Sat,Tue 12-10-16 1:2:3", "Tue..Sat 2012-10-16 01:02:03"),
        ("*-*-7 0:0:0", "*-*-07 00:00:00"),
        ("10-15", "*-10-15 00:00:00"),
        ("monday *-12-* 17:00", "Mon *-12-* 17:00:00"),
        ("12,14,13,12:20,10,30", "*-*-* 12,14,13,12:20,10,30:00"),
        ("mon,fri *-1/2-1,3 *:30:45", "Mon,Fri *-01/2-01,03 *:30:45"),
        ("05:40:23.4200004/3.1700005", "*-*-* 05:40:23.420000/3.170001"),
        ("2003-02..04-05", "2003-02..04-05 00:00:00"),
        ("2003-03-05 05:40 utc", "2003-03-05 05:40:00 UTC"),
        ("69-1-1", "2069-01-01 00:00:00"),
        ("70-1-1", "1970-01-01 00:00:00"),
        ("DAILY", "00:00"),
        ("weekly Pacific/Auckland", "Mon *-*-* 00:00:00 Pacific/Auckland"),
        ("@1767225600", "2026-01-01 00:00:00 UTC"),
    ],
)
def test_what_systemd_calls_the_same_is_the_same(text: str, same: str) -> None:
    assert parse(text) == parse(same)


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_an_expression_with_or_without_a_zone(word: str) -> None:
    assert parse(f"{word} UTC").zone == "UTC"
    assert parse(word) == parse(WORDS[word])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*-*~1 4:0", ["2027-01-31 04:00", "2027-02-28 04:00", "2027-03-31 04:00", "2027-04-30 04:00"]),
        ("*-02~03", ["2027-02-26 00:00", "2028-02-27 00:00"]),
        ("*-02~1..3", ["2027-02-26 00:00", "2027-02-27 00:00", "2027-02-28 00:00", "2028-02-27 00:00"]),
        ("Mon *-05~07/1", ["2027-05-31 00:00", "2028-05-29 00:00"]),
        ("*-02-29", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("Sun *-*-1..7 1:00:00", ["2027-01-03 01:00", "2027-02-07 01:00"]),
        ("*-*-* *:09,39:00", ["2027-01-01 00:09", "2027-01-01 00:39", "2027-01-01 01:09"]),
        ("*-*-* 07..23:30", ["2027-01-01 07:30", "2027-01-01 08:30"]),
        ("*:00/10", ["2027-01-01 00:00", "2027-01-01 00:10"]),
        ("*-*-* 00,12:00:00", ["2027-01-01 00:00", "2027-01-01 12:00", "2027-01-02 00:00"]),
    ],
)
def test_the_days_that_an_expression_names_are_these(text: str, expected: list[str]) -> None:
    found = faces((parse(text),), "2027-01-01", len(expected))
    assert [face[4:20] for face in found] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("5", "neither a date nor a time"),
        ("dayly", "did you mean 'daily'?"),
        ("Mno 5:00", "did you mean 'mon'?"),
        ("Fri..Mon 5:00", "a week begins on Monday"),
        ("*:*/5", 'write "0/5"'),
        ("24:00", "hour: 0 to 23"),
        ("*:60", "minute: 0 to 59"),
        ("*-*-32", "day: 1 to 31"),
        ("*-*~29", "day from the end: 1 to 28"),
        ("*-13-1", "month: 1 to 12"),
        ("2200-1-1", "year: 1970 to 2199"),
        ("*:9..5", 'write "5..9"'),
        ("*:0/0", "the step of"),
        ("*:5.5", "is no minute"),
        ("*-02-30", "never comes"),
        ("Mon 2026-11-25", "never comes"),
        ("5:00 6:00", "has no place"),
        ("1:2:3:4", "is no time"),
        ("~1 5:00", "'' is no month"),
        ("*~2-1", "neither a date nor a time"),
        ("daily Europe/Berlim", "did you mean 'Europe/Berlin'?"),
        ("daily europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("daily ../etc/passwd", "is a whole expression"),
        ("daily a/../../etc/passwd", "there is no time zone"),
        ("@99999999999", "is no moment"),
        ("*:" + ",".join("1" * 241), "at most 240"),
        ("*:" + "9" * 400, "is no minute"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse(text)
    assert words in f"{caught.value} {caught.value.remedy}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/20 * * * *", ["Fri 2027-01-01 00:00", "Fri 2027-01-01 00:20", "Fri 2027-01-01 00:40"]),
        ("5 4 * * sun", ["Sun 2027-01-03 04:05", "Sun 2027-01-10 04:05"]),
        ("5 4 * * 7", ["Sun 2027-01-03 04:05", "Sun 2027-01-10 04:05"]),
        (
            "0 9-17/4 * * 1-5",
            ["Fri 2027-01-01 09:00", "Fri 2027-01-01 13:00", "Fri 2027-01-01 17:00", "Mon 2027-01-04 09:00"],
        ),
        ("0 0 1 jan,JUL *", ["Fri 2027-01-01 00:00", "Thu 2027-07-01 00:00"]),
        (
            "30 6 13 * fri",
            ["Fri 2027-01-01 06:30", "Fri 2027-01-08 06:30", "Wed 2027-01-13 06:30", "Fri 2027-01-15 06:30"],
        ),
        ("0 0 */10 * mon", ["Mon 2027-01-11 00:00", "Mon 2027-02-01 00:00"]),
        ("@daily", ["Fri 2027-01-01 00:00", "Sat 2027-01-02 00:00"]),
        ("@weekly", ["Sun 2027-01-03 00:00", "Sun 2027-01-10 00:00"]),
    ],
)
def test_a_line_of_cron_means_what_it_means_to_cron(text: str, expected: list[str]) -> None:
    assert [face[:20] for face in faces(cron.parse(text), "2027-01-01", len(expected))] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("* * * *", "has 4 fields, not five"),
        ("@reboot", "after_boot"),
        ("60 * * * *", "a minute is 0 to 59"),
        ("0 0 * * fri-mon", "the smaller first"),
        ("0 0 * 13 *", "a month is 1 to 12"),
        ("0 0 * jna *", "'jna' is no month"),
        ("*/0 * * * *", "is out of range"),
        ("0 0 30 feb *", "never comes"),
        ("a-b-c * * * *", "is no minute"),
    ],
)
def test_a_line_that_cron_would_not_take_is_refused(text: str, words: str) -> None:
    with pytest.raises(Unreadable) as caught:
        cron.parse(text)
    assert words in f"{caught.value} {caught.value.remedy}"


def test_a_span_ends_at_its_last_member() -> None:
    assert [Span(5, 20, 7).at_least(value) for value in (0, 5, 6, 12, 13, 19, 20)] == [5, 5, 12, 12, 19, 19, None]
