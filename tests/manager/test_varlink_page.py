"""docs/varlink.md is the interface's own description, and its examples do what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arje.control.reference import page
from tests.conftest import ROOT, Manager, sh

Manage = Callable[..., Manager]
PAGE = ROOT / "docs/varlink.md"
EXAMPLES = re.findall(r"```(python|sh)\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(manager: Manager, place: Path, kind: str, text: str) -> subprocess.Popen[str]:
    """Run an example as written; ``arjectl`` is in its PATH."""
    bin = place / "bin"
    bin.mkdir(exist_ok=True)
    (bin / "arjectl").write_text(f'#!/bin/sh\nexec {sys.executable} -m arje.ctl "$@"\n')
    (bin / "arjectl").chmod(0o755)
    env = os.environ | {"ARJE_SOCKET": str(manager.socket), "PATH": f"{bin}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", text] if kind == "python" else ["/bin/sh", "-c", text]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=env)


def example(words: str) -> tuple[str, str]:
    return next((kind, text) for kind, text in EXAMPLES if words in text)


@pytest.fixture
def manager(manage: Manage) -> Manager:
    made = manage({"web": sh("exec sleep infinity")})
    made.settle("web")
    return made


def test_the_page_is_made_from_the_description() -> None:
    assert PAGE.read_text() == page(), "make it anew: python -m arje.control.reference > docs/varlink.md"


def test_the_example_of_calls_restarts_a_service(manager: Manager, place: Path) -> None:
    out, err = run(manager, place, *example('call(sock, "Restart"')).communicate(timeout=60)
    assert out == "web running\nweb done \n", err


def test_the_example_of_events_shows_them_as_they_come(manager: Manager, place: Path) -> None:
    with run(manager, place, *example("io.arje.Manager.Monitor")) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "web starting -> running\n"
        manager.call("Stop", labels=["web"])
        assert child.stdout.readline() == "web running -> stopping\n"
        child.terminate()


def test_the_example_with_socat_lists_services(manager: Manager, place: Path) -> None:
    if shutil.which("socat") is None:
        pytest.skip("socat is not installed")
    out, err = run(manager, place, *example("socat")).communicate(timeout=60)
    assert json.loads(out)["parameters"]["services"][0]["label"] == "web", err


def test_the_examples_with_arjectl_write_json(manager: Manager, place: Path) -> None:
    out, err = run(manager, place, *example("arjectl schema")).communicate(timeout=60)
    count, *events = out.splitlines()
    assert count == "1", err
    assert json.loads(events[0])["label"] == "web"
    assert '"title": "arjectl events --json"' in out


def test_the_client_from_pypi_lists_starts_and_follows(manager: Manager, place: Path) -> None:
    pytest.importorskip("varlink", reason="the package varlink is not installed")
    out, err = run(manager, place, *example("varlink.Client")).communicate(timeout=60)
    assert out == "['web']\nweb running\n", err
    stop = 'print(arje.Stop(["web"])["results"][0]["result"], [service["label"]'
    text = example("varlink.Client")[1].replace('print([service["label"]', stop)
    out, err = run(manager, place, "python", text).communicate(timeout=60)
    assert out.startswith("done"), err
    assert manager.show("web")["state"] == "stopped"
