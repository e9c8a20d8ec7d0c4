"""``arje replay FILE [--json]``: does a recorded run lead to the same again? Exit status 0 yes, 1 no, 2 no recording."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import Any

import structlog

from arje.replay.play import Change, Result, replay
from arje.replay.tape import NotARecording, Recording, read


def main_replay(argv: list[str]) -> int:
    """Play a recording and tell how it differs. Returns the exit status."""
    made = argparse.ArgumentParser(
        prog="arje replay",
        description="Play what arje --record has written, in virtual time, and compare what becomes of every service. "
        "Nothing of this machine is touched. Exit status: 0 the same, 1 it differs, 2 it is no recording.",
    )
    made.add_argument("file", type=Path, metavar="FILE", help="a recording")
    made.add_argument("--json", action="store_true", help="for programs")
    options = made.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        recording = read(options.file)
        result = replay(recording)
    except (NotARecording, OSError) as error:
        print(f"arje replay: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(_as_json(recording, result)))
    else:
        print("\n".join(_told(options.file, recording, result)))
    return 1 if result.differences else 0


def _told(file: Path, recording: Recording, result: Result) -> list[str]:
    verdict = f"{len(result.differences)} of them differ" if result.differences else "all the same"
    counts = f"{result.changes} changes of {result.services} services in {recording.length:.3f} s"
    lines = [f"{file}: {counts}: {verdict}"]
    for each in result.differences:
        lines += [f"  {each.label}, its change {each.number}, first differs at {each.t:.3f} s"]
        lines += [
            f"    expected {each.expected or 'no further change'}",
            f"    got      {each.got or 'no further change'}",
        ]
    if recording.end:
        lines.append(f"  it ends early: {recording.end}")
    elif recording.end is None:
        lines.append("  it ends early: the manager was killed")
    return lines + [f"  not compared: {label}: {why}" for label, why in sorted(result.left_out.items())]


def _as_json(recording: Recording, result: Result) -> dict[str, Any]:
    def plain(change: Change | None) -> dict[str, Any] | None:
        return dataclasses.asdict(change) if change else None

    return {
        "same": not result.differences,
        "seconds": recording.length,
        "services": result.services,
        "changes": result.changes,
        "end": recording.end,
        "differences": [
            {"service": d.label, "number": d.number, "t": d.t, "expected": plain(d.expected), "got": plain(d.got)}
            for d in result.differences
        ],
        "not_compared": result.left_out,
    }
