"""The variables of an OpenRC script that say how its daemon runs, and the options of start-stop-daemon that do."""

from __future__ import annotations

import getopt
import re
import shlex
from collections.abc import Callable
from typing import Final

from arje.imports import chain
from arje.imports.draft import Draft, Place, wrong
from arje.imports.openrc_shell import Script

TRUE: Final = ("yes", "true", "1", "on")
_LONG: Final = (
    *("background", "chdir=", "chroot=", "env=", "group=", "ionice=", "make-pidfile", "nicelevel=", "oom-score-adj="),
    *(
        "pidfile=",
        "progress",
        "quiet",
        "retry=",
        "stderr=",
        "stdout=",
        "umask=",
        "user=",
        "chuid=",
        "wait=",
        "scheduler=",
    ),
    *(
        "respawn-delay=",
        "respawn-max=",
        "respawn-period=",
        "healthcheck-timer=",
        "healthcheck-delay=",
        "notify=",
        "verbose",
    ),
    *(
        "stdout-logger=",
        "stderr-logger=",
        "no-new-privs",
        "capabilities=",
        "secbits=",
        "name=",
        "startas=",
        "interpreted",
    ),
)
_SHORT: Final = {
    "b": "background",
    "d": "chdir",
    "r": "chroot",
    "e": "env",
    "g": "group",
    "I": "ionice",
    "m": "make-pidfile",
    "N": "nicelevel",
    "p": "pidfile",
    "R": "retry",
    "2": "stderr",
    "1": "stdout",
    "k": "umask",
    "u": "user",
    "w": "wait",
    "c": "chuid",
    "D": "respawn-delay",
    "P": "respawn-period",
    "q": "quiet",
    "v": "verbose",
    "n": "name",
}


def retry_schedule(draft: Draft, place: Place, retry: str) -> None:
    words = retry.replace("SIG", "").strip("/").split("/")
    if len(words) == 1 and words[0].isdecimal():
        draft.kept(place, f"retry={retry}", "supervision.stop_timeout", f"{words[0]}s")
        return
    if len(words) % 2 or not all(word.isdecimal() for word in words[1::2]):
        raise wrong(place, f"retry={retry!r} is no schedule", "write TERM/5/KILL/5", "retry")
    steps = [f"{name}/{secs}" for name, secs in zip(words[::2], words[1::2], strict=True) if name not in ("KILL", "9")]
    draft.kept(place, f"retry={retry}", "supervision.stop", " ".join(steps) if steps else "TERM/0")


def variables(draft: Draft, script: Script) -> None:
    for name, act in _NAMES.items():
        if value := script.get(name):
            act(draft, script.place(name), f"{name}={value}", value)
    supervised = script.get("supervisor") == "supervise-daemon"
    name = (
        "supervise_daemon_args" if supervised and "supervise_daemon_args" in script.known else "start_stop_daemon_args"
    )
    if name in script.known:
        _options(draft, script.place(name), name, script.need(name))
    for other in ("output_logger", "error_logger", "rc_cgroup_settings", "capabilities", "secbits"):
        if other in script.known:
            draft.lost(script.place(other), other, _WHY[other])


def _options(draft: Draft, place: Place, variable: str, value: str) -> None:
    letters = "".join(f"{letter}{':' if f'{name}=' in _LONG else ''}" for letter, name in _SHORT.items())
    try:
        found, _ = getopt.gnu_getopt(shlex.split(value), letters, list(_LONG))
    except (getopt.GetoptError, ValueError) as error:
        raise wrong(place, f"{variable}: {error}", "see start-stop-daemon(8)", variable) from error
    for option, given in found:
        name = option.removeprefix("--") if option.startswith("--") else _SHORT[option[1]]
        if name in _ARGUMENTS:
            _NAMES[_ARGUMENTS[name]](draft, place, f"{option} {given}", given)
        elif name == "retry":
            retry_schedule(draft, place, given)
        elif name == "env":
            key, _, value = given.partition("=")
            draft.merge(place, f"--env {key}", "payload.env", {key: value})
        elif name not in ("background", "make-pidfile", "pidfile", "quiet", "progress", "verbose", "name", "startas"):
            draft.lost(place, f"{option} {given}".strip(), "it is start-stop-daemon's own")


def _put(field: str) -> Callable[[Draft, Place, str, str], None]:
    return lambda draft, place, what, value: draft.kept(place, what, field, value)


def _number(field: str) -> Callable[[Draft, Place, str, str], None]:
    def put(draft: Draft, place: Place, what: str, value: str) -> None:
        if not re.fullmatch(r"-?\d{1,9}", value):
            raise wrong(place, f"{what} is no number", "write a number")
        draft.kept(place, what, field, int(value))

    return put


def _paths(field: str) -> Callable[[Draft, Place, str, str], None]:
    return lambda draft, place, what, value: draft.add(place, what, field, value.split())


def _output(stream: str) -> Callable[[Draft, Place, str, str], None]:
    return lambda draft, place, what, value: draft.kept(place, what, f"soma.stdio.{stream}", f"append:{value}")


def _io(draft: Draft, place: Place, what: str, value: str) -> None:
    kind, _, data = value.partition(":")
    names = {"0": "none", "1": "realtime", "2": "best-effort", "3": "idle"}
    word = names.get(kind, kind)
    draft.kept(place, what, "soma.ioprio", f"{word}:{data}" if data and word in ("realtime", "best-effort") else word)


def _ulimit(draft: Draft, place: Place, _what: str, value: str) -> None:
    for letter, amount in re.findall(r"-[SH]?([a-z])\s+(\S+)", value):
        names = {
            "n": "nofile",
            "u": "nproc",
            "c": "core",
            "l": "memlock",
            "s": "stack",
            "v": "as",
            "f": "fsize",
            "d": "data",
        }
        if letter in names:
            number = str(int(amount) * 1024) if amount.isdecimal() and letter in "dflsv" else amount
            chain.limit(draft, place, f"rc_ulimit -{letter} {amount}", names[letter], number)
        else:
            draft.lost(place, f"rc_ulimit -{letter} {amount}", "a card has no such limit")


def _root(draft: Draft, place: Place, what: str, value: str) -> None:
    draft.kept(place, what, "soma.root", value)
    draft.fields["soma.namespaces"] = ["mount"]


def _notify(draft: Draft, place: Place, what: str, value: str) -> None:
    if re.fullmatch(r"fd:([3-9]|\d\d+)", value):
        draft.kept(place, what, "supervision.readiness", value)
    elif value == "socket:ready":
        draft.kept(place, what, "supervision.readiness", "notify")
    else:
        draft.lost(place, what, "readiness is told by descriptor 3 or above, or by sd_notify(3)")


_NAMES: Final[dict[str, Callable[[Draft, Place, str, str], None]]] = {
    "command_user": _put("soma.run_as"),
    "directory": _put("soma.chdir"),
    "chroot": _root,
    "umask": _put("soma.umask"),
    "output_log": _output("stdout"),
    "error_log": _output("stderr"),
    "required_files": _paths("asserts.path_exists"),
    "required_dirs": _paths("asserts.directory"),
    "SSD_NICELEVEL": _number("soma.nice"),
    "SSD_IONICELEVEL": _io,
    "SSD_OOM_SCORE_ADJ": _number("soma.oom_score_adj"),
    "rc_ulimit": _ulimit,
    "notify": _notify,
    "no_new_privs": lambda draft, place, what, value: draft.kept(
        place, what, "soma.no_new_privs", value.lower() in TRUE
    ),
}
_ARGUMENTS: Final = {
    "user": "command_user",
    "chuid": "command_user",
    "chdir": "directory",
    "chroot": "chroot",
    "umask": "umask",
    "stdout": "output_log",
    "stderr": "error_log",
    "nicelevel": "SSD_NICELEVEL",
    "ionice": "SSD_IONICELEVEL",
    "oom-score-adj": "SSD_OOM_SCORE_ADJ",
    "notify": "notify",
}
_WHY: Final = {
    "output_logger": "arje keeps the log: arjectl logs; or name a service in log.to",
    "error_logger": "arje keeps the log: arjectl logs",
    "rc_cgroup_settings": "write the limits into soma.cgroup",
    "capabilities": "write them into soma.capabilities, by their names",
    "secbits": "write them into soma.securebits, by their names",
}
