"""``python -m ship wheel|deb``: build it, and print where it is."""

from __future__ import annotations

import sys

from ship import CannotShip, alone, deb, wheel


def main(words: list[str]) -> int:
    """Build what is named. Returns the exit status."""
    makers = {"wheel": lambda: [wheel.sdist(), wheel.wheel()], "deb": lambda: [deb.build()]}
    if len(words) != 1 or words[0] not in makers:
        print(f"usage: python -m ship {'|'.join(makers)}", file=sys.stderr)
        return 2
    try:
        with alone():
            made = makers[words[0]]()
    except CannotShip as error:
        print(f"ship: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, made)))
    return 0


sys.exit(main(sys.argv[1:]))
