"""How ``arjectl harden`` waits: it asks once, and hangs up to go on."""

from __future__ import annotations

import io
from argparse import Namespace
from typing import Any, ClassVar

import pytest

from arje.ctl import harden
from arje.ctl.words import Paper

FOUND = {
    "seen": {},
    "diff": "",
    "suggestions": [],
    "file": "",
    "tried": False,
    "kept": False,
    "broke": [],
    "detail": "",
}


class Fake:
    """A manager whose service lives until somebody presses Ctrl-C."""

    said: ClassVar[list[tuple[str, Any]]] = []
    interrupted = False

    def __init__(self, path: str, timeout: float | None = None) -> None:
        self.path = path

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.said.append((method, parameters.get("for_ms")))
        if method == "AwaitEnd" and self.interrupted:
            raise KeyboardInterrupt
        return {"result": {"state": "running", "detail": ""}} if method == "Observe" else FOUND

    def close(self) -> None:
        self.said.append(("close", None))


@pytest.mark.parametrize(("seconds", "milliseconds"), [(None, None), (0.25, 250), (3600.0, 3_600_000)])
@pytest.mark.parametrize("interrupted", [False, True])
def test_it_waits_in_one_call_on_a_connection_that_it_can_give_up(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None, milliseconds: int | None, interrupted: bool
) -> None:
    monkeypatch.setattr(harden, "Client", Fake)
    monkeypatch.setattr(Fake, "said", [])
    monkeypatch.setattr(Fake, "interrupted", interrupted)
    out = io.StringIO()
    args = Namespace(labels=["web"], seconds=seconds, attempt=False, write=False, stay=1.0, slack=0, json=False)
    assert harden.harden(Fake(""), args, Paper(out)) == 0  # type: ignore[arg-type]
    assert Fake.said == [("Observe", None), ("AwaitEnd", milliseconds), ("close", None), ("Harden", None)]
    assert "nothing to tighten" in out.getvalue()
