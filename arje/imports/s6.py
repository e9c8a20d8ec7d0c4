"""s6's service directories (servicedir): runit's, with files that each say one thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from arje.imports import runit
from arje.imports.draft import Draft, Place, Read, wrong
from arje.imports.script import take_over
from arje.imports.source import entries, first_line, text_of

#: Files that runit's directories do not have.
MARKS: Final = (
    *(
        "notification-fd",
        "down-signal",
        "timeout-kill",
        "timeout-finish",
        "max-death-tally",
        "lock-fd",
        "flag-newpidns",
    ),
    *("nosetsid", "type", "producer-for", "consumer-for"),
)
_IGNORED: Final = ("run", "finish", "event", "supervise", "data", "env", "log", "instance", "instances")


def is_directory(path: Path) -> bool:
    """Whether it is one of s6's, and not runit's: by a file that only s6 knows, or by execline."""
    if not runit.is_directory(path):
        return False
    if any((path / name).exists() for name in MARKS):
        return True
    with (path / "run").open("rb") as stream:
        return b"execlineb" in stream.readline(256)


def read(directory: Path, found: Read) -> None:
    """Read one service directory; what is wrong with it is noted in ``found``."""
    runit.read_with_log(directory, found, "s6", service)


def service(draft: Draft, directory: Path, *, apart: bool, also: tuple[str, ...] = ()) -> None:
    """Read ``run`` and what stands beside it into a draft. ``also``: names that others read. Raises CardError."""
    run = directory / "run"
    take_over(draft, run, text_of(run), directory, apart=apart)
    for path in entries(directory):
        place = Place(str(path), 1 if path.is_file() and path.stat().st_size else 0)
        if path.name in _FILES:
            _FILES[path.name](draft, place, path)
        elif path.name not in (*_IGNORED, *also):
            draft.lost(place, path.name, "s6 does not know such a file, and neither does arje")
    if (finish := directory / "finish").is_file():
        runit.finish(draft, finish, "256", f" {draft.label}")
    runit.defaults(draft, "s6-supervise")


def number(path: Path) -> int:
    """Return the number that a file holds. Raises CardError."""
    text = first_line(path)
    if not text.isascii() or not text.isdecimal() or len(text) > 10:
        raise wrong(Place(str(path), 1), f"{text!r} is no number", "write one number")
    return int(text)


def milliseconds(path: Path) -> str:
    """Return the duration that a file of milliseconds means. Raises CardError."""
    count = number(path)
    return f"{count // 1000}s" if count % 1000 == 0 else f"{count}ms"


def _notification(draft: Draft, place: Place, path: Path) -> None:
    fd = number(path)
    if fd < 3:
        draft.lost(place, f"notification-fd {fd}", "readiness is told by descriptor 3 or above")
    elif "supervision.readiness" in draft.fields:
        draft.kept(place, f"notification-fd {fd}")  # s6-notifyoncheck writes to it, and its check is asked here
    else:
        draft.kept(place, f"notification-fd {fd}", "supervision.readiness", f"fd:{fd}")


def _down(draft: Draft, place: Place, _path: Path) -> None:
    draft.kept(place, "down", "enabled", False)


def _signal(draft: Draft, place: Place, path: Path) -> None:
    text = first_line(path)
    draft.kept(place, f"down-signal {text}", "supervision.stop_signal", int(text) if text.isdecimal() else text)


def _kill(draft: Draft, place: Place, path: Path) -> None:
    if number(path):
        draft.kept(place, "timeout-kill", "supervision.stop_timeout", milliseconds(path))
    else:
        why = "it is killed after a day; s6 would never"
        draft.near(place, "timeout-kill 0", why, "supervision.stop_timeout", "1d")


def _deaths(draft: Draft, place: Place, path: Path) -> None:
    count = number(path)
    why = "s6 only remembers so many deaths, for s6-permafailon; arje always keeps the last states"
    draft.near(place, f"max-death-tally {count}", why)


def _pid_namespace(draft: Draft, place: Place, _path: Path) -> None:
    draft.kept(place, "flag-newpidns", "soma.namespaces", ["pid"])


def _no_session(draft: Draft, place: Place, _path: Path) -> None:
    draft.kept(place, "nosetsid", "soma.new_session", False)


def _told(why: str) -> Callable[[Draft, Place, Path], None]:
    def tell(draft: Draft, place: Place, path: Path) -> None:
        draft.near(place, path.name, why)

    return tell


_FILES: Final[dict[str, Callable[[Draft, Place, Path], None]]] = {
    "notification-fd": _notification,
    "down": _down,
    "down-signal": _signal,
    "timeout-kill": _kill,
    "timeout-finish": _told("a hook may take as long as a stop may"),
    "max-death-tally": _deaths,
    "flag-newpidns": _pid_namespace,
    "nosetsid": _no_session,
    "lock-fd": _told("no lock is held: arje itself sees to it that only one of it runs, across its own restarts"),
}
