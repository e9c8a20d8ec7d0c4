"""A program of its own: it incarnates the cards of a JSON list, one by one, and prints what became of each.

Its user, its /etc/subuid and its PATH are the business of the test.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from arje.card.loader import load_text
from arje.errors import ArjeError, IncarnationRefused, SetupFailed
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import as_json
from arje.kernel.capabilities import CapabilitySet


def live(incarnator: Incarnator, text: str) -> dict[str, Any]:
    """Incarnate one card to its end."""
    loaded = load_text(Path("test.toml"), text)
    if loaded.problems:
        return {"problems": [str(problem) for problem in loaded.problems]}
    forecast = incarnator.dry_run(loaded.cards[0])
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        with open("/dev/null", "rb") as null:
            outcome = incarnator.incarnate(loaded.cards[0], StdioFds(null.fileno(), write, write))
    except IncarnationRefused as error:
        os.close(read)
        return {"refused": as_json(error.degradations), "foreseen": forecast.refusal != ""}
    except SetupFailed as error:
        os.close(read)
        return {
            "failed": str(error),
            "step": error.step.value,
            "field": error.field,
            "foreseen": forecast.refusal != "",
        }
    finally:
        os.close(write)
    with os.fdopen(read) as stream:
        output = stream.read()
    os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
    outcome.close()
    told = outcome.incarnation
    return {
        "output": output.splitlines(),
        "grants": {grant.feature: [grant.granted, grant.ok] for grant in told.grants},
        "lost": as_json(told.degradations),
        "foreseen": sorted(loss.feature for loss in forecast.degradations),
    }


def main() -> None:
    capabilities = CapabilitySet.detect(None)
    incarnator = Incarnator(capabilities, None)
    asked = ("newuidmap", "newgidmap", "subuid", "subgid")
    found = {name: as_json(capabilities[name]) for name in asked}
    try:
        lives = [live(incarnator, text) for text in json.loads(sys.argv[1])]
    except ArjeError as error:
        raise SystemExit(str(error)) from error
    print(json.dumps({"found": found, "lives": lives}))


if __name__ == "__main__":
    main()
