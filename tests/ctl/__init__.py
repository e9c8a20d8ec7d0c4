"""What the tests of the hand and of the socket share."""

from __future__ import annotations

from tests.conftest import Manager


def until_state(manager: Manager, label: str, state: str) -> None:
    """Wait until a service is in a state that it will stay in."""
    manager.until(label, lambda service: bool(service["state"] == state))
