"""Logs on disk: read back after everything, whatever bytes, disks that are full or do not answer."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.card.log import LineRate, LogRules
from arje.supervisor import logread
from arje.supervisor.follower import Line
from arje.supervisor.linerate import LineBudget
from arje.supervisor.logfile import LogFile
from arje.supervisor.logread import Query
from arje.supervisor.logs import _merge
from arje.supervisor.logtext import Chunk, decode, encode
from arje.supervisor.servicelog import lines_of
from tests.conftest import ROOT, Manager, needs_root, sh
from tests.manager.dead_mount import dead_mount

Manage = Callable[..., Manager]
NOW = 1_795_600_800_000_000  # microseconds


def texts(directory: Path, **picks: Any) -> list[str]:
    return [line.text for line in logread.read(directory, "a", Query(**({"lines": 10**6} | picks)))[0]]


def chunk(text: str, number: int = 0, stream: str = "stdout") -> Chunk:
    return Chunk(stream, 7, NOW + number * 1000, text.encode())


def last_line(manager: Manager, label: str, text: str) -> None:
    """Wait for the last line of a flood; who follows one may miss it."""
    manager.until(label, lambda found: text in "".join(line["text"] for line in found["last_lines"][-1:]))


@given(st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"")), min_size=1), st.booleans())
def test_what_a_service_says_comes_back_from_the_file_byte_for_byte(said: list[bytes], more: bool) -> None:
    written = Chunk("stderr", 4711, NOW + 999_998, b"\n".join(said), more)
    raws = encode("web@1", written).split(b"\n")
    assert raws.pop() == b""
    lines = [decode(raw) for raw in raws]
    assert lines == lines_of("web@1", written, last=10**6)
    assert [line.text.encode(errors="surrogateescape") for line in lines if line] == said
    assert [line.more for line in lines if line] == [False] * (len(said) - 1) + [more]


def test_a_file_is_put_aside_by_size_and_only_so_many_are_kept(place: Path) -> None:
    file = LogFile(place, "a")
    file.rules = LogRules(rotate_size=4096, rotate_keep=2)
    for number in range(300):
        file.write([chunk(f"{number} {'x' * 60}", number)])
    file.close()
    assert sorted(path.name for path in place.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    numbers = [int(text.split()[0]) for text in texts(place)]
    assert numbers == [*range(numbers[0], 300)]
    file.rules = LogRules(rotate_size=4096, rotate_keep=0)
    file.write([chunk("y" * 5000, 300)])
    file.close()
    assert list(place.iterdir()) == []


def test_a_file_is_put_aside_by_age(place: Path) -> None:
    file = LogFile(place, "a")
    file.rules = LogRules(rotate_every=60.0)
    for number in (0, 59_000):
        file.write([chunk("young", number)])
    file.close()  # a new life of arje knows the age from the file itself
    file.write([chunk("old", 60_000), chunk("older", 61_000)])
    file.write([chunk("new", 62_000)])
    file.close()
    assert (place / "a.log").read_text().count("\n") == 1
    assert texts(place) == ["young", "young", "old", "older", "new"]


def test_what_is_read_while_files_are_put_aside_is_whole(place: Path) -> None:
    file = LogFile(place, "a")
    file.rules = LogRules(rotate_size=4096, rotate_keep=100)
    file.write([chunk(f"{number} {'x' * 60}", number) for number in range(100)])
    done = threading.Event()

    def write() -> None:
        for number in range(100, 3000):
            file.write([chunk(f"{number} {'x' * 60}", number)])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    reads = 0
    while not done.is_set() or not reads:
        numbers = [int(text.split()[0]) for text in texts(place)]
        assert numbers == [*range(numbers[0], numbers[-1] + 1)]
        assert numbers[0] == 0 or numbers[-1] > 2000
        reads += 1
    thread.join()
    file.close()


def test_a_query_picks_by_time_stream_text_and_number(place: Path) -> None:
    file = LogFile(place, "a")
    file.write([chunk(f"line {number}", number * 1000, "stderr" if number % 2 else "stdout") for number in range(20)])
    file.close()
    second = NOW / 1e6
    assert texts(place, lines=3) == ["line 17", "line 18", "line 19"]
    assert texts(place, since=second + 18) == ["line 18", "line 19"]
    assert texts(place, until=second + 1) == ["line 0", "line 1"]
    assert texts(place, stream="stderr", lines=2) == ["line 17", "line 19"]
    assert texts(place, grep="line 1", until=second + 11) == ["line 1", "line 10", "line 11"]
    assert texts(place, lines=0) == []


def test_an_answer_is_bounded_and_says_when_it_is_not_whole(place: Path) -> None:
    file = LogFile(place, "a")
    file.write([chunk("x" * 1000, number) for number in range(100)])
    file.close()
    lines, whole = logread.read(place, "a", Query(lines=1000), 10_000)
    assert not whole
    assert 9 <= len(lines) <= 11


def test_half_a_line_that_a_dead_manager_left_spoils_no_other(place: Path) -> None:
    (place / "a.log").write_bytes(encode("a", chunk("whole")) + b"2026-11-25T10:0")
    file = LogFile(place, "a")
    file.write([chunk("next", 1)])
    file.close()
    assert texts(place) == ["whole", "next"]


def test_lines_of_memory_and_of_files_are_merged_and_none_is_there_twice() -> None:
    def line(number: int) -> Line:
        return Line("a", "stdout", 1, (NOW + number) / 1e6, str(number))

    def merged(files: list[int], kept: list[int]) -> list[int]:
        return [int(each.text) for each in _merge([line(n) for n in files], [line(n) for n in kept])]

    assert merged([1, 2, 3], [2, 3, 4]) == [1, 2, 3, 4]
    assert merged([1, 2, 5, 6], [2, 3, 4, 5, 6]) == [1, 2, 3, 4, 5, 6]  # the disk did not take 3 and 4
    assert merged([1, 2, 5], [3, 4, 5]) == [1, 2, 3, 4, 5]
    assert merged([1, 2], [5, 6]) == [1, 2, 5, 6]
    assert merged([], [5, 6]) == [5, 6]
    assert merged([9, 8, 7], [8, 7, 2]) == [9, 8, 7, 2]  # the clock was set back


def test_a_budget_of_lines_is_told_before_the_next_line_that_is_kept() -> None:
    budget, rate = LineBudget(), LineRate(lines=3, interval=10.0)
    assert budget.take(2, rate, 100.0) == (2, 0)
    assert budget.take(4, rate, 101.0) == (1, 0)
    assert budget.take(5, rate, 109.9) == (0, 0)
    assert budget.take(1, rate, 110.0) == (1, 8)
    assert budget.take(9, LineRate(), 110.0) == (9, 0)
    assert budget.lost() == 0


def test_ten_thousand_last_words_are_all_kept_in_their_order(manage: Manage) -> None:
    manager = manage({"a": sh("exec seq 10000")})
    manager.until("a", lambda a: a["state"] == "done")
    lines = manager.call("Logs", labels=["a"], lines=10**6)["lines"]
    assert [line["text"] for line in lines] == [str(number) for number in range(1, 10001)]
    assert manager.show("a")["log_dropped"] == {}
    walls = [line["wall"] for line in lines]
    assert walls == sorted(set(walls))


def test_the_pipe_of_a_log_outlives_the_service(manage: Manage, place: Path) -> None:
    os.mkfifo(place / "go")
    script = f"(read word < {place}/go; echo from the grave) & echo $$ lives; exit 1"
    restart = '[supervision]\nrestart = "on-failure"\ninitial = 0.01\nrate_limit = {starts = 2}\n'
    manager = manage({"a": sh(f"[ -e {place}/once ] && exec sleep infinity; : > {place}/once; {script}") + restart})
    manager.until("a", lambda a: a["state"] == "running" and a["restarts"] == 1)
    assert re.fullmatch(r"\d+ lives", manager.lines("a")[0])


def test_a_process_that_keeps_the_pipe_and_one_that_closes_it_hold_nobody_up(manage: Manage) -> None:
    manager = manage(
        {
            "keeps": sh("sleep infinity & echo gone; exit 0"),
            "closes": sh("echo first; exec >&- 2>&-; exec sleep infinity"),
            "other": sh("echo other; exec sleep infinity"),
        }
    )
    manager.until("keeps", lambda a: a["state"] == "done")
    manager.await_line("closes", "first")
    assert manager.lines("keeps") == ["gone"]
    assert manager.lines("other") == ["other"]
    assert manager.call("Restart", labels=["closes"])["results"][0]["result"] == "done"
    manager.until("closes", lambda _: manager.lines("closes") == ["first", "first"])


def test_a_new_manager_reads_back_what_the_old_one_has_written(place: Path) -> None:
    (place / "cards").mkdir()
    (place / "cards" / "a.toml").write_text(sh("seq 1000; echo life $$; exec sleep infinity"))
    first = Manager(place)
    last_line(first, "a", "life")
    assert first.stop() == 0
    second = Manager(place)
    last_line(second, "a", "life")
    lines = second.call("Logs", labels=["a"], lines=10**6)["lines"]
    assert [line["text"] for line in lines][:1000] == [str(number) for number in range(1, 1001)]
    assert len(lines) == 2002
    this_life = second.call("Logs", labels=["a"], lines=10**6, life=True)["lines"]
    assert len(this_life) == 1001
    shown = second.ctl("logs", "a", "-n", "1", "--until", f"@{this_life[0]['wall'] - 1e-6:.6f}").stdout
    assert shown.endswith(f": {lines[1000]['text']}\n")
    followed = second.client.follow("Follow", labels=["a"], lines=1500)
    assert [next(followed)["line"]["text"] for _ in range(1500)] == [line["text"] for line in lines[-1500:]]
    assert second.stop() == 0


def test_any_bytes_are_shown_harmlessly_and_kept_exactly(manage: Manage) -> None:
    octal = r"\033[31mred\000\377\r\ncaf\303\251\r\n0123456789abcdef"
    manager = manage({"a": sh(f"printf '{octal * 8}\\n'; exec sleep infinity", rest="log = {max_line = 64}")})
    manager.await_line("a", "89abcdef")
    manager.written("a")
    said = (b"\033[31mred\0\377\r\ncaf\303\251\r\n0123456789abcdef" * 8) + b"\n"
    command = [sys.executable, "-m", "arje.ctl", "--socket", str(manager.socket), "logs", "a", "-o", "cat"]
    assert subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout == said
    shown = manager.ctl("logs", "a").stdout
    assert "\\x1b[31mred\\x00\ufffd\n" in shown
    assert "\x1b" not in shown
    assert ": café\n" in shown
    first = manager.call("Logs", labels=["a"])["lines"][0]
    assert base64.b64decode(first["raw"]) == b"\033[31mred\0\377\r"
    file = (manager.runtime / "logs" / "a.log").read_bytes()
    assert b"stdout: \033[31mred\0\377\r\n" in file


def test_a_line_that_is_too_long_is_kept_in_pieces_that_can_be_joined(manage: Manage) -> None:
    long = "é" * 100
    manager = manage({"a": sh(f"echo {long}; echo short; exec sleep infinity", rest="log = {max_line = 65}")})
    manager.await_line("a", "short")
    lines = manager.call("Logs", labels=["a"])["lines"]
    assert [(line["more"], line["raw"]) for line in lines] == [(True, None)] * 3 + [(False, None)] * 2
    assert "".join(line["text"] for line in lines[:4]) == long
    assert manager.ctl("logs", "a", "-o", "cat").stdout == f"{long}\nshort\n"
    assert manager.ctl("logs", "a").stdout.splitlines()[0].endswith("é ...")


def rss(manager: Manager) -> int:
    """Memory of the manager in bytes."""
    return int(Path(f"/proc/{manager.process.pid}/statm").read_text().split()[1]) * 4096


def test_a_hundred_megabytes_without_a_newline_cost_no_memory_and_nobody_else(manage: Manage, place: Path) -> None:
    rules = 'log = {rotate_size = "1M", rotate_keep = 1}\n'
    flood = sh(f"head -c 100000000 /dev/zero; : > {place}/done; exec sleep infinity", rest=rules + "enabled = false")
    manager = manage({"flood": flood, "other": sh("exec cat", 'stdio = {stdin = "file:/dev/null"}')})
    manager.settle("other")
    before, most, slowest, end = rss(manager), 0, 0.0, time.monotonic() + 50
    manager.call("Start", labels=["flood"])
    while not (place / "done").exists():
        began = time.monotonic()
        manager.call("Ping")
        slowest = max(slowest, time.monotonic() - began)
        most = max(most, rss(manager))
        assert time.monotonic() < end
    assert most - before < 40 * 2**20
    assert slowest < 1.0
    kept = sum(path.stat().st_size for path in (manager.runtime / "logs").glob("flood.log*"))
    assert kept < 4 * 2**20


def test_what_is_said_beyond_the_limit_is_counted_and_told_at_its_place(manage: Manage, place: Path) -> None:
    os.mkfifo(place / "go")
    rules = 'log = {rate_limit = {lines = 10, interval = "1h"}}\n'
    manager = manage({"a": sh(f"seq 25; read word < {place}/go; exit 0", rest=rules)})
    manager.await_line("a", "10")
    (place / "go").write_text("go\n")
    manager.until("a", lambda a: a["state"] == "done")
    assert manager.lines("a") == [*map(str, range(1, 11)), "15 lines dropped: rate limit"]
    assert manager.show("a")["log_dropped"] == {"rate limit": 15}
    assert "dropped: 15 lines (rate limit)" in manager.ctl("status", "a").stdout
    assert "-- 15 lines dropped: rate limit" in manager.ctl("logs", "a").stdout


@needs_root
def test_a_full_disk_costs_lines_which_are_told_where_they_are_missing(manage: Manage, place: Path) -> None:
    logs, fifo = place / "0" / "run" / "logs", place / "go"
    os.mkfifo(fifo)
    mount = f'mkdir -m 700 -p {logs.parent} {logs} && mount -t tmpfs -o size=32k none {logs} && exec "$@"'
    script = f"seq 1000; read word < {fifo}; echo again; exec sleep infinity"
    cards = {"a": sh(script, rest='log = {rotate_size = "1M"}'), "b": sh("echo b; exec sleep infinity")}
    manager = manage(cards, prefix=("unshare", "--mount", "--propagation=private", "sh", "-c", mount, "sh"))
    last_line(manager, "a", "1000")
    manager.written("a")
    lost = manager.show("a")["log_dropped"]
    assert lost.keys() == {"disk full"}
    inside = Path(f"/proc/{manager.process.pid}/root{logs}")
    size = (inside / "a.log").stat().st_size
    with (inside / "a.log").open("r+b") as file:  # somebody makes room
        file.truncate(size - size % 4096 - 4096 if size > 8192 else 0)
    fifo.write_text("go\n")
    manager.await_line("a", "again")
    manager.written("a")
    text = (inside / "a.log").read_text()
    assert f" arje: {lost['disk full']} lines dropped: disk full\n" in text
    assert text.endswith(" stdout: again\n")
    assert manager.lines("b") == ["b"]


@needs_root
def test_a_disk_that_hangs_costs_the_lines_of_who_writes_there_and_nothing_else(manage: Manage, place: Path) -> None:
    with dead_mount(place / "dead"):
        script = "yes 01234567890123456789012345678901234567890123456789 | head -n 50000; echo end; exec sleep 1000"
        manager = manage(
            {"a": "enabled = false\n" + sh(script), "b": "enabled = false\n" + sh("seq 3; exec sleep 1000")}
        )
        (manager.runtime / "logs" / "a.log").symlink_to(place / "dead" / "a.log")
        manager.call("Start", labels=["a"])
        last_line(manager, "a", "end")
        assert manager.show("a")["log_dropped"]["disk slow"] > 10_000
        began = time.monotonic()
        manager.call("Start", labels=["b"])
        manager.await_line("b", "3")
        manager.written("b")
        assert time.monotonic() - began < 3
        assert (manager.runtime / "logs" / "b.log").read_text().count("\n") == 3
        lines = [line["text"] for line in manager.call("Logs", labels=["a"], lines=10**6)["lines"]]
        assert lines[0] == "a: the disk does not answer: older lines are not shown"
        assert lines[-1] == "end"
        for _ in range(8):  # more than there are threads to read with
            manager.call("Logs", labels=["a"], lines=10**6)
        lines = [line["text"] for line in manager.call("Logs", labels=[], lines=10**6)["lines"]]
        assert lines[0] == "a: the disk does not answer: older lines are not shown"
        assert {"1", "2", "3"} <= {*lines}
        assert rss(manager) < 200 * 2**20
        began = time.monotonic()
        assert manager.stop() == 0
        assert time.monotonic() - began < 10


def test_a_follower_that_never_reads_is_counted_and_nobody_else_notices(manage: Manage) -> None:
    import socket

    manager = manage({"a": "enabled = false\n" + sh("seq 200000; echo end; exec sleep infinity")})
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(manager.socket))
        deaf.sendall(b'{"method": "io.arje.Manager.Follow", "more": true, "parameters": {"labels": ["a"]}}\0')
        manager.call("Ping")
        manager.call("Start", labels=["a"])
        last_line(manager, "a", "end")
        assert manager.show("a")["log_dropped"]["reader too slow"] > 100_000
    assert manager.call("Logs", labels=["a"], lines=1)["lines"][0]["text"] == "end"


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("rotate_size = 5", "log.rotate_size"),
        ("rotate_keep = 1000", "log.rotate_keep"),
        ('max_line = "2M"', "log.max_line"),
        ('rotate_every = "soon"', "log.rotate_every"),
        ('rate_limit = {interval = "x"}', "log.rate_limit.interval"),
        ("rotat_size = 5", "log.rotat_size"),
    ],
)
def test_a_log_that_cannot_be_kept_so_is_refused_by_its_field(field: str, wrong: str) -> None:
    from arje.card.loader import load_text

    problems = load_text(Path("a.toml"), f'payload = "virtual"\n[log]\n{field}\n').problems
    assert [(problem.field, problem.line) for problem in problems] == [(wrong, 3)]
