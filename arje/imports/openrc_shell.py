"""What of an OpenRC script only a shell can run: its functions, as hooks that bring along as much of OpenRC as they use."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from arje.imports import shell
from arje.imports.draft import Draft, Place
from arje.imports.shell import Dynamic, Statement

#: Function → the hook that it is, and how that differs.
_HOOKS: Final = {
    "start_pre": ("hooks.pre", ""),
    "start_post": ("hooks.post", ""),
    "stop_pre": ("hooks.stop", ""),
    "stop_post": ("hooks.cleanup", "it runs after every end, and not only after a stop"),
}
_OURS: Final = ("depend", "start", "stop", "reload", "status", "healthcheck", "unhealthy", *_HOOKS)
_HUP: Final = re.compile(r"(?:--signal|-s)[ =]?\"?(?:SIG)?(HUP|USR1|USR2)\b|kill\s+-(?:s\s+)?(?:SIG)?(HUP|USR1|USR2)\b")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: As much of OpenRC as a hook may use (functions.sh(8)); each is brought along where it is called.
PRELUDE: Final = {
    "ebegin": 'ebegin() { echo "$* ..."; }',
    "eend": 'eend() { r=${1:-0}; [ "$r" = 0 ] || { shift; echo "$*" >&2; }; return "$r"; }',
    "ewend": 'ewend() { r=${1:-0}; [ "$r" = 0 ] || { shift; echo "$*" >&2; }; return "$r"; }',
    "einfo": 'einfo() { echo "$*"; }',
    "veinfo": "veinfo() { :; }",
    "vebegin": "vebegin() { :; }",
    "veend": 'veend() { return "${1:-0}"; }',
    "ewarn": 'ewarn() { echo "$*" >&2; }',
    "eerror": 'eerror() { echo "$*" >&2; return 1; }',
    "eindent": "eindent() { :; }",
    "eoutdent": "eoutdent() { :; }",
    "yesno": "yesno() { case $1 in [Yy]es|[Tt]rue|[Oo]n|1) return 0;; esac; return 1; }",
    "checkpath": """\
checkpath() {
  kind= mode= owner=
  while [ $# -gt 0 ]; do
    case $1 in
      -d|-D|--directory|--directory-truncate) kind=d; shift;;
      -f|-F|--file|--file-truncate) kind=f; shift;;
      -p|--pipe) kind=p; shift;;
      -m|--mode) mode=$2; shift 2;;
      -o|--owner) owner=$2; shift 2;;
      -q|--quiet|-W|--writable) shift;;
      -[dfpq]?*) rest=${1#-?}; first=${1%"$rest"}; shift; set -- "$first" "-$rest" "$@";;
      --) shift; break;;
      *) break;;
    esac
  done
  for path in "$@"; do
    case $kind in
      d) mkdir -p "$path";;
      f) [ -e "$path" ] || : > "$path";;
      p) [ -p "$path" ] || mkfifo "$path";;
    esac || return
    [ -z "$mode" ] || chmod "$mode" "$path" || return
    [ -z "$owner" ] || chown "$owner" "$path" || return
  done
}""",
}
_FOREIGN: Final = re.compile(
    r"\b(service_[a-z_]+|mark_service_[a-z]+|rc-service|rc_runlevel|is_newer_than|get_bootparam|fstabinfo|mountinfo|"
    r"need_if_exists|supervise-daemon|shell_var|is_net_fs|get_options|save_options|net_fs_list)\b"
)


class Variables(dict[str, str]):
    """What variables hold. One that nothing sets is empty, as in any shell; what only a shell can know is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown: dict[str, Dynamic] = {}

    def __contains__(self, name: object) -> bool:
        return name not in self.unknown

    def __missing__(self, name: str) -> str:
        return ""


class Script:
    """A script and its conf.d: what variables hold, as far as that can be known, and the functions."""

    def __init__(self, file: Path, texts: list[tuple[str, str]]) -> None:
        self.file = file
        self.whole = Place(str(file))
        self.variables = Variables()
        self.variables |= {"RC_SVCNAME": file.name, "SVCNAME": file.name, "RC_SERVICE": str(file)}
        self.functions: dict[str, Statement] = {}
        self.known: dict[str, Place] = {}
        for name, text in texts:
            for statement in shell.statements(text):
                self._take(name, statement)

    def _take(self, file: str, statement: Statement) -> None:
        if statement.name:
            self.functions[statement.name] = statement
        elif found := shell.assignment(statement):
            name, written, more = found
            place = Place(file, statement.line)
            if statement.text.startswith(":") and name in self.known:
                return
            try:
                value = shell.value(written, self.variables, statement.line)
                self.variables[name] = self.variables.get(name, "") + value if more else value
                self.variables.unknown.pop(name, None)
            except Dynamic as error:
                self.variables.pop(name, None)
                self.variables.unknown[name] = error
            self.known[name] = place

    def get(self, name: str) -> str:
        """Return a variable's value; empty when it has none that is known."""
        return self.variables.get(name, "")

    def need(self, name: str) -> str:
        """Return a variable's value. Raises Dynamic when only a shell can know it."""
        if name in self.variables.unknown:
            raise self.variables.unknown[name]
        return self.variables.get(name, "")

    def place(self, name: str) -> Place:
        """Return where a variable is set, or the script."""
        return self.known.get(name, self.whole)

    def place_of_function(self, name: str) -> Place:
        """Return where a function begins, or the script."""
        return Place(str(self.file), self.functions[name].line) if name in self.functions else self.whole

    def within(self, function: Statement, line: int) -> Place:
        """Return the place of a line of a function's body."""
        return Place(str(self.file), function.line + line - 1)

    def program(self, name: str) -> str:
        """Return a shell program that runs a function, with everything that it uses. Raises Dynamic."""
        wanted, parts = [name], list[str]()
        seen: set[str] = set()
        used: set[str] = set()
        while wanted:
            each = wanted.pop()
            if each in seen:
                continue
            seen.add(each)
            body = self.functions[each].text
            parts.append(f"{each}() {{{body}}}")
            words = set(_WORD.findall(body))
            used |= words
            wanted += [other for other in words & self.functions.keys() if other not in seen]
        for unknown in sorted(used & self.variables.unknown.keys()):
            raise self.variables.unknown[unknown]
        helpers = [text for helper, text in PRELUDE.items() if helper in used]
        values = [f"{key}={shlex.quote(self.variables[key])}" for key in sorted(used & self.variables.keys())]
        return "\n".join([*values, *helpers, *reversed(parts), name]) + "\n"


def hooks(draft: Draft, script: Script) -> None:
    """Put a script's functions into the draft, each as the hook that it is."""
    for name, (field, why) in _HOOKS.items():
        if name in script.functions:
            _hook(draft, script, name, field, why)
    if "reload" in script.functions:
        _reload(draft, script)
    if "healthcheck" in script.functions:
        _health(draft, script)
    for name in script.functions:
        if name not in _OURS and name in script.get("extra_commands") + script.get("extra_started_commands"):
            draft.lost(script.place_of_function(name), f"{name}()", "arjectl has no verbs of a service's own")
        elif name in ("status", "stop", "unhealthy"):
            draft.lost(script.place_of_function(name), f"{name}()", "arje knows and does it by itself")


def _hook(draft: Draft, script: Script, name: str, field: str, why: str) -> None:
    place = script.place_of_function(name)
    try:
        text = script.program(name)
    except Dynamic as error:
        draft.lost(place, f"{name}()", f"only a shell can know {error}")
        return
    foreign = sorted(set(_FOREIGN.findall(script.functions[name].text)))
    reasons = [why] if why else []
    if foreign:
        reasons.append(f"it asks OpenRC by {', '.join(foreign)}")
    hook = {"exec": "/bin/sh", "argv": ["-c", text], "privileged": True}
    if reasons:
        draft.near(place, f"{name}()", "; ".join(reasons), field, [hook])
    else:
        draft.kept(place, f"{name}()", field, [hook])


def _reload(draft: Draft, script: Script) -> None:
    place, body = script.place_of_function("reload"), script.functions["reload"].text
    if found := _HUP.search(body):
        signal = found[1] or found[2]
        draft.near(place, "reload()", "the signal goes to the main process", "supervision.reload", signal)
        return
    try:
        text = script.program("reload")
    except Dynamic as error:
        draft.lost(place, "reload()", f"only a shell can know {error}")
        return
    draft.kept(place, "reload()", "supervision.reload", ["/bin/sh", "-c", text])


def _health(draft: Draft, script: Script) -> None:
    place, every = script.place_of_function("healthcheck"), script.get("healthcheck_timer") or "30"
    try:
        text = script.program("healthcheck")
    except Dynamic as error:
        draft.lost(place, "healthcheck()", f"only a shell can know {error}")
        return
    table = {"exec": ["/bin/sh", "-c", text], "interval": f"{every}s", "retries": 1}
    draft.kept(place, "healthcheck()", "supervision.health", table)
