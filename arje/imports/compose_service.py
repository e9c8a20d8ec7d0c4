"""One service of a compose file to a card: key by key."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from arje.imports import compose_files, compose_living
from arje.imports.compose_words import Field
from arje.imports.draft import Draft
from arje.imports.yaml_nodes import Mapping, Scalar, Sequence

if TYPE_CHECKING:
    from arje.imports.compose import Whole

_ROOTS: Final = "/var/lib/arje/roots"
#: What docker leaves a container (https://docs.docker.com/engine/security/#linux-kernel-capabilities).
_DOCKERS: Final = (
    *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "net_bind_service"),
    *("net_raw", "sys_chroot", "mknod", "audit_write", "setfcap"),
)


def describe(draft: Draft, name: str, node: Mapping, whole: Whole) -> None:
    """Put a service into its draft. Raises CardError."""
    file = draft.place.file
    fields = {key: Field(file, f"{name}.{key}", node.keys[key], item) for key, item in node.items.items()}
    if extends := fields.get("extends"):
        raise extends.bad("extends is not read", 'run "docker compose config" and import what it writes', extends.line)
    _body(draft, name, fields, whole)
    _command(draft, fields)
    for key, field in fields.items():
        if key in _KEYS:
            _KEYS[key](draft, field)
        elif key in compose_files.KEYS:
            compose_files.KEYS[key](draft, field, whole)
        elif key not in _HANDLED and not key.startswith("x-"):
            draft.lost(field.place, key, _WHY.get(key, "docker compose does not know such a key"))
    compose_living.living(draft, name, fields, whole)
    _capabilities(draft, fields)


def _body(draft: Draft, name: str, fields: dict[str, Field], whole: Whole) -> None:
    image = fields["image"].text if "image" in fields else f"{whole.project}-{name}"
    place = fields["image"].place if "image" in fields else draft.place
    root = f"{_ROOTS}/{re.sub(r'[^A-Za-z0-9._-]+', '-', image)}"
    why = f"arje has no images; put its files there: docker export $(docker create {image}) | tar -xC {root}"
    draft.near(place, f"image: {image}", why, "soma.root", root)
    draft.fields["conditions.directory_not_empty"] = [root]
    draft.fields["soma.namespaces"] = ["pid", "mount", "uts", "ipc", "cgroup"]
    if "hostname" in fields:
        draft.kept(
            fields["hostname"].place, f"hostname: {fields['hostname'].text}", "soma.hostname", fields["hostname"].text
        )
    else:
        draft.fields["soma.hostname"] = re.sub(r"[^A-Za-z0-9-]", "-", name)[:63]
    if not ("privileged" in fields and fields["privileged"].truth):
        draft.kept(draft.place, "docker's own /dev, and what it masks of /proc", "soma.dev", "minimal")
        draft.fields["soma.masked_paths"] = "kernel"
        draft.lost(
            draft.place, "docker's own filter of system calls", 'write seccomp = "@system-service" for one like it'
        )
    _network(draft, fields, whole)
    draft.kept(
        draft.place, "PATH", "payload.env", {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )


def _network(draft: Draft, fields: dict[str, Field], whole: Whole) -> None:
    mode = fields.get("network_mode")
    if mode and mode.text == "none":
        draft.kept(mode.place, "network_mode: none", "soma.namespaces", [*draft.fields["soma.namespaces"], "net"])
        draft.fields["soma.network"] = "loopback"
        return
    names = " ".join(["localhost", *whole.names])
    if mode and mode.text == "host":
        draft.kept(mode.place, "network_mode: host")
        return
    place = mode.place if mode else draft.place
    why = "all of them are on the host's network, and find each other there by name: two of them cannot have one port"
    draft.near(place, "its network", why, "soma.files", {"/etc/hosts": f"127.0.0.1 {names}\n"})
    for port in fields["ports"].each if "ports" in fields else []:
        _port(draft, port)


def _port(draft: Draft, port: Field) -> None:
    if isinstance(port.node, Mapping):
        parts = port.parts
        inside = parts["target"].text if "target" in parts else ""
        outside = parts["published"].text if "published" in parts else inside
    else:
        words = port.text.partition("/")[0].rsplit(":", 2)
        inside, outside = words[-1], words[-2] if len(words) > 1 else ""
    what = f"ports: {outside}:{inside}" if outside else f"ports: {inside}"
    if outside == inside:
        draft.kept(port.place, what)
    else:
        draft.near(
            port.place, what, f"it is reached at {inside}, where it listens itself; let it listen elsewhere, or map it"
        )


def _words(field: Field) -> list[str]:
    if isinstance(field.node, Sequence):
        return field.texts
    if isinstance(field.node, Scalar) and field.node.is_null:
        return []
    try:
        return shlex.split(field.text)
    except ValueError as error:
        raise field.bad(str(error), "close the quote") from error


def _command(draft: Draft, fields: dict[str, Field]) -> None:
    entry, command = fields.get("entrypoint"), fields.get("command")
    words = (_words(entry) if entry else []) + (_words(command) if command else [])
    if words and not (entry is None and words[0].startswith("-")):
        field = entry or command
        assert field is not None
        if entry:
            draft.kept(entry.place, "entrypoint", "payload.exec", words[0])
        else:
            why = "the image's own entrypoint is not in this file, and is not put before it"
            draft.near(field.place, "command", why, "payload.exec", words[0])
        if words[1:]:
            draft.fields["payload.argv"] = words[1:]
        return
    image = fields["image"].text if "image" in fields else "the image"
    place = fields["image"].place if "image" in fields else draft.place
    ask = f"docker image inspect -f '{{{{.Config.Entrypoint}}}} {{{{.Config.Cmd}}}}' {image}"
    draft.lost(place, "the image's own command", f"it is not in this file; write it here and enable the card: {ask}")
    draft.fields["payload.exec"] = "/bin/false"
    if words and command:  # options alone: they are the entrypoint's
        draft.kept(command.place, "command", "payload.argv", words)
    draft.note("payload.exec", f"write the image's own command: {ask}")
    draft.fields["enabled"] = False


def _capabilities(draft: Draft, fields: dict[str, Field]) -> None:
    if "privileged" in fields and fields["privileged"].truth:
        draft.kept(fields["privileged"].place, "privileged: true")
        return
    kept = list(_DOCKERS)
    place = draft.place
    for key in ("cap_drop", "cap_add"):
        if key not in fields:
            continue
        place = fields[key].place
        for word in fields[key].texts:
            name = word.lower().removeprefix("cap_")
            if name == "all":
                kept = [] if key == "cap_drop" else ["all"]
            elif key == "cap_drop":
                kept = [each for each in kept if each != name]
            elif name not in kept:
                kept.append(name)
    if kept == ["all"]:
        draft.kept(place, "cap_add: ALL")
    elif "user" in fields:
        draft.kept(place, "its capabilities", "soma.capabilities", {"bounding": kept})
    else:
        draft.kept(place, "its capabilities", "soma.capabilities", kept)


def _environment(draft: Draft, field: Field) -> None:
    for name, (value, place) in field.pairs.items():
        if value is None:
            draft.add(place, f"environment: {name}", "payload.pass_env", [name])
        else:
            draft.merge(place, f"environment: {name}", "payload.env", {name: value})


def _user(draft: Draft, field: Field) -> None:
    names = field.text.split(":")
    if all(name.isdecimal() for name in names):
        table = dict(zip(("user", "group"), map(int, names), strict=False))
        draft.kept(field.place, f"user: {field.text}", "soma.run_as", table)
    else:
        why = "its number is that of the host's user of this name, not that of the image's"
        draft.near(field.place, f"user: {field.text}", why, "soma.run_as", field.text)


def _limits(draft: Draft, field: Field) -> None:
    for name, limit in field.parts.items():
        if isinstance(limit.node, Mapping):
            values = [limit.parts[key].number if key in limit.parts else -1 for key in ("soft", "hard")]
        else:
            values = [limit.number] * 2
        pair = ["infinity" if value < 0 else value for value in values]
        draft.merge(limit.place, f"ulimits: {name}", "soma.rlimits", {name: pair[0] if pair[0] == pair[1] else pair})


def _cgroup(name: str, value: Callable[[Field], Any]) -> Callable[[Draft, Field], None]:
    return lambda draft, field: draft.kept(
        field.place, f"{field.name.partition('.')[2]}: {field.text}", f"soma.cgroup.{name}", value(field)
    )


def _percent(field: Field) -> str:
    return f"{max(field.real * 100, 1):g}%"


def _weight(field: Field) -> int:
    return max(1, min(10000, 1 + (field.number - 2) * 9999 // 262142))


def _deploy(draft: Draft, field: Field) -> None:
    for name, part in field.parts.items():
        if name == "replicas":
            _copies(draft, part)
        elif name == "resources":
            for which, limits in part.parts.items():
                for key, limit in limits.parts.items():
                    act = _RESOURCES.get((which, key))
                    if act:
                        act(draft, limit)
                    else:
                        draft.lost(limit.place, f"deploy.resources.{which}.{key}", "a card has no such limit")
        else:
            draft.lost(part.place, f"deploy.{name}", "it is about a swarm of machines")


def _copies(draft: Draft, field: Field) -> None:
    count = field.number
    if count == 1:
        draft.kept(field.place, "replicas: 1")
    elif count == 0:
        draft.kept(field.place, "replicas: 0", "enabled", False)
    else:
        draft.kept(field.place, f"replicas: {count}", "copies", count)


def _profiles(draft: Draft, field: Field) -> None:
    why = "arje has no profiles: it is started by hand, or by who needs it"
    draft.near(field.place, f"profiles: {', '.join(field.texts)}", why, "enabled", False)


def _security(draft: Draft, field: Field) -> None:
    for item in field.each:
        if re.fullmatch(r"no-new-privileges(:true|=true)?", item.text):
            draft.kept(item.place, item.text, "soma.no_new_privs", True)
        elif item.text in ("seccomp:unconfined", "seccomp=unconfined"):
            draft.kept(item.place, item.text)
        else:
            draft.lost(item.place, item.text, "write the card's own seccomp or landlock")


def _put(field: str, value: Callable[[Field], Any]) -> Callable[[Draft, Field], None]:
    return lambda draft, given: draft.kept(
        given.place, f"{given.name.partition('.')[2]}: {given.text}", field, value(given)
    )


def _only_true(field: str) -> Callable[[Draft, Field], None]:
    def put(draft: Draft, given: Field) -> None:
        if given.truth:
            draft.kept(given.place, f"{given.name.partition('.')[2]}: true", field, True)
        else:
            draft.kept(given.place, f"{given.name.partition('.')[2]}: false")

    return put


_LIMITED: Final = _cgroup("cpu_max", _percent), _cgroup("memory_max", lambda field: field.size)
_PIDS: Final = _cgroup("pids_max", lambda field: field.number if field.number > 0 else "max")
_RESOURCES: Final[dict[tuple[str, str], Callable[[Draft, Field], None]]] = {
    ("limits", "cpus"): _LIMITED[0],
    ("limits", "memory"): _LIMITED[1],
    ("limits", "pids"): _PIDS,
    ("reservations", "memory"): _cgroup("memory_low", lambda field: field.size),
}
_KEYS: Final[dict[str, Callable[[Draft, Field], None]]] = {
    "environment": _environment,
    "working_dir": _put("soma.chdir", lambda field: field.text),
    "user": _user,
    "depends_on": compose_living.depends,
    "stop_signal": _put("supervision.stop_signal", lambda field: field.text.removeprefix("SIG")),
    "stop_grace_period": _put("supervision.stop_timeout", lambda field: field.duration),
    "healthcheck": compose_living.healthcheck,
    "ulimits": _limits,
    "cpus": _LIMITED[0],
    "mem_limit": _LIMITED[1],
    "mem_reservation": _cgroup("memory_low", lambda field: field.size),
    "pids_limit": _PIDS,
    "cpu_shares": _cgroup("cpu_weight", _weight),
    "cpuset": _cgroup("cpuset", lambda field: field.text),
    "oom_score_adj": _put("soma.oom_score_adj", lambda field: field.number),
    "deploy": _deploy,
    "scale": _copies,
    "profiles": _profiles,
    "security_opt": _security,
    "init": lambda draft, field: draft.kept(field.place, f"init: {field.text}"),  # every pid namespace has one
    "read_only": _only_true("soma.read_only_root"),
}
_HANDLED: Final = (
    *("image", "entrypoint", "command", "hostname", "network_mode", "ports", "restart", "cap_add", "cap_drop"),
    "privileged",
)
_WHY: Final = {
    "build": "arje builds nothing; docker compose build makes the image, whose files go to the card's root",
    "container_name": "a service is called by its label",
    "logging": "arje keeps the log: arjectl logs, [log]",
    "labels": "nobody reads them here; extensions = {…} keeps them",
    "networks": "services share the host's network",
    "expose": "services share the host's network",
    "pull_policy": "arje pulls no images",
    "platform": "arje pulls no images",
    "tty": 'write stdout = "tty:/dev/ttyN" for a terminal',
    "stdin_open": "its stdin is /dev/null",
    "sysctls": "set them on the machine: the network is the host's",
    "dns": "the host's resolver is used",
    "dns_search": "the host's resolver is used",
    "links": "every service finds every other by name",
    "domainname": "write it into hostname",
    "ipc": 'write join = {ipc = "other"}',
    "pid": 'write join = {pid = "other"}',
    "userns_mode": "write namespaces and uid_map",
    "cgroup_parent": "write cgroup.path",
    "group_add": "write run_as = {user = …, groups = […]}",
    "develop": "it is about building",
    "gpus": 'bind the devices: binds = ["/dev/nvidia0"]',
    "memswap_limit": "write cgroup.memory_swap_max, which counts swap alone",
    "mem_swappiness": "cgroup v2 has none for each service",
    "blkio_config": "write cgroup.io_max",
    "attach": "arjectl logs -f follows",
}
