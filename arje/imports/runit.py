"""runit's service directories (runsv(8)): ``run``, ``finish``, ``check``, ``down``, ``log/run``, ``control/*``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Final, Protocol

from arje.errors import CardError
from arje.imports.draft import Draft, Place, Read
from arje.imports.script import take_over
from arje.imports.source import entries, text_of

#: What a finish script is told: its exit code and 0, or a number that means a signal, and which.
_FINISH: Final = """\
cd {directory} || exit
[ "$EXIT_CODE" != exited ] || exec ./{name} "$EXIT_STATUS" 0{more}
number=1
until [ "$(kill -l "$number")" = "$EXIT_STATUS" ] || [ "$number" = 64 ]; do number=$((number + 1)); done
exec ./{name} {killed} "$number"{more}
"""
_OWN: Final = ("run", "finish", "check", "down", "log", "control", "supervise", "conf", "env", "data")


class Reader(Protocol):
    """Who reads one service directory into a draft; ``apart``: its log goes elsewhere."""

    def __call__(self, draft: Draft, directory: Path, *, apart: bool) -> None: ...


def is_directory(path: Path) -> bool:
    """Whether it is a service directory of runit or s6."""
    return (path / "run").is_file()


def read(directory: Path, found: Read) -> None:
    """Read one service directory; what is wrong with it is noted in ``found``."""
    read_with_log(directory, found, "runit", _service)


def read_with_log(directory: Path, found: Read, tool: str, service: Reader) -> None:
    """Read a service directory of ``tool`` and its log service below it, each by ``service``; note what is wrong."""
    draft = found.draft(directory.name, Place(str(directory)), f"{tool}'s service directory")
    logger: Draft | None = None
    try:
        if (directory / "log" / "run").is_file():
            logger = found.draft(f"{directory.name}-log", Place(str(directory / "log")), f"{tool}'s log service")
            service(logger, directory / "log", apart=False)
            draft.kept(Place(str(directory / "log" / "run")), "its log service", "log.to", logger.label)
        service(draft, directory, apart=logger is not None)
    except CardError as error:
        found.problems += error.problems
        found.drafts = [each for each in found.drafts if each is not draft and each is not logger]


def _service(draft: Draft, directory: Path, *, apart: bool) -> None:
    run = directory / "run"
    take_over(draft, run, text_of(run), directory, apart=apart)
    if (down := directory / "down").exists():
        draft.kept(Place(str(down)), "down", "enabled", False)
    if (check := directory / "check").is_file():
        why = "its success is waited for by those that need it; sv(8) alone asked it"
        draft.near(Place(str(check)), "check", why, "supervision.readiness", {"exec": _beside(directory, "check")})
    if (script := directory / "finish").is_file():
        finish(draft, script, "-1")
    _control(draft, directory / "control")
    if (conf := directory / "conf").is_file():
        why = "its lines are read as NAME=VALUE, not as shell"
        draft.add(Place(str(conf)), "conf", "payload.env_file", [f"-{conf}"], why)
    for path in entries(directory):
        if path.name not in _OWN:
            draft.lost(Place(str(path)), path.name, "runit does not know such a file, and neither does arje")
    defaults(draft, "runsv")


def defaults(draft: Draft, who: str) -> None:
    """Set what a supervisor of this family does untold."""
    here = draft.place
    draft.kept(here, "it starts again whenever it ends, at most once a second", "supervision.restart", "always")
    draft.default("supervision.initial", "1s")
    draft.default("supervision.max", "1s")
    draft.default("supervision.rate_limit", {"starts": 0})
    draft.near(
        here, "its environment", f"{who} passes its own on; a card names what it takes", "payload.pass_env", ["PATH"]
    )
    if "supervision.stop_timeout" not in draft.fields:
        draft.near(here, "its stop", f"what is left 10 s after TERM is killed; {who} waits for ever")


def _beside(directory: Path, name: str) -> dict[str, Any]:
    """Return the command that runs a script as runsv does: in the service's directory, as nobody else."""
    line = f"cd {shlex.quote(str(directory))} && exec ./{shlex.quote(name)}"
    return {"exec": "/bin/sh", "argv": ["-c", line], "privileged": True}


def finish(draft: Draft, script: Path, killed: str, more: str = "") -> None:
    """Let a draft run a finish script after each end. ``killed``: what stands for the exit code of one that was killed."""
    place = Place(str(script))
    plain = [line for line in text_of(script).splitlines() if line.strip() and not line.startswith(("#", "set "))]
    if plain == ['exec /lib/runit/finish-exec "$@"']:
        draft.lost(place, "finish", "it does what Debian's runit wants at an end, which arje does without it")
        return
    name, directory = shlex.quote(script.name), shlex.quote(str(script.parent))
    words = _FINISH.format(directory=directory, name=name, killed=killed, more=more)
    why = "its exit code and signal are put together from what arje's hooks are told"
    command = {"exec": "/bin/sh", "argv": ["-c", words], "privileged": True}
    draft.near(place, "finish", why, "hooks.cleanup", [command])


def _control(draft: Draft, directory: Path) -> None:
    if not directory.is_dir():
        return
    for script in entries(directory):
        place, name = Place(str(script)), f"control/{script.name}"
        if script.name in ("t", "d") and "hooks.stop" not in draft.fields:
            why = "it runs before the stop signal, and not instead of it"
            draft.near(place, name, why, "hooks.stop", [_beside(directory.parent, name)])
        elif script.name == "h":
            draft.kept(place, name, "supervision.reload", {"exec": _beside(directory.parent, name)})
        else:
            draft.lost(place, name, "no command of arjectl is replaced by a script")
