"""Run commands of arjectl in this process, one after the other, and tell how each ended: a JSON list on stdout.

``python -m tests.ctl.each_verb SOCKET < commands.json``: as another user, a hundred verbs in the time of one start.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

from arje.ctl.main import main


def run(socket: str, words: list[str]) -> tuple[int, str, str]:
    """Return the exit code of a command, and what it wrote to stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["--socket", socket, *words])
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    print(json.dumps([run(sys.argv[1], words) for words in json.load(sys.stdin)]))
