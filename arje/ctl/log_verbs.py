"""``arjectl logs``: which lines, and how they are shown."""

from __future__ import annotations

import base64
import json
import sys
import time

from arje.ctl.arguments import UsageError
from arje.ctl.exitcodes import Query
from arje.ctl.moments import moment
from arje.ctl.words import clock, escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

    Data = dict[str, Any]

FORMS: Final = ("short", "json", "cat", "with-time-zone")
_ALL: Final = 10**6  # lines: the most that can be asked for
_SOME: Final = 100


def logs(client: Client, args: Arguments, paper: Paper) -> int:
    """Show lines of services, and with ``-f`` those that come. Raises UsageError."""
    form = "json" if args.json else args.output
    for line in _lines(client, args):
        show(paper, line, form)
        if args.follow:
            paper.flush()
    return Query.TRUE


def _lines(client: Client, args: Arguments) -> Iterator[Data]:
    since, until = when("--since", args.since), when("--until", args.until)
    lines = args.lines if args.lines is not None else _ALL if since is not None or args.life else _SOME
    picks = {
        "labels": args.labels,
        "lines": lines,
        "since": since,
        "until": until,
        "stream": args.stream,
        "grep": args.grep,
        "life": args.life,
    }
    if args.follow:
        # The server subscribes before it reads back what there is: no line falls between the two.
        return (reply["line"] for reply in client.follow("Follow", **picks))
    return iter(client.call("Logs", **picks)["lines"])


def when(option: str, text: str | None) -> float | None:
    """Return the time that an option names, None for none. Raises UsageError."""
    if text is None:
        return None
    try:
        return max(0.0, moment(text, time.time()))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option}: {error}") from None


def show(paper: Paper, line: Data, form: str) -> None:
    """Write one line of a log in one of :data:`FORMS`."""
    if form == "json":
        paper.line(json.dumps(line))
    elif form == "cat":
        _cat(paper, line)
    else:
        paper.line(text(paper, line, _zoned(line["wall"]) if form == "with-time-zone" else clock(line["wall"])))


def text(paper: Paper, line: Data, moment: str) -> str:
    """Return a line of a log with its time and whose it is."""
    who = f"{line['label']}[{line['pid']}]:" if line["pid"] else f"{line['label']}:"
    code = {"stderr": "33", "arje": "31"}.get(line["stream"], "36")
    goes_on = ("…" if paper.rich else " ...") if line["more"] else ""
    words = line["text"].removesuffix("\r")
    if line["stream"] == "arje":
        words = f"-- {words}"
    return f"{moment} {paper.paint(who, code)} {escape(words)}{goes_on}"


def _cat(paper: Paper, line: Data) -> None:
    """What the service wrote and nothing else: byte for byte, but on a terminal, which it must not drive."""
    if line["stream"] == "arje":
        return
    if paper.rich or not hasattr(sys.stdout, "buffer"):
        paper.line(escape(line["text"].removesuffix("\r")))
        return
    data = base64.b64decode(line["raw"]) if line["raw"] else line["text"].encode()
    paper.flush()
    sys.stdout.buffer.write(data if line["more"] else data + b"\n")


def _zoned(wall: float) -> str:
    moment = time.localtime(wall)
    micro = round(wall % 1 * 1e6) % 10**6
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{micro:06d}%z", moment)
