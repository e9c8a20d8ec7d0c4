"""The settings of a dinit service, each with what a card says in its place (dinit-service(5), "SERVICE PROPERTIES")."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arje.imports.chain import user
from arje.imports.draft import Draft, Place, wrong
from arje.imports.source import entries

YES: Final = {"yes": True, "true": True, "no": False, "false": False}
VARIABLE: Final = re.compile(r"\$\$|\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Setting:
    """One line. ``words`` are the value's parts as a command has them."""

    name: str
    words: tuple[str, ...]
    place: Place
    more: bool = False

    @property
    def text(self) -> str:
        """The value as one text."""
        return " ".join(self.words)

    @property
    def what(self) -> str:
        """The setting as a person wrote it."""
        return f"{self.name} = {self.text}"


def number(setting: Setting) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(found := float(setting.text)):
            return found
    raise wrong(setting.place, f"{setting.text!r} is no number", "", setting.name)


def _put(field: str) -> Callable[[Draft, Setting], None]:
    return lambda draft, setting: draft.kept(setting.place, setting.what, field, setting.text)


def _append(field: str) -> Callable[[Draft, Setting], None]:
    return lambda draft, setting: draft.add(setting.place, setting.what, field, [setting.text])


def _seconds(field: str) -> Callable[[Draft, Setting], None]:
    def put(draft: Draft, setting: Setting) -> None:
        if field == "supervision.stop_timeout" and not number(setting):
            draft.near(setting.place, setting.what, "it is killed after a day; dinit would never", field, "1d")
        else:
            draft.kept(setting.place, setting.what, field, number(setting))

    return put


def _limit(name: str) -> Callable[[Draft, Setting], None]:
    def put(draft: Draft, setting: Setting) -> None:
        soft, colon, hard = setting.text.partition(":")
        values = [_amount(value, setting) for value in ((soft, hard) if colon else (soft, soft))]
        if None in values:
            why = "a card sets both limits: the one that is given"
            number = next((value for value in values if value is not None), "infinity")
            draft.merge(setting.place, setting.what, "soma.rlimits", {name: number}, why)
        else:
            one = values[0] if values[0] == values[1] else values
            draft.merge(setting.place, setting.what, "soma.rlimits", {name: one})

    return put


def _amount(value: str, setting: Setting) -> str | int | None:
    if value == "-":
        return "infinity"
    if value and not value.isdecimal():
        raise wrong(setting.place, f"{value!r} is no limit", "a number, or -", setting.name)
    return int(value) if value else None


def _directory(field: str) -> Callable[[Draft, Setting], None]:
    def put(draft: Draft, setting: Setting) -> None:
        base = Path(setting.place.file).parent / setting.text
        if base.is_dir():
            draft.add(setting.place, setting.what, field, [path.name for path in entries(base)])
        else:
            draft.lost(setting.place, setting.what, "there is no such directory here")

    return put


def _run_as(draft: Draft, setting: Setting) -> None:
    user(draft, setting.place, setting.what, setting.text)


def _log(draft: Draft, setting: Setting) -> None:
    for stream in ("stdout", "stderr"):
        draft.kept(setting.place, setting.what, f"soma.stdio.{stream}", f"append:{setting.text}")


def _log_type(draft: Draft, setting: Setting) -> None:
    if setting.text == "none":
        draft.kept(setting.place, setting.what, "soma.stdio.stdout", "null")
        draft.fields["soma.stdio.stderr"] = "null"
    elif setting.text in ("buffer", "file", "pipe"):
        draft.kept(setting.place, setting.what)
    else:
        raise wrong(setting.place, f"there is no log-type {setting.text!r}", "buffer, file, pipe or none")


def _signal(draft: Draft, setting: Setting) -> None:
    if setting.text == "none":
        draft.near(
            setting.place,
            setting.what,
            "it is asked to stop by CONT, which says nothing",
            "supervision.stop_signal",
            "CONT",
        )
    else:
        draft.kept(setting.place, setting.what, "supervision.stop_signal", setting.text)


def _ready(draft: Draft, setting: Setting) -> None:
    way, _, rest = setting.text.partition(":")
    if way == "pipefd" and rest.isdecimal() and int(rest) >= 3:
        draft.kept(setting.place, setting.what, "supervision.readiness", f"fd:{rest}")
    elif way == "pipevar" and rest:
        why = "the descriptor is always 7 here, and the variable says so"
        draft.near(setting.place, setting.what, why, "supervision.readiness", "fd:7")
        draft.merge(setting.place, f"the variable {rest}", "payload.env", {rest: "7"})
    else:
        draft.lost(setting.place, setting.what, "readiness is told by descriptor 3 or above")


def _socket(draft: Draft, setting: Setting) -> None:
    first = draft.fields.get("sockets", [{"mode": "0666"}])[0]
    key = {"socket-listen": "listen", "socket-permissions": "mode", "socket-uid": "user", "socket-gid": "group"}[
        setting.name
    ]
    value: str | int = f"unix:{setting.text}" if key == "listen" else setting.text
    if key == "mode":
        value = setting.text.zfill(4)
    elif key in ("user", "group") and setting.text.isdecimal():
        value = int(setting.text)
    draft.kept(setting.place, setting.what, "sockets", [first | {key: value}])


def _smooth(draft: Draft, setting: Setting) -> None:
    if YES.get(setting.text):
        draft.kept(setting.place, setting.what)  # a restart in place is not felt by dependents
    else:
        draft.near(setting.place, setting.what, "who requires it keeps running while it restarts")


def _priority(field: str) -> Callable[[Draft, Setting], None]:
    return lambda draft, setting: draft.kept(setting.place, setting.what, field, int(number(setting)))


def option(draft: Draft, setting: Setting, option: str) -> None:
    what = f"options = {option}"
    if option in ("runs-on-console", "shares-console", "starts-on-console"):
        for stream in ("stdin", "stdout", "stderr"):
            why = "it shares the console, which nobody has to wait for"
            draft.near(setting.place, what, why, f"soma.stdio.{stream}", "tty:/dev/console")
    elif option == "signal-process-only":
        draft.kept(setting.place, what)
    else:
        draft.lost(setting.place, what, _OPTIONS.get(option, "dinit's own, and unknown here"))


SETTINGS: Final[dict[str, Callable[[Draft, Setting], None]]] = {
    "description": _put("description"),
    "working-dir": _put("soma.chdir"),
    "run-as": _run_as,
    "env-file": _append("payload.env_file"),
    "smooth-recovery": _smooth,
    "start-timeout": _seconds("supervision.start_timeout"),
    "stop-timeout": _seconds("supervision.stop_timeout"),
    "depends-on": _append("requires"),
    "depends-ms": _append("waits_for"),
    "waits-for": _append("wants"),
    "depends-on.d": _directory("requires"),
    "depends-ms.d": _directory("waits_for"),
    "waits-for.d": _directory("wants"),
    "before": _append("before"),
    "after": _append("after"),
    "@enable-via": _append("wanted_by"),
    "chain-to": _append("on_success"),
    "socket-listen": _socket,
    "socket-permissions": _socket,
    "socket-uid": _socket,
    "socket-gid": _socket,
    "term-signal": _signal,
    "termsignal": _signal,
    "ready-notification": _ready,
    "log-type": _log_type,
    "logfile": _log,
    "rlimit-nofile": _limit("nofile"),
    "rlimit-core": _limit("core"),
    "rlimit-data": _limit("data"),
    "rlimit-addrspace": _limit("as"),
    "nice": _priority("soma.nice"),
    "oom-score-adj": _priority("soma.oom_score_adj"),
    "new-session": lambda draft, setting: draft.kept(setting.place, setting.what),
}
WHY: Final = {
    "inittab-id": "arje writes no utmp",
    "inittab-line": "arje writes no utmp",
    "load-options": "variables in commands are always read",
    "log-buffer-size": "arje's log has files, and its bounds by [log]",
    "logfile-permissions": "arje's own rule: who the service runs as owns it",
    "logfile-uid": "who the service runs as owns it",
    "logfile-gid": "who the service runs as owns it",
    "run-in-cgroup": "every service has a cgroup of its own",
}
_OPTIONS: Final = {
    "starts-rwfs": "arje's control socket does not wait for file systems",
    "starts-log": "arje keeps the logs itself",
    "pass-cs-fd": "arje's control socket is a path",
    "start-interruptible": "every start can be taken back by a stop",
    "skippable": 'an interrupt is a failure; write success_exit = ["INT"] if it is none',
    "always-chain": "a chain follows success; write on_failure as well",
    "kill-all-on-stop": "the end of arje kills what is left",
    "unmask-intr": "no signal is masked",
}
