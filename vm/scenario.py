"""``vm/scenario NAME``: boot one scenario, print what the guest printed, exit with its verdict (124: out of time)."""

from __future__ import annotations

import sys

from vm import machine
from vm.kernel import NoMachine


def main(words: list[str]) -> int:
    """Run the scenario that is named. Returns the exit status."""
    if len(words) != 1 or words[0] not in machine.scenarios():
        print(f"usage: vm/scenario NAME\n  scenarios: {' '.join(machine.scenarios())}", file=sys.stderr)
        return 2
    try:
        said = machine.run(words[0], show=True)
    except NoMachine as error:
        print(f"vm/scenario: {error}", file=sys.stderr)
        return 77
    print(f"{words[0]}: verdict {said.verdict} after {said.seconds:.1f} s", file=sys.stderr)
    return said.verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
