"""The JSON schema of a card as people write it in TOML, for editors; made from the dataclasses and their docstrings."""

from __future__ import annotations

from typing import Any, Final

from arje.card.activation import When
from arje.card.card import Card
from arje.card.conditions import WORDS as CONDITIONS
from arje.card.edges import WITH_TERMS
from arje.card.limits import RLIMITS
from arje.card.namespaces import Namespaces
from arje.card.normalise import PRESETS
from arje.card.privileges import CAPABILITY_LIST, PERSONALITIES, SECUREBITS
from arje.card.rules import FORBID

_RATE: Final = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]}
_SIZE: Final = {"type": "string", "pattern": r"^\s*\d+\s*[KMGTkmgt]?([iI]?[bB])?\s*$"}
_LIMIT: Final = {"anyOf": [{"type": "integer", "minimum": 0}, _SIZE, {"enum": ["infinity", "unlimited"]}]}
_BOUNDS: Final = {
    "description": "One number for both, or [soft, hard].",
    "anyOf": [_LIMIT, {"type": "array", "items": _LIMIT, "minItems": 2, "maxItems": 2}],
}

_MODE: Final = {"type": "string", "pattern": "^0?o?[0-7]{1,4}$"}
_BIND: Final = {"anyOf": [{"type": "string", "pattern": "^-?[^:]+(:[^:]+(:(ro|rw))?)?$"}, {"$ref": "#/$defs/Bind"}]}


#: A command as its words.
_WORDS: Final = {"type": "array", "items": {"type": "string"}, "minItems": 1}
#: A table of texts, or of tables that get their key from the name that they have in it.
_NAMED: Final = {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "object"}]}}

#: Names with the terms of their edges.
_TERMS: Final = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {"const": "undegraded"},
            {
                "type": "object",
                "properties": {
                    word: {"$ref": f"#/$defs/Term/properties/{word}"}
                    for word in ("on_restart", "on_reload", "recover", "undegraded", "granted")
                },
                "additionalProperties": False,
            },
        ]
    },
}
_NAMES: Final = {"type": "array", "items": {"type": "string"}}
_GRACE: Final = {"$ref": "#/$defs/Contract/properties/grace"}
#: A contract with its kind as its tag; ``conflicts`` and ``after`` are the plain edges of these names.
_CONTRACT: Final = {
    "anyOf": [
        {"type": "object", "properties": {"any": _NAMES, "grace": _GRACE}, "required": ["any"]},
        {"type": "object", "properties": {"quorum": {"$ref": "#/$defs/Contract"}}, "required": ["quorum"]},
        {"type": "object", "properties": {"conflicts": _NAMES}, "required": ["conflicts"]},
        {"type": "object", "properties": {"after": _NAMES}, "required": ["after"]},
    ]
}


def _one_or_many(table: str) -> list[dict[str, Any]]:
    """A word or a table, or a list of such."""
    one: list[dict[str, Any]] = [{"type": "string", "minLength": 1}, {"$ref": f"#/$defs/{table}"}]
    return [*one, {"type": "array", "items": {"anyOf": one}}]


#: (definition, field) → other ways in which a file may write the field (``normalise.py``).
_SHORTHANDS: Final[dict[tuple[str, str], list[dict[str, Any]]]] = {
    ("Card", "payload"): [{"enum": ["virtual", "Virtual"]}],
    **{
        ("Hooks", field): [_WORDS, {"$ref": "#/$defs/Command"}, {"type": "array", "items": _WORDS}]
        for field in ("pre", "post", "ready", "stop", "cleanup")
    },
    ("Supervision", "max_memory"): [_SIZE],
    ("Supervision", "reload"): [{"type": "string"}, {"type": "integer"}, _WORDS],
    ("Reload", "exec"): [_WORDS],
    ("Supervision", "readiness"): [{"type": "string"}],
    ("Supervision", "on_change"): [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    ("Supervision", "health"): [{"type": "string"}],
    ("Readiness", "exec"): [_WORDS],
    ("Health", "exec"): [_WORDS],
    **{("Card", kind): [_TERMS] for kind in WITH_TERMS},
    ("Card", "contracts"): [{"type": "array", "items": _CONTRACT}],
    **{("Conditions", word): [{"type": ["string", "boolean", "integer"]}] for word in CONDITIONS},
    ("Card", "timer"): [{"$ref": "#/$defs/Timer"}],
    **{("Timer", field): [{"type": "string"}] for field in ("calendar", "cron")},
    ("Card", "live_conditions"): [{"type": "boolean"}],
    ("Card", "sockets"): _one_or_many("Socket"),
    ("Card", "activation"): [{"enum": [when.value for when in When]}],
    ("Card", "paths"): _one_or_many("Watch"),
    **{("Socket", field): [_SIZE] for field in ("receive_buffer", "send_buffer")},
    ("Soma", "namespaces"): [
        {"enum": sorted(PRESETS)},
        {"type": "array", "items": {"enum": list(Namespaces.__slots__)}},
    ],
    ("Soma", "run_as"): [{"type": "string", "pattern": "^[^:]+(:[^:]+)?$"}, {"type": "integer", "minimum": 0}],
    ("Soma", "uid_map"): [{"const": "auto"}],
    ("Soma", "gid_map"): [{"const": "auto"}],
    ("Soma", "capabilities"): [dict(CAPABILITY_LIST.written or {})],
    ("Soma", "securebits"): [{"enum": list(SECUREBITS)}],
    ("Soma", "personality"): [{"enum": list(PERSONALITIES)}],
    ("Overlay", "lower"): [{"type": "string"}],
    ("Overlay", "tmpfs_upper"): [_SIZE],
    ("Soma", "binds"): [{"type": "array", "items": _BIND}],
    ("Soma", "tmpfs"): [{"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Tmpfs"}]}}],
    ("Tmpfs", "size"): [_SIZE],
    ("Soma", "masked_paths"): [{"const": "kernel"}],
    ("Soma", "files"): [_NAMED],
    ("Soma", "symlinks"): [{"type": "object", "additionalProperties": {"type": "string"}}],
    ("Soma", "credentials"): [_NAMED],
    ("Soma", "network"): [{"enum": ["host", "none", "loopback"]}],
    ("Network", "routes"): [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    **{("Veth", field): [{"type": "string"}] for field in ("address", "bridge_address", "gateway")},
    **{("Pasta", field): [{"type": "string"}] for field in ("tcp", "udp", "host_tcp", "host_udp")},
    ("Soma", "seccomp"): [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    **{("Seccomp", field): [{"type": "string"}] for field in ("allow", "deny", "architectures")},
    **{("Landlock", field): [{"type": "string"}] for field in ("read", "write", "execute", "ioctl_dev", "scopes")},
    **{
        ("Landlock", field): [{"type": "integer", "minimum": 0, "maximum": 65535}]
        for field in ("tcp_bind", "tcp_connect")
    },
    ("LogRules", "rotate_size"): [_SIZE],
    ("LogRules", "max_line"): [_SIZE],
    ("Soma", "ioprio"): [{"type": "string", "pattern": "^((realtime|best-effort):[0-7]|idle|realtime|best-effort)$"}],
    ("Soma", "scheduler"): [{"type": "string", "pattern": "^((fifo|rr):[0-9]{1,2}|batch|idle|other)$"}],
    ("CgroupLimits", "io_max"): [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _RATE}},
    ],
}
#: (definition, field) → the only way in which a file may write the field.
_WRITTEN: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("Seccomp", "errno"): {"type": "object", "additionalProperties": {"type": "string"}},
    ("Soma", "umask"): {"type": "string", "pattern": "^0?o?[0-7]{1,3}$"},
    ("Tmpfs", "mode"): _MODE,
    ("InjectedFile", "mode"): _MODE,
    ("Soma", "rlimits"): {
        "type": "object",
        "properties": {
            name: {"$ref": "#/$defs/Limit", "description": f"RLIMIT_{of.upper()} (setrlimit(2))."}
            for name, of in (*zip(RLIMITS, RLIMITS, strict=True), ("mem_bytes", "as"))
        },
        "additionalProperties": False,
    },
}
_VARIABLE: Final = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
_ENVIRONMENT: Final = {
    "type": "object",
    "description": "The environment, a value for each name.",
    "propertyNames": {"pattern": "^[^=]+$"},
    "additionalProperties": _VARIABLE,
}


def card_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12) of a TOML card; the file's name may stand for the label."""
    schema = _described()
    definitions = schema["$defs"]
    definitions["Limit"] = _BOUNDS
    schema["properties"].pop("source", None)
    definitions.pop("Source", None)
    definitions.pop("Part", None)
    definitions.pop("Virtual", None)
    schema.pop("required", None)
    for (place, field), words in _WRITTEN.items():
        _properties(schema, place)[field] = words | _about(_properties(schema, place)[field])
    for (place, field), more in _SHORTHANDS.items():
        properties = _properties(schema, place)
        properties[field] = _either(properties[field], more)
    for program in ("Native", "Legacy"):
        definitions[program]["properties"]["env"] = _ENVIRONMENT
    for field, words in definitions["Native"]["properties"].items():  # pydantic sees no docstring of a base class
        definitions["Legacy"]["properties"][field] = words
    written: dict[str, Any] = _without_null(schema)
    return written


def _described() -> dict[str, Any]:
    """Return what pydantic makes of the dataclasses, docstrings included."""
    from pydantic import TypeAdapter

    FORBID["use_attribute_docstrings"] = True
    try:
        return TypeAdapter(Card).json_schema()
    finally:
        del FORBID["use_attribute_docstrings"]


def _properties(schema: dict[str, Any], place: str) -> dict[str, Any]:
    found: dict[str, Any] = schema["properties"] if place == "Card" else schema["$defs"][place]["properties"]
    return found


def _about(property: dict[str, Any]) -> dict[str, Any]:
    return {name: property[name] for name in ("title", "description") if name in property}


def _either(property: dict[str, Any], more: list[dict[str, Any]]) -> dict[str, Any]:
    """Add ways of writing to those that a property has."""
    about = _about(property)
    plain = {name: value for name, value in property.items() if name not in about and name != "default"}
    ways = [way for way in plain.get("anyOf", [plain]) if way.get("$ref") != "#/$defs/Virtual"]
    return about | {"anyOf": [*ways, *more]}


def _without_null(value: Any) -> Any:
    """TOML has no null; what is optional is left out."""
    if isinstance(value, list):
        return [_without_null(item) for item in value if item != {"type": "null"}]
    if isinstance(value, dict):
        return {name: _without_null(item) for name, item in value.items() if (name, item) != ("default", None)}
    return value
