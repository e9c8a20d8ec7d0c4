"""``vm/scenario NAME``: boot one scenario, or tell one story; print what was seen, exit with its verdict."""

from __future__ import annotations

import sys

from vm import machine, story
from vm.kernel import NoMachine


def main(words: list[str]) -> int:
    """Run the one that is named. Returns the exit status."""
    known = {**dict.fromkeys(machine.scenarios(), _scenario), **dict.fromkeys(story.stories(), _story)}
    if len(words) != 1 or words[0] not in known:
        print("usage: vm/scenario NAME", file=sys.stderr)
        print(f"  scenarios, each a machine of checks: {' '.join(machine.scenarios())}", file=sys.stderr)
        print(f"  stories, with arje as pid 1: {' '.join(story.stories())}", file=sys.stderr)
        return 2
    try:
        return known[words[0]](words[0])
    except NoMachine as error:
        print(f"vm/scenario: {error}", file=sys.stderr)
        return 77


def _scenario(name: str) -> int:
    said = machine.run(name, show=True)
    print(f"{name}: verdict {said.verdict} after {said.seconds:.1f} s", file=sys.stderr)
    return said.verdict


def _story(name: str) -> int:
    told = story.tell(name, show=True)
    failed = [check for check, why in told.results.items() if why]
    print(f"{name}: {len(told.results) - len(failed)} of {len(told.results)} checks are so", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
