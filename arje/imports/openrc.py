"""OpenRC's service scripts (openrc-run(8)): what their variables and ``depend`` say; their functions as hooks of a shell.

A script that has its own ``start`` is run as it is, by openrc-run, as a scripted service.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from arje.errors import CardError
from arje.imports import chain, openrc_shell, shell
from arje.imports.chain import NotOurs
from arje.imports.draft import Draft, Place, Read, wrong
from arje.imports.openrc_shell import Script
from arje.imports.openrc_variables import TRUE, retry_schedule, variables
from arje.imports.shell import Broken, Dynamic
from arje.imports.source import text_of

_EDGES: Final = {
    "need": ("requires", ""),
    "use": ("after", "it is ordered, and not pulled in: whether it is in the runlevel is not known here"),
    "want": ("wants", ""),
    "after": ("after", ""),
    "before": ("before", ""),
    "provide": ("provides", ""),
}


def is_script(first: str) -> bool:
    """Whether a script is OpenRC's, by its first line."""
    return bool(re.match(r"#!\s*\S*(openrc-run|runscript)\b|#!\s*/usr/bin/env\s+openrc-run\b", first))


def read(file: Path, found: Read) -> None:
    """Read one script and its conf.d; what is wrong with it is noted in ``found``."""
    draft = found.draft(file.name, Place(str(file)), "OpenRC's service script")
    try:
        script = Script(file, [*_conf(file), (str(file), text_of(file))])
        _service(draft, script)
    except CardError as error:
        found.problems += error.problems
        found.drafts.remove(draft)
    except Broken as error:
        found.wrong(Place(str(file), error.line), str(error), "mend the script")
        found.drafts.remove(draft)


def _conf(file: Path) -> Iterator[tuple[str, str]]:
    conf = file.absolute().parent.parent / "conf.d" / file.name
    if conf.is_file():
        yield str(conf), text_of(conf)


def _service(draft: Draft, script: Script) -> None:
    if description := script.variables.get("description"):
        draft.kept(script.place("description"), "description", "description", description)
    _depend(draft, script)
    for name in ("rc_need", "rc_use", "rc_want", "rc_after", "rc_before", "rc_provide"):
        if name in script.variables:
            _edge(draft, script.place(name), name[3:], script.variables[name].split())
    if "start" in script.functions or "command" not in script.known:
        _as_it_is(draft, script, "start" if "start" in script.functions else "")
        return
    try:
        _command(draft, script)
    except (Dynamic, NotOurs) as error:
        for name in [name for name in draft.fields if name.partition(".")[0] in ("payload", "soma", "supervision")]:
            del draft.fields[name]
        _as_it_is(draft, script, str(error))
        return
    variables(draft, script)
    _stop(draft, script)
    openrc_shell.hooks(draft, script)
    why = "OpenRC passes its own on; a card names what it takes"
    draft.near(draft.place, "its environment", why, "payload.pass_env", ["PATH"])


def _as_it_is(draft: Draft, script: Script, why: str) -> None:
    place = script.place_of_function("start")
    if not why and "command" not in script.known:
        raise wrong(script.whole, "neither command nor start(): it starts nothing", "write command=…")
    how = "it has its own start()" if why == "start" else f"only a shell can know {why}"
    draft.near(place, "the script", f"openrc-run itself starts it: {how}", "payload.exec", str(script.file))
    draft.fields["payload.argv"] = ["start"]
    draft.default("supervision.kind", "scripted")
    draft.kept(place, "stop", "hooks.stop", [str(script.file), "stop"])
    draft.default("payload.pass_env", ["PATH"])
    if "reload" in script.functions:
        draft.kept(script.place_of_function("reload"), "reload", "supervision.reload", [str(script.file), "reload"])


def _depend(draft: Draft, script: Script) -> None:
    body = script.functions.get("depend")
    if body is None:
        return
    for statement in shell.statements(body.text):
        place = script.within(body, statement.line)
        try:
            words = shell.words(statement.text, script.variables, place.line)
        except Dynamic as error:
            draft.lost(place, statement.text.partition("\n")[0], f"only a shell can know {error}")
            continue
        if words and words[0] in _EDGES:
            _edge(draft, place, words[0], words[1:])
        elif words and words[0] == "keyword":
            _keywords(draft, place, words[1:])
        elif words:
            draft.lost(place, statement.text, "depend() of OpenRC knows no such word")


def _edge(draft: Draft, place: Place, kind: str, names: list[str]) -> None:
    field, why = _EDGES[kind]
    for name in names:
        if name == "*":
            draft.lost(place, f"{kind} *", "a card names who comes first")
        elif name.startswith("!"):
            draft.lost(place, f"{kind} {name}", "there is nothing here that it would take away")
        elif field != "provides" or name != draft.label:
            draft.add(place, f"{kind} {name}", field, [name], why)


def _keywords(draft: Draft, place: Place, words: list[str]) -> None:
    for word in words:
        kind = word.removeprefix("-").removeprefix("no")
        if kind in (
            "docker",
            "lxc",
            "openvz",
            "systemd-nspawn",
            "podman",
            "uml",
            "vserver",
            "xen0",
            "xenu",
            "containers",
        ):
            test = {"containers": "!container", "xen0": "!xen", "xenu": "!xen"}.get(kind, f"!{kind}")
            draft.add(place, f"keyword {word}", "conditions.virtualization", [test])
        else:
            draft.lost(place, f"keyword {word}", "it is about the end of the machine, or about OpenRC itself")


def _command(draft: Draft, script: Script) -> None:
    place = script.place("command")
    words = shlex.split(script.need("command"))
    background = script.get("command_background").lower() in TRUE
    supervised = script.get("supervisor") in ("supervise-daemon", "s6", "runit")
    arguments = ["command_args"]
    if supervised or (not background and script.get("command_args_foreground")):
        arguments.append("command_args_foreground")
    elif script.get("command_args_background") and not background:
        arguments.append("command_args_background")
    for name in arguments:
        if name in script.known:
            words += shlex.split(script.need(name))
    chain.program(draft, place, chain.unchain(draft, place, words))
    for name in arguments:
        if name in script.known:
            draft.kept(script.place(name), name, "payload.argv", draft.fields.get("payload.argv", []))
    if background:
        draft.kept(script.place("command_background"), "command_background")
    if supervised:
        _respawned(draft, script)
    elif not background and "command_args_foreground" not in arguments:
        why = (
            "arje follows no pid file: it is up until it is stopped, and not started again when it dies; better run it in \
the foreground, as a daemon"
        )
        draft.near(place, "it goes to the background by itself", why, "supervision.kind", "scripted")
    else:
        draft.kept(place, "it is not started again when it ends", "supervision.restart", "never")
    if "pidfile" in script.known:
        draft.lost(script.place("pidfile"), "pidfile", "arje knows the process that it has started")


def _respawned(draft: Draft, script: Script) -> None:
    draft.kept(script.place("supervisor"), f"supervisor={script.get('supervisor')}", "supervision.restart", "always")
    delay, most, period = (script.get(f"respawn_{name}") for name in ("delay", "max", "period"))
    for name, text in (("respawn_delay", delay), ("respawn_max", most), ("respawn_period", period)):
        if text and not re.fullmatch(r"\d{1,9}", text):
            raise wrong(script.place(name), f"{name}={text!r} is no number", "write a number", name)
    draft.kept(script.place("respawn_delay"), f"respawn_delay={delay or 0}", "supervision.initial", f"{delay or 0}s")
    draft.fields["supervision.max"] = f"{delay or 0}s"
    starts = int(most or 10) + 1 if most != "0" else 0
    table = {"starts": starts, "interval": f"{period or 10}s"}
    what = f"respawn_max={most or 10}"
    if period or not starts:
        draft.kept(script.place("respawn_max"), what, "supervision.rate_limit", table)
    else:
        why = "so many in ten seconds; supervise-daemon counts over its whole life"
        draft.near(script.place("respawn_max"), what, why, "supervision.rate_limit", table)


def _stop(draft: Draft, script: Script) -> None:
    if signal := script.get("stopsig"):
        draft.kept(script.place("stopsig"), f"stopsig={signal}", "supervision.stop_signal", signal.removeprefix("SIG"))
    if retry := script.get("retry"):
        retry_schedule(draft, script.place("retry"), retry)
    else:
        why = "it is killed after that; OpenRC would give up"
        draft.near(draft.place, "5 s to stop", why, "supervision.stop_timeout", "5s")
