"""What was kept, approximated and dropped: for people, a table by card; for programs, one object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from arje.imports.draft import Fate, Finding, Read
from arje.imports.finish import Made, fates


def lines(found: Read, made: Sequence[Made], written: Sequence[str]) -> Iterator[str]:
    """Yield the report in lines of plain text: the verdict first, a column that grep finds."""
    for problem in found.problems:
        yield f"wrong         {_clean(str(problem))}"
    labels = ["", *(each.label for each in made)]
    for label in labels:
        own = [finding for finding in found.all_findings() if finding.card == label]
        if own:
            yield f"-- {label or 'no card'}"
        for finding in sorted(own, key=lambda finding: list(Fate).index(finding.fate)):
            yield f"{finding.fate.value:<12}  {_clean(str(finding))}"
    counted = fates(found)
    files = f", {len(written)} files written" if written else ""
    yield (
        f"{found.kind or 'nothing'}: {_many(len(made), 'card')}{files}; {counted['kept']} kept, "
        f"{counted['approximated']} approximated, {counted['dropped']} dropped, {_many(len(found.problems), 'problem')}"
    )


def as_json(found: Read, made: Sequence[Made], written: Sequence[str]) -> dict[str, Any]:
    """Return the report as one object."""
    return {
        "from": found.kind,
        "cards": [{"label": each.label, "file": each.file, "text": each.text} for each in made],
        "findings": [_finding(finding) for finding in found.all_findings()],
        "problems": [asdict(problem) for problem in found.problems],
        "counts": fates(found),
        "written": list(written),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "fate": finding.fate.value,
        "card": finding.card,
        "file": finding.place.file,
        "line": finding.place.line,
        "what": finding.what,
        "field": finding.field,
        "why": finding.why,
    }


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def _clean(text: str) -> str:
    """What a file holds must not drive the reader's terminal, and stays on one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
