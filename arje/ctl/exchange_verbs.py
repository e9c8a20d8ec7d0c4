"""Verbs that exchange with other tools: metrics for monitoring systems, import of what others supervise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from arje.ctl.exitcodes import Action, Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.client import Client
    from arje.ctl.words import Paper

_START: Final = "import sys; sys.path.insert(0, sys.argv.pop(1)); from arje.init.main import main; sys.exit(main())"


def metrics(client: Client, args: Arguments, paper: Paper) -> int:
    """The figures of the manager and of every service, as a scraper reads them; ``--json``: the same as data."""
    if args.json:
        paper.line(json.dumps(client.call("Metrics", form="families")["families"]))
    else:
        for line in client.call("Metrics", form=args.form)["text"].splitlines():
            paper.line(line)
    return Query.TRUE


def import_(client: Client | None, args: Arguments, paper: Paper) -> int:
    """Let ``arje import`` do it: it knows cards, and needs more than the standard library."""
    words: list[str] = []
    for name in ("check", "force", "strict", "json"):
        words += [f"--{name}"] if getattr(args, name) else []
    origin = getattr(args, "from")
    words += [f"--from={origin}"] if origin else []
    words += [f"--to={args.to}"] if args.to else []
    # Not -m: who stands in somebody else's directory must not run what lies there as "arje".
    root = os.path.abspath(__file__).rsplit("/", 3)[0]  # noqa: PTH100 - no pathlib here: it costs
    command = [sys.executable, "-P", "-c", _START, root, "import", *words, "--", *args.labels]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        print(f"arjectl: arje import cannot be run: {error.strerror}", file=sys.stderr)
        return Action.FAILED
    for line in done.stdout.splitlines():
        paper.line(line)
    sys.stderr.write(done.stderr)
    return done.returncode
