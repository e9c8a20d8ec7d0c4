"""What a manager makes ahead for the next start of a service with a net namespace."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from arje.incarnate.spares import EACH
from tests.conftest import Manager, open_links, sh

Manage = Callable[..., Manager]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's net namespace belongs to its own user's")


def kept(manager: Manager) -> set[str]:
    return {link for link in open_links(manager.process.pid) if link.startswith("net:")}


def ready(manager: Manager) -> set[str]:
    """Wait until the maker has ended: then the descriptors are all there, whoever may know of them already."""
    end = time.monotonic() + 30
    while len(found := kept(manager)) != EACH:
        assert time.monotonic() < end, found
    return found


def space(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def test_a_restart_enters_what_was_made_ahead(manage: Manage) -> None:
    card = sh("exec sleep infinity", 'namespaces = ["net"]', '[supervision]\nrestart = "always"\n')
    manager = manage({"a": card})
    first = manager.settle("a")
    ahead = ready(manager)
    assert space(first["pid"]) not in ahead
    os.kill(first["pid"], signal.SIGKILL)
    second = manager.until("a", lambda a: a["state"] == "running" and a["pid"] != first["pid"])
    assert space(second["pid"]) in ahead
    assert second["isolation"]["degradations"] == []
    ahead = ready(manager)
    assert space(second["pid"]) not in ahead
    manager.call("Restart", labels=["a"])
    assert space(manager.settle("a")["pid"]) in ahead


def test_a_manager_whose_services_need_none_makes_none(manage: Manage) -> None:
    manager = manage({"a": sh("exec sleep infinity", 'namespaces = ["mount", "pid"]')})
    manager.settle("a")
    assert kept(manager) == set()
