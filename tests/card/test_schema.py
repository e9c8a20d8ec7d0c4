"""The JSON schema: what an editor that knows it accepts, the loader takes, and the reverse."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arje.card.loader import load_text
from arje.card.schema import card_schema
from arje.card.soma import RLIMITS

SCHEMA = card_schema()
EXAMPLES = sorted((Path(__file__).parent.parent.parent / "cards.d").glob("*.toml"))
TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value fits a schema: the few words of JSON Schema 2020-12 that ours uses."""
    known = {"title", "description", "default", "$defs", "$ref", "anyOf", "enum", "const", "type", "minimum", "maximum"}
    known |= {"pattern", "minLength", "items", "prefixItems", "minItems", "maxItems", "properties", "required"}
    assert schema.keys() <= known | {"additionalProperties", "propertyNames"}, schema.keys()
    if "$ref" in schema and not fits(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]):
        return False
    if "anyOf" in schema and not any(fits(value, way) for way in schema["anyOf"]):
        return False
    if ("enum" in schema and value not in schema["enum"]) or ("const" in schema and value != schema["const"]):
        return False
    if "type" in schema and schema["type"] != "boolean":
        if isinstance(value, bool) or not isinstance(value, TYPES[schema["type"]]):
            return False
    elif "type" in schema and not isinstance(value, bool):
        return False
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if isinstance(value, str):
        return bool(re.search(schema.get("pattern", ""), value)) and len(value) >= schema.get("minLength", 0)
    if isinstance(value, list):
        length = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return length and all(fits(item, schema.get("items", {})) for item in value)
    return _object_fits(value, schema) if isinstance(value, dict) else True


def _object_fits(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    if not set(schema.get("required", ())) <= value.keys():
        return False
    for name, item in value.items():
        rule = properties.get(name, more)
        if rule is False or (rule is not True and not fits(item, rule)):
            return False
    return True


def properties() -> Iterator[tuple[str, dict[str, Any]]]:
    for place, definition in {"Card": SCHEMA, **SCHEMA["$defs"]}.items():
        for name, words in definition.get("properties", {}).items():
            yield f"{place}.{name}", words


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_card_fits_the_schema(file: Path) -> None:
    assert fits(tomllib.loads(file.read_text()), SCHEMA)


@pytest.mark.parametrize(("where", "words"), [*properties()], ids=[where for where, _ in properties()])
def test_every_field_has_a_description(where: str, words: dict[str, Any]) -> None:
    assert words.get("description"), where


def test_the_loaders_own_field_is_not_in_it() -> None:
    assert "source" not in SCHEMA["properties"]
    assert "Source" not in SCHEMA["$defs"]
    assert SCHEMA["$defs"]["Soma"]["properties"]["rlimits"]["properties"].keys() == {*RLIMITS, "mem_bytes"}


PROGRAM = "[payload]\nexec = '/bin/true'\n"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("payload = 'virtual'", True),
        ("payload = 'nothing'", False),
        ("[payload]\nargv = []", False),
        (PROGRAM + "env = {A = 'b', N = 1, T = true}", True),
        (PROGRAM + "env = {A = []}", False),
        (PROGRAM + "fakes = ['journal']", True),
        (PROGRAM + "[soma]\nnamespaces = 'all'", True),
        (PROGRAM + "[soma]\nnamespaces = ['pid']", True),
        (PROGRAM + "[soma.namespaces]\npid = true", True),
        (PROGRAM + "[soma.namespaces]\npid = 1", False),
        (PROGRAM + "[soma]\nnamespaces = ['pdi']", False),
        (PROGRAM + "[soma]\numask = '027'\nrun_as = 'a:b'\nrlimits = {core = [0, 'infinity'], as = '1G'}", True),
        (PROGRAM + "[soma]\numask = 27", False),
        (PROGRAM + "[soma]\nrun_as = 5", True),
        (PROGRAM + "[soma.run_as]\nuser = 5\ngroups = ['video', 7]", True),
        (PROGRAM + "[soma]\nuid_map = [{inside = 0, outside = 1}]", True),
        (PROGRAM + "[soma]\nuid_map = [{inside = -1, outside = 1}]", False),
        (
            PROGRAM + "[soma]\nhostname = 'a.b'\n[soma.cgroup]\nmemory_max = '1G'\npids_max = 'max'\ncpu_max = '5%'",
            True,
        ),
        (PROGRAM + "[soma]\nhostname = '-a'", False),
        (PROGRAM + "[soma.cgroup]\ncpu_weight = 0", False),
        (PROGRAM + "[soma.stdio]\nstdout = 'append:/x'", True),
        (PROGRAM + "[soma.stdio]\nstdin = 'log'", False),
        (PROGRAM + "[soma.overlay]\nlower = '/a'\nmerged = '/b'", True),
        (PROGRAM + "[soma]\nbinds = ['/a:/b:ro', {source = '/c', target = '/d'}]", True),
        (PROGRAM + "[soma]\ntmpfs = ['/run', '/tmp:64M', {target = '/x', size = '1M', mode = '1777'}]", True),
        (PROGRAM + "[soma]\nmasked_paths = 'kernel'", True),
        (PROGRAM + "[soma]\nsymlinks = {'/bin' = 'usr/bin'}", True),
        (PROGRAM + "[soma]\nsymlinks = {'/bin' = 1}", False),
        (PROGRAM + "[soma]\nfiles = {'/etc/motd' = 'hello', '/x' = {source = '/y'}}", True),
        (PROGRAM + "[soma]\ncredentials = {token = 'secret', key = {source = '/etc/key'}}", True),
        (PROGRAM + "[supervision]\ninitial = '200 ms'\nsuccess_exit = [3, 'INT']\nstop_signal = 15", True),
        (PROGRAM + "[supervision]\nstop_timeout = -1", False),
        (PROGRAM + "[timer]\ncalendar = 'daily'\nzone = 'UTC'\npersistent = true", True),
        (PROGRAM + "[timer]\ncron = ['5 4 * * *']\nevery = '10m'\nafter_boot = 0\noverlap = 'restart'", True),
        (PROGRAM + "[[timer]]\nevery = 5\n[[timer]]\nafter_end = '1h'\njitter = '5m'", True),
        (PROGRAM + "[timer]\nevery = 0", False),
        (PROGRAM + "[timer]\nevery = 5\noverlap = 'no'", False),
        (PROGRAM + "[supervision]\nrestart = 'sometimes'", False),
        (PROGRAM + "[permissions]\nnetworking = {any = ['shape']}", True),
        ("sockets = '80'\npaths = ['exists:/x']\nactivation = 'on-demand'\n" + PROGRAM, True),
        ("sockets = ['80', {listen = '/x', mode = '0660', send_buffer = '1M'}]\n" + PROGRAM, True),
        ("sockets = 80\n" + PROGRAM, False),
        ("sockets = [{listen = '/x', mode = 432}]\n" + PROGRAM, False),
        ("sockets = '80'\nactivation = 'sometimes'\n" + PROGRAM, False),
        ("sockets = '80'\nactivation = {max_connections = 0}\n" + PROGRAM, False),
        ("paths = {watch = 'changed:/x', make_directory = 1}\n" + PROGRAM, False),
    ],
)
def test_the_schema_and_the_loader_are_of_one_mind(text: str, good: bool) -> None:
    assert fits(tomllib.loads(text), SCHEMA) is good
    assert (not load_text(Path("web.toml"), text).problems) is good
