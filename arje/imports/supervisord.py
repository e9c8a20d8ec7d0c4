"""supervisord's configuration: programs, groups and FastCGI programs; what they say option by option.

The meanings are those of http://supervisord.org/configuration.html, with supervisord's defaults.
"""

from __future__ import annotations

import glob
import socket
from pathlib import Path
from typing import Final

from arje.errors import CardError
from arje.imports.draft import Draft, Read, label_of, wrong
from arje.imports.ini import Option, Section, sections
from arje.imports.supervisord_program import Program, one, whole

_ITS_OWN: Final = {
    "unix_http_server": "arje has its control socket",
    "inet_http_server": "arje has no web server; arjectl -H HOST asks over ssh",
    "supervisorctl": "arjectl finds the manager by itself",
    "rpcinterface": "arje speaks Varlink",
    "eventlistener": "arjectl events --follow --json tells what becomes of services",
    "ctlplugin": "arjectl has no plugins",
}
_WHY_GLOBAL: Final = "it is the manager's own"


def read(file: Path, found: Read) -> None:
    """Read a configuration and what it includes; what is wrong with it is noted in ``found``."""
    try:
        all_sections = _with_included(file, found)
    except CardError as error:
        found.problems += error.problems
        return
    shared = next((each for each in all_sections if each.kind == "supervisord"), None)
    made: dict[str, list[str]] = {}
    priorities: dict[str, int] = {}
    for section in all_sections:
        if section.kind in ("program", "fcgi-program"):
            try:
                made[section.name] = _program(section, shared, found, priorities)
            except CardError as error:
                found.problems += error.problems
        elif section.kind == "supervisord":
            _manager(section, found)
        elif section.kind in _ITS_OWN:
            found.lost(section.place, f"[{section.title}]", _ITS_OWN[section.kind])
        elif section.kind not in ("group", "include"):
            found.lost(section.place, f"[{section.title}]", "supervisord does not know such a section")
    for section in all_sections:
        if section.kind == "group":
            _group(section, made, found)
    _in_order(found, priorities)


def _with_included(file: Path, found: Read) -> list[Section]:
    made = sections(file, found)
    for section in list(made):
        if section.kind == "include" and (files := section.options.get("files")):
            for pattern in files.value.split():
                where = pattern.replace("%(here)s", str(file.parent)).replace(
                    "%(host_node_name)s", socket.gethostname()
                )
                for each in sorted(glob.glob(where, root_dir=file.parent)):  # noqa: PTH207 - it may be absolute
                    try:
                        made += sections(file.parent / each, found)
                    except CardError as error:
                        found.problems += error.problems
    return made


def _manager(section: Section, found: Read) -> None:
    for option in section.options.values():
        if option.name not in ("environment", "umask"):
            found.lost(option.place, f"[supervisord] {option.name}", _WHY_GLOBAL)


def _program(section: Section, shared: Section | None, found: Read, priorities: dict[str, int]) -> list[str]:
    count = whole(section.options.get("numprocs"), 1)
    first = whole(section.options.get("numprocs_start"), 0)
    if not 1 <= count <= 1000:
        raise wrong(section.options["numprocs"].place, f"numprocs={count}", "1 to 1000 are read", "numprocs")
    labels = []
    for number in range(first, first + count):
        base = {
            "program_name": section.name,
            "process_num": str(number),
            "group_name": section.name,
            "here": str(Path(section.place.file).absolute().parent),
            "host_node_name": socket.gethostname(),
            "numprocs": str(count),
        }
        named = section.options.get("process_name")
        draft = found.draft(
            _name(section, named, base) if named else section.name, section.place, f"supervisord's [{section.title}]"
        )
        try:
            one(Program(draft, section, base), shared)
        except CardError:
            found.drafts.remove(draft)
            raise
        if priority := section.options.get("priority"):
            priorities[draft.label] = whole(priority, 999)
        labels.append(draft.label)
    return labels


def _name(section: Section, named: Option, base: dict[str, str]) -> str:
    return label_of(Program(Draft("", section.place, ""), section, base).expand(named))


def _group(section: Section, made: dict[str, list[str]], found: Read) -> None:
    option = section.options.get("programs")
    if option is None:
        found.wrong(section.place, f"[{section.title}] has no programs", "write programs=a,b")
        return
    draft = found.draft(section.name, section.place, f"supervisord's [{section.title}]")
    draft.kept(section.place, f"[{section.title}]", "payload", "virtual")
    for name in filter(None, (word.strip() for word in option.value.split(","))):
        if name in made:
            draft.add(option.place, f"programs: {name}", "wants", made[name])
        else:
            draft.lost(option.place, f"programs: {name}", "there is no such program, or it could not be read")
    if priority := section.options.get("priority"):
        draft.lost(priority.place, f"priority={priority.value}", "the order is that of its programs")


def _in_order(found: Read, priorities: dict[str, int]) -> None:
    """Programs of a priority come after those of the next lower one that is written down."""
    ranks = sorted(set(priorities.values()))
    for draft in found.drafts:
        if draft.label not in priorities:
            continue
        rank = priorities[draft.label]
        below = ranks[ranks.index(rank) - 1] if ranks.index(rank) else None
        place = draft.place
        earlier = [label for label, other in priorities.items() if other == below]
        why = "they are started after those of the next lower priority, and stopped before them"
        if earlier:
            draft.add(place, f"priority={rank}", "after", earlier, why)
        else:
            draft.kept(place, f"priority={rank}")
