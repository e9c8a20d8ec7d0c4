"""What people may write shorter of the files family: binds, tmpfs and the like as one word. See normalise.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from arje.card.files import KERNEL_PATHS
from arje.card.nearest import nearest
from arje.card.sizes import size
from arje.card.unreadable import Unreadable, shown, together

_HIDEPID: Final = {0: "off", 1: "noaccess", 2: "invisible", 4: "ptraceable"}
_PROC: Final = {"hidepid": tuple(_HIDEPID.values()), "subset": ("pid", "")}
_BIND: Final = 'write "/src", "/src:/dst" or "/src:/dst:ro", with "-" before it when the source may be missing'


def _each(value: Any, field: str, read: Callable[[Any, str], Any]) -> list[Any]:
    """Return the items of a list, each read; what is wrong with any of them is told of all."""
    if not isinstance(value, list):
        raise Unreadable(field, f"{shown(value)} is not a list", f"write {field.rpartition('.')[2]} = […]")
    found, wrong = [], []
    for index, item in enumerate(value):
        try:
            found.append(read(item, f"{field}.{index}"))
        except Unreadable as error:
            wrong.append(error)
    if wrong:
        raise together(wrong)
    return found


def binds(value: Any, field: str) -> list[Any]:
    """Return the tables of ``["/src", "/src:/dst:ro", "-/src"]``; tables stay as they are."""
    return _each(value, field, _bind)


def _bind(word: Any, field: str) -> Any:
    if not isinstance(word, str):
        return word
    optional = word.startswith("-")
    parts = word[optional:].split(":")
    how = parts[2] if len(parts) == 3 else "rw"
    if len(parts) > 3 or not all(parts) or how not in ("ro", "rw"):
        raise Unreadable(field, f"{shown(word)} is no bind", _BIND)
    target = parts[1] if len(parts) > 1 else parts[0]
    return {"source": parts[0], "target": target, "read_only": how == "ro", "optional": optional}


def tmpfs(value: Any, field: str) -> list[Any]:
    """Return the tables of ``["/tmp:64M", "/run"]``; sizes and modes of tables are read."""
    return _each(value, field, _tmpfs)


def _tmpfs(item: Any, field: str) -> Any:
    if isinstance(item, str):
        path, colon, bytes_ = item.partition(":")
        return {"target": path, "size": _positive(bytes_, field)} if colon else {"target": path}
    return _read(item, field, size=_positive, mode=mode)


def _read(item: Any, field: str, **words: Callable[[Any, str], Any]) -> Any:
    """Return a table with these of its values read."""
    if not isinstance(item, dict):
        return item
    return {key: words[key](value, f"{field}.{key}") if key in words else value for key, value in item.items()}


def _positive(value: Any, field: str) -> Any:
    read = size(value, field)
    if isinstance(read, int) and not isinstance(read, bool) and not 0 < read < 2**63:
        raise Unreadable(field, f"{shown(value)} is no size", "a size is more than nothing, and less than 8E")
    return read


def mode(value: Any, field: str) -> Any:
    """Return the number of an octal file mode, ``"1777"``."""
    if not isinstance(value, str) or not re.fullmatch(r"0?o?[0-7]{1,4}", value):
        raise Unreadable(field, f"{shown(value)} is no file mode", 'write it in octal and quoted: "0644"')
    return int(value.replace("o", ""), 8)


def overlay(value: Any, field: str) -> Any:
    """Return the table with one lower directory as a list, and the size of its tmpfs in bytes."""
    if isinstance(value, dict) and isinstance(value.get("lower"), str):
        value = value | {"lower": [value["lower"]]}
    return _read(value, field, tmpfs_upper=_positive)


def proc(value: Any, field: str) -> Any:
    """Judge true, false or a table; the kernel's numbers for hidepid are words as well."""
    if not isinstance(value, dict):
        if value is not None and not isinstance(value, bool):
            remedy = 'write true, false, or {hidepid = "invisible", subset = "pid"}'
            raise Unreadable(field, f"{shown(value)} is neither true nor false", remedy)
        return value
    found = {}
    for name, word in value.items():
        if name not in _PROC:
            near = nearest(name, _PROC)
            raise Unreadable(f"{field}.{name}", "no such field", f"did you mean {near!r}?" if near else "")
        found[name] = _HIDEPID.get(word, word) if name == "hidepid" and type(word) is int else word
        if not isinstance(found[name], str) or found[name] not in _PROC[name]:
            known = ", ".join(filter(None, _PROC[name]))
            raise Unreadable(f"{field}.{name}", f"no {name} {shown(word)}", f"known: {known}")
    return found


def masked_paths(value: Any, field: str) -> Any:
    """Return the paths of the preset ``"kernel"``, alone or in a list."""
    items = _each(["kernel"] if value == "kernel" else value, field, lambda item, _: item)
    return [path for item in items for path in (KERNEL_PATHS if item == "kernel" else (item,))]


def files(value: Any, field: str) -> Any:
    """Return the tables of a list, or of ``{"/etc/motd" = "hello"}``; modes are read."""
    tables = _tables(value, field, "path") if isinstance(value, dict) else value
    return _each(tables, field, lambda item, at: _read(item, at, mode=mode))


def symlinks(value: Any, field: str) -> Any:
    """Return the tables of ``{"/bin" = "usr/bin"}``."""
    return [{"path": path, "to": to} for path, to in value.items()] if isinstance(value, dict) else value


def credentials(value: Any, field: str) -> Any:
    """Return the tables of ``{token = "secret", key = {source = "/etc/key"}}``."""
    if not isinstance(value, dict):
        raise Unreadable(field, f"{shown(value)} is not a table", 'write {name = {source = "/path"}}')
    return _tables(value, field, "name")


def _tables(value: dict[str, Any], field: str, key: str) -> list[dict[str, Any]]:
    """Return the tables of a table of texts or tables, each with its name under ``key``."""
    found = []
    for name, item in value.items():
        if not isinstance(item, str | dict):
            remedy = 'write "text" or {source = "/path"}'
            raise Unreadable(f"{field}.{name}", f"{shown(item)} is neither text nor a table", remedy)
        found.append(({"content": item} if isinstance(item, str) else item) | {key: name})
    return found


#: Field of the soma → its reader.
WORDS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "binds": binds,
    "tmpfs": tmpfs,
    "overlay": overlay,
    "proc": proc,
    "masked_paths": masked_paths,
    "files": files,
    "symlinks": symlinks,
    "credentials": credentials,
}
