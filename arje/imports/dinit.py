"""dinit's service descriptions (dinit-service(5)): one ``name = value`` a line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from arje.errors import CardError
from arje.imports.dinit_settings import SETTINGS, VARIABLE, WHY, YES, Setting, number, option
from arje.imports.draft import Draft, Place, Read, wrong
from arje.imports.source import text_of

_SETTING: Final = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)\s*(\+?=|:)\s*(.*)", re.DOTALL)
_TYPES: Final = ("process", "bgprocess", "scripted", "internal", "triggered")


def is_description(text: str) -> bool:
    """Whether a text looks like one: nothing but settings, and among them a type or a command."""
    names = set()
    for line in text.splitlines():
        plain = line.strip()
        if not plain or plain[0] in "#@":
            continue
        if not (found := _SETTING.fullmatch(plain)):
            return False
        names.add(found[1])
    return bool(names & {"type", "command"})


def read(file: Path, found: Read) -> None:
    """Read one description; what is wrong with it is noted in ``found``."""
    draft = found.draft(file.name, Place(str(file)), "dinit's service description")
    try:
        settings = list(_settings(file, found))
        _describe(draft, settings)
        for setting in settings:
            if setting.name == "consumer-of":
                found.pipes.append((setting.text, draft.label, setting.place))
    except CardError as error:
        found.problems += error.problems
        found.drafts.remove(draft)


def _settings(file: Path, found: Read, depth: int = 0) -> Iterator[Setting]:
    if depth > 8:
        raise wrong(Place(str(file)), "files that include each other", "take the @include out")
    text = text_of(file).replace("\\\n", "  ")
    for at, line in enumerate(text.splitlines(), 1):
        plain, place = line.strip(), Place(str(file), at)
        if not plain or plain.startswith("#"):
            continue
        if plain.startswith("@"):
            yield from _meta(plain, place, file, found, depth)
            continue
        if not (match := _SETTING.fullmatch(plain)):
            raise wrong(place, f"{plain[:60]!r} is no setting", 'write "name = value"')
        yield Setting(match[1], tuple(_parts(match[3], place)), place, match[2] == "+=")


def _meta(plain: str, place: Place, file: Path, found: Read, depth: int) -> Iterator[Setting]:
    words = plain.split()
    if words[0] in ("@include", "@include-opt") and len(words) == 2:
        other = file.parent / words[1]
        if other.exists() or words[0] == "@include":
            yield from _settings(other, found, depth + 1)
    elif words[:2] == ["@meta", "enable-via"] and len(words) == 3:
        yield Setting("@enable-via", (words[2],), place)
    else:
        raise wrong(place, f"{words[0]} is not known", "@include, @include-opt and @meta enable-via are read")


def _parts(value: str, place: Place) -> Iterator[str]:
    """Yield the words of a value: double quotes keep together, a backslash takes the next letter as it is."""
    word: list[str] = []
    begun = quoted = False
    letters = iter(enumerate(value))
    for at, char in letters:
        if char == "\\":
            word.append(next(letters, (0, ""))[1])
            begun = True
        elif char == '"':
            quoted, begun = not quoted, True
        elif char.isspace() and not quoted:
            if begun:
                yield "".join(word)
            word, begun = [], False
        elif char == "#" and not begun and not quoted and (at == 0 or value[at - 1].isspace()):
            break
        else:
            word.append(char)
            begun = True
    if quoted:
        raise wrong(place, "a quote is never closed", "close it")
    if begun:
        yield "".join(word)


def _describe(draft: Draft, settings: list[Setting]) -> None:
    last = {setting.name: setting for setting in settings}
    kind = last["type"].text if "type" in last else "process"
    if kind not in _TYPES:
        raise wrong(last["type"].place, f"there is no type {kind!r}", f"one of {', '.join(_TYPES)}")
    command: list[str] = []
    for setting in settings:
        if setting.name == "command":
            command = [*command, *setting.words] if setting.more else list(setting.words)
        elif setting.name == "stop-command":
            before = draft.fields.get("hooks.stop", []) if setting.more else []
            draft.kept(setting.place, setting.what, "hooks.stop", [*before, *_expanded(draft, setting)])
        elif setting.name in SETTINGS:
            SETTINGS[setting.name](draft, setting)
        elif setting.name == "options":
            for word in setting.words:
                option(draft, setting, word)
        elif setting.name not in ("type", *_LATER):
            draft.lost(setting.place, setting.what, WHY.get(setting.name, "dinit's own, and unknown here"))
    _kind(draft, kind, last)
    if command and kind not in ("internal", "triggered"):
        words = _expanded(draft, Setting("command", tuple(command), last["command"].place))
        draft.kept(last["command"].place, last["command"].what, "payload.exec", words[0])
        if words[1:]:
            draft.fields["payload.argv"] = words[1:]
        why = "dinit passes its own on; a card names what it takes"
        draft.near(draft.place, "its environment", why, "payload.pass_env", ["PATH"])
    elif kind not in ("internal", "triggered"):
        raise wrong(
            last["type"].place if "type" in last else draft.place, f"a {kind} without command", "write command = …"
        )
    _restarts(draft, kind, last)


def _kind(draft: Draft, kind: str, last: dict[str, Setting]) -> None:
    place = last["type"].place if "type" in last else draft.place
    if kind in ("internal", "triggered"):
        if kind == "internal":
            draft.kept(place, "type = internal", "payload", "virtual")
        else:
            why = "a group is up once what it needs is; nobody triggers it"
            draft.near(place, "type = triggered", why, "payload", "virtual")
    elif kind == "process":
        draft.kept(place, "type = process", "supervision.kind", "daemon")
    elif kind == "scripted":
        draft.kept(place, "type = scripted", "supervision.kind", "scripted")
    else:
        why = (
            "arje follows no pid file: it is up until it is stopped, and not started again when it dies; better run it in \
the foreground"
        )
        draft.near(place, "type = bgprocess", why, "supervision.kind", "scripted")
        if "pid-file" in last:
            draft.lost(last["pid-file"].place, last["pid-file"].what, "the cgroup tells what is of the service")


def _restarts(draft: Draft, kind: str, last: dict[str, Setting]) -> None:
    if kind != "process":
        return
    place = last["restart"].place if "restart" in last else draft.place
    word = last["restart"].text if "restart" in last else "no"
    if word not in (*YES, "on-failure"):
        raise wrong(place, f"restart = {word!r}", "yes, on-failure or no")
    if "restart" not in last:
        why = "dinit's default has changed over its versions, and is taken as no"
        draft.near(place, "no word about restart", why, "supervision.restart", "never")
        return
    when = "on-failure" if word == "on-failure" else "always" if YES[word] else "never"
    draft.kept(place, f"restart = {word}", "supervision.restart", when)
    delay = number(last["restart-delay"]) if "restart-delay" in last else 0.2
    count = int(number(last["restart-limit-count"])) if "restart-limit-count" in last else 3
    interval = number(last["restart-limit-interval"]) if "restart-limit-interval" in last else 10.0
    if when != "never":
        draft.kept(_at(last, "restart-delay", place), f"restart-delay = {delay:g}", "supervision.initial", delay)
        draft.fields["supervision.max"] = delay
        what = f"restart-limit: {count} in {interval:g} s"
        table = {"starts": count + 1 if count else 0, "interval": interval}
        draft.kept(_at(last, "restart-limit-count", place), what, "supervision.rate_limit", table)


def _at(last: dict[str, Setting], name: str, place: Place) -> Place:
    return last[name].place if name in last else place


def _expanded(draft: Draft, setting: Setting) -> list[str]:
    """Return words with ``$NAME`` as it is here and now; dinit takes it from its own environment when it loads."""

    def meant(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if not name:
            return "$"
        value = os.environ.get(name, "")
        draft.near(setting.place, f"${name}", f"its value of now is written down, {value!r}; it stays when it changes")
        return value

    return [VARIABLE.sub(meant, word) for word in setting.words]


_LATER: Final = ("consumer-of", "restart", "restart-delay", "restart-limit-interval", "restart-limit-count", "pid-file")
