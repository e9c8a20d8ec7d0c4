"""The files of a compose service: volumes, tmpfs, secrets, configs, devices, files of variables."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from arje.imports.compose_words import Field
from arje.imports.draft import Draft
from arje.imports.yaml_nodes import Mapping, Node, Scalar

if TYPE_CHECKING:
    from arje.imports.compose import Whole

_VOLUMES: Final = "/var/lib/arje/volumes"
_SIGNS: Final = frozenset({"rw", "z", "Z", "cached", "delegated", "consistent", "nocopy", "rprivate", "private"})


def _volumes(draft: Draft, field: Field, whole: Whole) -> None:
    for item in field.each:
        if isinstance(item.node, Mapping):
            _long(draft, item, whole)
        else:
            _short(draft, item, whole)


def _short(draft: Draft, item: Field, whole: Whole) -> None:
    words = item.text.split(":")
    if len(words) > 3 or not words[-1 if len(words) == 1 else 1].startswith("/"):
        raise item.bad(f"{item.text!r} is no volume", 'write "./here:/there:ro"')
    source, target = ("", words[0]) if len(words) == 1 else (words[0], words[1])
    options = set(words[2].split(",")) if len(words) == 3 else set()
    if unknown := options - _SIGNS - {"ro"}:
        draft.lost(item.place, f"volumes: option {', '.join(sorted(unknown))}", "a bind has no such option")
    _volume(draft, item, whole, source, target, read_only="ro" in options)


def _long(draft: Draft, item: Field, whole: Whole) -> None:
    parts = item.parts
    kind = parts["type"].text if "type" in parts else "volume"
    if "target" not in parts:
        raise item.bad("a volume without target", "write target: /path")
    target = parts["target"].text
    if kind == "tmpfs":
        table: dict[str, Any] = {"target": target}
        if "tmpfs" in parts and "size" in parts["tmpfs"].parts:
            table["size"] = parts["tmpfs"].parts["size"].size
        draft.add_table(item.place, f"volumes: tmpfs {target}", "soma.tmpfs", table)
        return
    if kind not in ("bind", "volume"):
        draft.lost(item.place, f"volumes: type {kind}", "a card has binds and tmpfs")
        return
    source = parts["source"].text if "source" in parts else ""
    read_only = "read_only" in parts and parts["read_only"].truth
    _volume(draft, item, whole, source, target, read_only=read_only)


def _volume(draft: Draft, item: Field, whole: Whole, source: str, target: str, *, read_only: bool) -> None:
    what = f"volumes: {source}:{target}" if source else f"volumes: {target}"
    end = ":ro" if read_only else ""
    if source.startswith(("/", ".", "~")):
        path = _absolute(whole.directory, source)
        if ":" in path:
            raise item.bad(f"{path!r} has a colon", "move it, or write the bind as a table")
        draft.add(item.place, what, "soma.binds", [f"{path}:{target}{end}"])
        return
    name = source or f"{draft.label}{re.sub(r'[^A-Za-z0-9._-]+', '-', target)}"
    path = f"{_VOLUMES}/{whole.project}/{name}"
    why = "a volume is a directory, made before its first start; what the image has there is not copied into it"
    draft.add(item.place, what, "soma.binds", [f"{path}:{target}{end}"], why)
    draft.add_table(
        item.place, f"the directory of {what}", "hooks.pre", {"exec": "mkdir", "argv": ["-p", path], "privileged": True}
    )


def _absolute(directory: Path, source: str) -> str:
    path = Path(source).expanduser() if source.startswith("~") else directory / source
    return str(PurePosixPath(*[part for part in path.parts if part != "."]))


def _tmpfs(draft: Draft, field: Field, _whole: Whole) -> None:
    for item in field.each:
        target, _, options = item.text.partition(":")
        table: dict[str, Any] = {"target": target}
        for option in filter(None, options.split(",")):
            name, _, value = option.partition("=")
            if name == "size":
                table["size"] = value
            elif name == "mode":
                table["mode"] = value.zfill(4)
            elif name in ("noexec", "nosuid", "nodev"):
                table[name] = True
            elif name in ("exec", "suid", "dev", "rw"):
                table |= {f"no{name}": False} if name != "rw" else {}
            else:
                draft.lost(item.place, f"tmpfs: {option}", "a tmpfs of a card has no such option")
        draft.add_table(item.place, f"tmpfs: {target}", "soma.tmpfs", table)


def _shm(draft: Draft, field: Field, _whole: Whole) -> None:
    table = {"target": "/dev/shm", "size": field.size, "mode": "1777"}
    draft.add_table(field.place, f"shm_size: {field.text}", "soma.tmpfs", table)


def _devices(draft: Draft, field: Field, _whole: Whole) -> None:
    for item in field.each:
        words = item.text.split(":")
        target = words[1] if len(words) > 1 else words[0]
        draft.add(item.place, f"devices: {item.text}", "soma.binds", [f"{words[0]}:{target}"])


def _env_file(draft: Draft, field: Field, whole: Whole) -> None:
    for item in field.each if not isinstance(field.node, Mapping) else [field]:
        needed, path = True, ""
        if isinstance(item.node, Mapping):
            path = item.parts["path"].text if "path" in item.parts else ""
            needed = not ("required" in item.parts and not item.parts["required"].truth)
        else:
            path = item.text
        if not path:
            raise item.bad("no path", "write path: file")
        mark = "" if needed else "-"
        draft.add(item.place, f"env_file: {path}", "payload.env_file", [f"{mark}{_absolute(whole.directory, path)}"])


def _given(base: str, pick: Callable[[Whole], dict[str, Node]]) -> Callable[[Draft, Field, Whole], None]:
    def put(draft: Draft, field: Field, whole: Whole) -> None:
        for item in field.each:
            if isinstance(item.node, Mapping):
                name = item.parts["source"].text if "source" in item.parts else ""
                target = item.parts["target"].text if "target" in item.parts else name
            else:
                name = target = item.text
            source = pick(whole).get(name)
            file = source.items.get("file") if isinstance(source, Mapping) else None
            what = f"{base.strip('/') or 'config'} {name}"
            if not isinstance(file, Scalar):
                draft.lost(item.place, what, "only those that are files are read")
                continue
            where = target if target.startswith("/") else f"{base}/{target}"
            draft.add(item.place, what, "soma.binds", [f"{_absolute(whole.directory, file.text)}:{where}:ro"])

    return put


def _hosts(draft: Draft, field: Field, _whole: Whole) -> None:
    lines = []
    for name, (address, place) in field.pairs.items():
        host, value = (name, address) if address else tuple(name.split(":", 1)) if ":" in name else (name, "")
        if not value or value == "host-gateway":
            value = "127.0.0.1"
        lines.append(f"{value} {host}\n")
        draft.kept(place, f"extra_hosts: {host}")
    hosts = draft.fields.get("soma.files", {}).get("/etc/hosts", "127.0.0.1 localhost\n")
    draft.fields["soma.files"] = {"/etc/hosts": hosts + "".join(lines)}


KEYS: Final[dict[str, Callable[[Draft, Field, Whole], None]]] = {
    "volumes": _volumes,
    "tmpfs": _tmpfs,
    "shm_size": _shm,
    "devices": _devices,
    "env_file": _env_file,
    "secrets": _given("/run/secrets", lambda whole: whole.secrets),
    "configs": _given("", lambda whole: whole.configs),
    "extra_hosts": _hosts,
}
