"""One program of supervisord's, option by option, with supervisord's defaults where it says nothing.

The meanings are those of http://supervisord.org/configuration.html.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from arje.imports.draft import Draft, wrong
from arje.imports.ini import Option, Section

_EXPRESSION: Final = re.compile(r"%\(([A-Za-z_]\w*)\)(0?\d*)([sd])|%%")
_TRUE: Final = {"true": True, "1": True, "yes": True, "on": True, "t": True, "y": True} | dict.fromkeys(
    ("false", "0", "no", "off", "f", "n"), False
)
_SIZES: Final = re.compile(r"\d+\s*([KMG]B)?", re.IGNORECASE)


class Program:
    """One program's options, with their expressions expanded."""

    def __init__(self, draft: Draft, section: Section, known: dict[str, str]) -> None:
        self.draft = draft
        self.section = section
        self._known = known
        self.used: set[str] = set()

    def take(self, name: str) -> Option | None:
        """Return an option, expanded. Raises CardError."""
        self.used.add(name)
        option = self.section.options.get(name)
        return Option(name, self.expand(option), option.place) if option else None

    def expand(self, option: Option) -> str:
        """Return the value with each ``%(name)s`` in its place. Raises CardError."""

        def meant(found: re.Match[str]) -> str:
            if not found[1]:
                return "%"
            name = found[1].removeprefix("ENV_")
            if found[1] in self._known:
                value = self._known[found[1]]
                return f"%{found[2]}d" % int(value) if found[3] == "d" and value.isdecimal() else value
            if found[1].startswith("ENV_") and name in os.environ:
                self.draft.near(option.place, found[0], "its value of now is written down, and stays when it changes")
                return os.environ[name]
            raise wrong(option.place, f"{found[0]} has no value here", f"set {name} and import again", option.name)

        return _EXPRESSION.sub(meant, option.value)


def one(program: Program, shared: Section | None) -> None:
    draft, section = program.draft, program.section
    program.used |= {"numprocs", "numprocs_start", "process_name"}
    command = program.take("command")
    if command is None:
        raise wrong(section.place, f"[{section.title}] has no command", "write command=…")
    try:
        words = shlex.split(command.value)
    except ValueError as error:
        raise wrong(command.place, f"command: {error}", "close the quote", "command") from error
    if not words:
        raise wrong(command.place, "command is empty", "write a program", "command")
    directory = program.take("directory")
    if directory:
        draft.kept(directory.place, f"directory={directory.value}", "soma.chdir", directory.value)
    path = words[0]
    if "/" in path and not path.startswith("/"):
        path = str(Path(directory.value if directory else "/", path))
        draft.near(
            command.place, f"command={words[0]}", "a relative path is one below the directory", "payload.exec", path
        )
    else:
        draft.kept(command.place, f"command={words[0]}", "payload.exec", path)
    if words[1:]:
        draft.fields["payload.argv"] = words[1:]
    for name, act in _OPTIONS.items():
        if option := program.take(name):
            act(draft, option)
    _environment(program, shared)
    _living(program)
    _output(program)
    if section.kind == "fcgi-program":
        _fastcgi(program)
    for option in section.options.values():
        if option.name not in program.used:
            why = _LOST.get(option.name, "supervisord does not know such an option")
            draft.lost(option.place, f"{option.name}={option.value}", why)


def _environment(program: Program, shared: Section | None) -> None:
    draft = program.draft
    given = [shared.options["environment"]] if shared and "environment" in shared.options else []
    if own := program.section.options.get("environment"):
        given.append(own)
    program.used.add("environment")
    for option in given:
        text = program.expand(option)
        for name, value in _pairs(text, option).items():
            draft.merge(option.place, f"environment: {name}", "payload.env", {name: value})
    why = "supervisord passes its own on; a card names what it takes"
    draft.near(draft.place, "its environment", why, "payload.pass_env", ["PATH", "LANG", "TZ"])
    if shared and (umask := shared.options.get("umask")) and "soma.umask" not in draft.fields:
        draft.kept(umask.place, f"[supervisord] umask={umask.value}", "soma.umask", umask.value)


def _pairs(text: str, option: Option) -> dict[str, str]:
    """Return the variables of ``KEY="value",KEY2=value``."""
    lexer = shlex.shlex(text, posix=True)
    lexer.wordchars += "/.+-():@%{}$"
    try:
        tokens = [token for token in lexer if token not in (",", ";")]
    except ValueError as error:
        raise wrong(option.place, f"environment: {error}", 'write KEY="value",KEY2="value"', "environment") from error
    if len(tokens) % 3 or any(token != "=" for token in tokens[1::3]):
        raise wrong(
            option.place, "environment is no list of variables", 'write KEY="value",KEY2="value"', "environment"
        )
    return dict(zip(tokens[::3], tokens[2::3], strict=True))


def _living(program: Program) -> None:
    """How often it is started again; supervisord counts what ends within startsecs, and waits one second more each time."""
    draft, here = program.draft, program.section.place
    again, codes = program.take("autorestart"), program.take("exitcodes")
    word = again.value.lower() if again else "unexpected"
    place = again.place if again else here
    expected = _codes(codes) if codes else [0]
    if word == "unexpected":
        draft.kept(place, "autorestart=unexpected", "supervision.restart", "on-failure")
        if good := [code for code in expected if code]:
            draft.kept(codes.place if codes else here, f"exitcodes={good}", "supervision.success_exit", good)
        if 0 not in expected:
            draft.kept(codes.place if codes else here, "exitcodes without 0", "supervision.restart_on", [0])
    elif word in _TRUE:
        when = "always" if _TRUE[word] else "never"
        why = "" if _TRUE[word] else "one that ends while it starts is not tried again either"
        if why:
            draft.near(place, f"autorestart={word}", why, "supervision.restart", when)
        else:
            draft.kept(place, f"autorestart={word}", "supervision.restart", when)
    else:
        raise wrong(place, f"autorestart={word}", "true, false or unexpected", "autorestart")
    tries, secs = program.take("startretries"), program.take("startsecs")
    if word in _TRUE and not _TRUE[word]:
        for option in filter(None, (tries, secs)):
            draft.lost(option.place, f"{option.name}={option.value}", "it is never started again by itself")
        return
    count, up = whole(tries, 3), whole(secs, 1)
    why = "the wait doubles from one second on, and all starts of a minute count, not only failures in a row"
    draft.near(tries.place if tries else here, f"startretries={count}", why, "supervision.initial", "1s")
    draft.fields["supervision.rate_limit"] = {"starts": count + 1, "interval": "1m"}
    if up:
        why = "it is up at once; after so long the waits begin anew"
        draft.near(secs.place if secs else here, f"startsecs={up}", why, "supervision.healthy_after", f"{up}s")


def _codes(option: Option) -> list[int]:
    words = option.value.replace(",", " ").split()
    if not all(word.isdecimal() and int(word) < 256 for word in words):
        raise wrong(option.place, f"exitcodes={option.value}", "write numbers with commas", "exitcodes")
    return [int(word) for word in words]


def _output(program: Program) -> None:
    draft = program.draft
    merged = program.take("redirect_stderr")
    for stream in ("stdout", "stderr"):
        logfile = program.take(f"{stream}_logfile")
        size, backups = program.take(f"{stream}_logfile_maxbytes"), program.take(f"{stream}_logfile_backups")
        if logfile and logfile.value.upper() == "NONE":
            draft.kept(logfile.place, f"{stream}_logfile=NONE", f"soma.stdio.{stream}", "null")
        elif logfile and logfile.value in ("/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "syslog"):
            why = "arje keeps the log: arjectl logs"
            draft.near(logfile.place, f"{stream}_logfile={logfile.value}", why, f"soma.stdio.{stream}", "log")
        elif logfile and logfile.value.upper() != "AUTO":
            path = logfile.value if logfile.value.startswith("/") else str(Path("/", logfile.value))
            draft.kept(logfile.place, f"{stream}_logfile={path}", f"soma.stdio.{stream}", f"append:{path}")
            for option in filter(None, (size, backups)):
                why = 'files of the service\'s own are rotated by logrotate(8); with "log" arje rotates'
                draft.lost(option.place, f"{option.name}={option.value}", why)
            continue
        if size and stream == "stdout":
            _rotation(draft, size)
        if backups and stream == "stdout":
            draft.kept(
                backups.place, f"{backups.name}={backups.value}", "log.rotate_keep", min(whole(backups, 10), 100)
            )
        for option in filter(None, (size, backups) if stream == "stderr" else ()):
            draft.near(
                option.place,
                f"{option.name}={option.value}",
                "one log holds both streams, and its rotation is stdout's",
            )
    if merged and _boolean(merged):
        to = draft.fields.get("soma.stdio.stdout", "log")
        draft.kept(merged.place, "redirect_stderr=true", "soma.stdio.stderr", to)


def _rotation(draft: Draft, size: Option) -> None:
    text = size.value.upper().removesuffix("B")
    if text == "0":
        draft.near(size.place, "no rotation", "the largest is 1T", "log.rotate_size", "1T")
    elif _SIZES.fullmatch(size.value):
        draft.kept(size.place, f"{size.name}={size.value}", "log.rotate_size", text)
    else:
        raise wrong(size.place, f"{size.name}={size.value}", "write 10MB", size.name)


def _fastcgi(program: Program) -> None:
    draft = program.draft
    option = program.take("socket")
    if option is None:
        raise wrong(program.section.place, "a fcgi-program without socket", "write socket=unix:///path")
    way, _, where = option.value.partition("://")
    listen = {"unix": f"unix:{where}", "tcp": f"tcp:{where}"}.get(way)
    if listen is None:
        raise wrong(option.place, f"socket={option.value}", "write unix:///path or tcp://host:port", "socket")
    table: dict[str, Any] = {"listen": listen}
    if mode := program.take("socket_mode"):
        table["mode"] = mode.value.zfill(4)
    if owner := program.take("socket_owner"):
        table |= dict(zip(("user", "group"), owner.value.split(":"), strict=False))
    draft.kept(option.place, f"socket={option.value}", "sockets", [table])
    draft.kept(option.place, "it is passed as descriptor 0", "soma.stdio.stdin", "socket")


def whole(option: Option | None, otherwise: int) -> int:
    if option is None:
        return otherwise
    if not option.value.lstrip("-").isdecimal() or len(option.value) > 9:
        raise wrong(option.place, f"{option.name}={option.value!r} is no number", "write a number", option.name)
    return int(option.value)


def _boolean(option: Option) -> bool:
    if option.value.lower() not in _TRUE:
        raise wrong(option.place, f"{option.name}={option.value!r}", "write true or false", option.name)
    return _TRUE[option.value.lower()]


def _put(field: str) -> Callable[[Draft, Option], None]:
    return lambda draft, option: draft.kept(option.place, f"{option.name}={option.value}", field, option.value)


def _autostart(draft: Draft, option: Option) -> None:
    if _boolean(option):
        draft.kept(option.place, "autostart=true")
    else:
        draft.kept(option.place, "autostart=false", "enabled", False)


def _group_wide(draft: Draft, option: Option) -> None:
    if option.name == "killasgroup" or not _boolean(option):
        draft.kept(option.place, f"{option.name}={option.value}")  # the whole tree always dies
    else:
        draft.near(option.place, "stopasgroup=true", "the signal goes to the main process, the kill after it to all")


def _seconds(field: str) -> Callable[[Draft, Option], None]:
    def put(draft: Draft, option: Option) -> None:
        draft.kept(option.place, f"{option.name}={option.value}", field, f"{whole(option, 10)}s")

    return put


_OPTIONS: Final[dict[str, Callable[[Draft, Option], None]]] = {
    "umask": _put("soma.umask"),
    "user": _put("soma.run_as"),
    "autostart": _autostart,
    "stopsignal": _put("supervision.stop_signal"),
    "stopwaitsecs": _seconds("supervision.stop_timeout"),
    "stopasgroup": _group_wide,
    "killasgroup": _group_wide,
    "priority": lambda draft, option: None,  # told when all are known
}
_LOST: Final = {
    "serverurl": "arje speaks Varlink",
    **dict.fromkeys(
        (f"{stream}_{name}" for stream in ("stdout", "stderr") for name in ("events_enabled", "capture_maxbytes")),
        "arje sends no events of what services write; arjectl logs -f --json does",
    ),
    **dict.fromkeys(("stdout_syslog", "stderr_syslog"), "arje keeps the log; arjectl logs"),
    "socket_backlog": "write backlog into the card's sockets",
    "events": "arje has no event listeners",
}
