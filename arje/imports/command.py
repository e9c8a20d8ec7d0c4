"""``arje import PATH…``: other tools' services to cards, and a report of what was kept, approximated and dropped."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from arje.imports import detect, report
from arje.imports.draft import Fate, Read
from arje.imports.finish import Edges, Made, finish

_DONE, _FAILED, _INVALID, _DEGRADED = 0, 1, 6, 154  # as arjectl's (ctl/exitcodes.py)


def parser() -> argparse.ArgumentParser:
    """Return the parser of its options."""
    made = argparse.ArgumentParser(
        prog="arje import",
        description="Turn services of supervisord, runit, s6, s6-rc, dinit, OpenRC, sysvinit, docker compose or a Procfile "
        "into cards. Without --to and --check the cards go to stdout and the report to stderr.",
        epilog="Exit status: 0 done, 1 a file is there already or cannot be written, 2 usage, 6 something cannot be read, "
        "154 with --strict: something is approximated or dropped.",
        allow_abbrev=False,
    )
    made.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file, a service directory, or one of many")
    made.add_argument("--from", dest="kind", choices=list(detect.KINDS), help="what it is for (by what is in it)")
    made.add_argument("--to", type=Path, metavar="DIR", help="write the cards into this directory, all or none")
    made.add_argument("--force", action="store_true", help="write over files that are there")
    made.add_argument("--check", action="store_true", help="only report; write nothing")
    made.add_argument("--strict", action="store_true", help="what is approximated or dropped is an error (exit 154)")
    made.add_argument("--json", action="store_true", help="report in JSON, with the cards' texts in it")
    return made


def main_import(words: Sequence[str], edges: Edges) -> int:
    """Import, report, and return the exit status. ``edges`` judges what cards say about each other."""
    options = parser().parse_args(words)
    found = Read("")
    for path in options.paths:
        detect.read(path.absolute(), found, options.kind or "")
    made = finish(found, edges)
    written: list[str] = []
    if options.to and not options.check:
        try:
            written = _write(options.to, made, force=options.force)
        except FileExistsError as error:
            print(f"arje import: {error.filename} is there already; --force writes over it", file=sys.stderr)
            return _FAILED
        except OSError as error:
            print(f"arje import: {error.filename}: {error.strerror}", file=sys.stderr)
            return _FAILED
    if options.json:
        print(json.dumps(report.as_json(found, made, written)))
    else:
        preview = not options.to and not options.check
        for each in made if preview else ():
            print(f"# --- {each.file}\n{each.text}")
        for line in report.lines(found, made, written):
            print(line, file=sys.stderr if preview else sys.stdout)
    return _verdict(found, strict=options.strict)


def _verdict(found: Read, *, strict: bool) -> int:
    if found.problems:
        return _INVALID
    if strict and any(finding.fate is not Fate.KEPT for finding in found.all_findings()):
        return _DEGRADED
    return _DONE


def _write(directory: Path, made: Sequence[Made], *, force: bool) -> list[str]:
    """Write the cards, each whole or not at all; none when one of them would hide a file. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / each.file for each in made]
    for path in paths:
        if not force and (path.exists() or path.is_symlink()):
            raise FileExistsError(17, "File exists", str(path))
    for path, each in zip(paths, made, strict=True):
        fresh = directory / f".{each.file}.new"
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as stream:
            stream.write(each.text)
        if force:
            fresh.replace(path)
        else:
            os.link(fresh, path)  # it may be there since we looked: then it stays
            fresh.unlink()
    return [str(path) for path in paths]
