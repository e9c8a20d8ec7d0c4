"""The options of arjectl itself, which every verb takes."""

from __future__ import annotations

from arje.ctl.verb import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: Options that every verb takes.
GLOBALS: Final = (
    Option("-h --help", "tell what there is, and end"),
    Option("--version", "tell arjectl's own version, and end"),
    Option("--user", "talk to the user's own manager"),
    Option("--system", "talk to the system's manager"),
    Option("--socket", "talk to the manager on this socket", "socket", "PATH"),
    Option("--root", "talk to the manager of this root; where none runs, write its cards", "directory", "DIR"),
    Option("-H --host", "on another machine, over ssh; several: -H a -H b, or -H a,b", "host", "[USER@]HOST"),
    Option("--json", "answer in JSON; what goes on: one object per line"),
    Option("--plain", "no glyphs, no colours, no progress"),
    Option("-q --quiet", "say nothing but what is wrong; the exit code tells"),
    Option("--timeout", "wait this long for the manager (exit 152)", "seconds", "SEC"),
)
