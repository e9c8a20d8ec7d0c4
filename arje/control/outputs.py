"""What ``arjectl --json VERB`` writes, verb by verb, in the types of the control socket's description.

``lines`` before a type: an object of it in each line, as it comes. What goes wrong is, for every verb, one object of
:data:`ERROR`, and the exit code is in it.
"""

from __future__ import annotations

from typing import Any, Final

from arje.control.idl import manager, schema, type_of

_RESULTS: Final = "[]Result"
_WORDS: Final = "[string]string"
OUTPUTS: Final[dict[str, str]] = {
    "status": "(manager: Manager, services: []Service)",
    **dict.fromkeys(("list", "show"), "[]Service"),
    "failed": "[]Service",
    "graph": "(nodes: []GraphNode, edges: [](first: string, then: string, kinds: []string))",
    **dict.fromkeys(("top", "watch"), "[]UsedNow"),
    **dict.fromkeys(("release", "wake"), _RESULTS),
    "analyze": "?(span: ?Span, starts: []TimedStart)",
    "check": "[]Problem",
    "edit": "Applied",
    "shell": "(exit_code: ?int, detail: string)",
    "log-level": "(level: string)",
    "cat": "[](file: string, text: string, problem: ?string)",
    "why": "[]Reason",
    "history": "[string][]Moment",
    "deps": "[]Node",
    "ps": "[]Tree",
    "degradations": "[string][]Degradation",
    "sockets": "[](listen: string, name: string, open: bool, service: string, state: State, activated: string, "
    "connections: ?int)",
    "paths": "[](path: string, service: string, state: State, watched: bool)",
    "timers": "[string]Timer",
    **dict.fromkeys(("start", "stop", "restart", "try-restart", "reload", "reload-or-restart", "trigger"), _RESULTS),
    **dict.fromkeys(("kill", "freeze", "thaw", "target", "wait", "reset-failed"), _RESULTS),
    **dict.fromkeys(("enable", "disable", "mask", "unmask", "pin", "unpin"), _RESULTS),
    "run": "lines RunLine",
    "set": "(grants: []Grant, degradations: []Degradation, lasts: string)",
    "heal": "(changed: []Feature, results: []Healed)",
    "harden": "(seen: Seen, diff: string, suggestions: []string, file: string, tried: bool, kept: bool, broke: []string, "
    "detail: string)",
    "scale": "Scaled",
    **dict.fromkeys(("is-active", "is-ready", "is-failed", "is-enabled", "is-degraded"), _WORDS),
    "is-system-running": "(state: string)",
    "plan": "CardPlan",
    "apply": "Applied",
    "rollback": "Applied",
    "schema": "object",
    "import": "(from: string, cards: [](label: string, file: string, text: string), findings: [](fate: string, "
    "card: string, file: string, line: int, what: string, field: string, why: string), problems: []Problem, "
    "counts: [string]int, written: []string)",
    "doctor": "(host: Host, features: []Feature)",
    "logs": "lines Line",
    "events": "lines Event",
    "metrics": "[]MetricFamily",
    "boot": "?Booted",
    **dict.fromkeys(
        ("poweroff", "reboot", "halt", "kexec", "soft-reboot", "switch-root", "exit"),
        "(way: string, who: string, services: int)",
    ),
    **dict.fromkeys(("rescue", "emergency"), _RESULTS),
    "ping": "(version: string, pid: int)",
    "version": "(version: string)",
}
#: Verbs that may answer something else as well: with an operand, with an option.
_ALSO: Final = {
    **dict.fromkeys(
        ("start", "stop", "restart", "try-restart", "reload", "reload-or-restart", "trigger"),
        "[]Change",  # --dry-run
    ),
    "plan": "(forecasts: []Prediction, changes: ?[]Change, problems: []Problem)",
    "rollback": "[]CardSet",
    "apply": "CardPlan",
}
_RUN_LINE: Final = ("Line", "RunResult")
#: What every verb writes when it cannot do what it was asked for.
ERROR: Final = "(error: string, message: string, code: int)"


def schema_of(verb: str) -> dict[str, Any]:
    """Return the JSON schema of what a verb writes, of each line where it writes lines. Raises KeyError."""
    form = OUTPUTS[verb]
    each = form.removeprefix("lines ")
    kinds = list(_RUN_LINE) if verb == "run" else [each, *([_ALSO[verb]] if verb in _ALSO else [])]
    interface = manager()
    made = [schema(type_of(kind), interface) for kind in [*kinds, ERROR]]
    definitions: dict[str, Any] = {}
    for one in made:
        definitions |= one.pop("$defs", {})
    lines = form.startswith("lines ")
    what = "each line of what" if lines else "what"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"arjectl {verb} --json",
        "description": f"{what} arjectl {verb} --json writes; the last alternative is an error's",
        "anyOf": made,
        "$defs": definitions,
    }
