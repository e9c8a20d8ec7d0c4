"""Every verb of arjectl, with its aliases, operands, options and exit codes: the one source of all that is told of them.

``arjectl --help``, completions, man pages and the tests are made from this table (verb.py says what its columns mean). A
verb's module is imported when it runs: every start of arjectl pays for what stands here.
"""

from __future__ import annotations

from arje.ctl.of_machine import MACHINE
from arje.ctl.verb import Operand, Option, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_ONE: Final = Operand("SERVICE", "service")
_ANY: Final = Operand("SERVICE", "service", "*")
_SOME: Final = Operand("SERVICE", "service", "+")

_FOREIGN: Final = ("supervisord", "runit", "s6", "s6-rc", "dinit", "openrc", "sysv", "compose", "procfile")
_STRICT: Final = Option("--strict", "degraded is an error (exit 154)")
_NO_WAIT: Final = Option("--no-wait", "only ask for it; wait for nothing")
_DRY: Final = Option("--dry-run", "tell what would be done, and do nothing")
_FORCE: Final = Option("--force", "stop what needs them first")
_FOLLOW: Final = Option("-f --follow", "show new ones as they come")
_SINCE: Final = Option("--since", "not before this moment", "time", "TIME")
_STARTING: Final = (_NO_WAIT, _DRY, _STRICT)
_DELAY: Final = Option("-d --delay", "look again so often (2)", "seconds", "SEC", default=2.0)
_UP: Final = (153, 154)
_REVERSE: Final = Option("--reverse", "what depends on it")


def _sticks(name: str, help: str, now: str = "") -> Verb:
    options = (Option("--now", f"{now} them as well"),) if now else ()
    offline = "offline:write" if name in ("enable", "disable", "mask", "unmask") else ""
    return Verb(f"stick_verbs:{name}", "stick", help, _SOME, options=options, query=False, offline=offline)


def _test(name: str, help: str, *exits: int) -> Verb:
    operands = () if name == "is_system_running" else (_SOME,)
    offline = "offline:is_enabled" if name == "is_enabled" else ""
    return Verb(f"tests:{name}", "test", help, *operands, exits=exits, offline=offline)


VERBS: Final[dict[str, Verb]] = {
    # -- look ----------------------------------------------------------------------------------------------------------
    "status": Verb("status_table:status", "look", "the table of services, or some in detail", _ANY, exits=(3,)),
    "list": Verb("look:list_", "look", "labels and states", _ANY, aliases="ls list-units"),
    "show": Verb(
        *("look:show", "look", "every field of services", _ANY),
        options=(Option("-P --property", "only this field, and of each service a line", "field", "FIELD"),),
    ),
    "cat": Verb("stick_verbs:cat", "look", "every file that made a card", _SOME),
    "why": Verb("look:why", "look", "the causal chain of a service's state", _ONE),
    "history": Verb("history:history", "look", "the last states of services, and who or what put them there", _SOME),
    "deps": Verb(
        *("look:deps", "look", "what a service depends on, as a tree", _ONE),
        aliases="list-dependencies",
        options=(_REVERSE,),
    ),
    "graph": Verb(
        *("graph:graph", "look", "services and the edges between them, of all or around some", _ANY),
        options=(
            Option(
                *("-f --format", "how it is drawn (ascii)", "choice", "FORM"),
                choices=("ascii", "dot", "mermaid", "svg", "json"),
                default="ascii",
            ),
        ),
    ),
    "failed": Verb("look:failed", "look", "who has failed, or starts over and over, and why", _ANY, exits=(1,)),
    "ps": Verb("ps:ps", "look", "the processes of services, and what they use", _ANY),
    "top": Verb("watch:show", "look", "what services use, on a screen, with a log", _ANY, options=(_DELAY,)),
    "degradations": Verb(
        "losses:degradations", "look", "what was asked for and not granted, why, and the remedy", _ANY
    ),
    "sockets": Verb("sockets:show", "look", "what is listened on, and for whom", _ANY, aliases="list-sockets"),
    "paths": Verb("sockets:show", "look", "which paths start which services", _ANY, aliases="list-paths"),
    "timers": Verb("timers:timers", "look", "when timed services run next, and ran last", _ANY, aliases="list-timers"),
    # -- run -----------------------------------------------------------------------------------------------------------
    "start": Verb(
        *("act:start", "run", "start services and what they need; arm those with a timer", _SOME),
        options=_STARTING,
        exits=_UP,
        query=False,
    ),
    "stop": Verb(
        *("act:stop", "run", "stop services, and disarm their timers", _SOME),
        options=(_NO_WAIT, _DRY, _FORCE),
        exits=(151,),
        query=False,
    ),
    "restart": Verb("act:restart", "run", "stop and start services", _SOME, options=_STARTING, exits=_UP, query=False),
    "try-restart": Verb(
        "act:try_restart", "run", "restart those that run", _SOME, options=_STARTING, exits=_UP, query=False
    ),
    "reload": Verb(
        *("act:reload", "run", "let services read their configuration again", _SOME),
        options=(_NO_WAIT, _DRY),
        exits=(7,),
        query=False,
    ),
    "reload-or-restart": Verb(
        *("act:reload_or_restart", "run", "reload those that can, restart the others", _SOME),
        options=_STARTING,
        exits=_UP,
        query=False,
    ),
    "trigger": Verb(
        *("act:trigger", "run", "run services now, whatever their timers say", _SOME),
        options=_STARTING,
        exits=_UP,
        query=False,
    ),
    "wake": Verb(
        *("act:wake", "run", "start services that something which runs needs", _SOME),
        options=(_NO_WAIT, _STRICT),
        exits=_UP,
        query=False,
    ),
    "release": Verb(
        *("act:release", "run", "stop services that nothing which runs needs", _SOME),
        options=(_NO_WAIT,),
        exits=(151,),
        query=False,
    ),
    "kill": Verb(
        *("act:kill", "run", "send services a signal", _SOME),
        aliases="signal",
        options=(
            Option("-s --signal", "which one, by name or number (TERM)", "signal", "SIG", default="TERM"),
            Option("--whom", "whose processes (main)", "choice", choices=("main", "all"), default="main"),
        ),
        exits=(7,),
        query=False,
    ),
    "freeze": Verb("act:freeze", "run", "let no process of services run", _SOME, exits=(7,), query=False),
    "thaw": Verb("act:thaw", "run", "let frozen services run again", _SOME, exits=(7,), query=False),
    "run": Verb(
        *("run_verb:run", "run", "run a command as a service that goes when it has ended"),
        Operand("NAME", "name", "?"),
        Operand("COMMAND", "command", "*"),
        options=(
            Option(
                "--in",
                "inside of this service, as arjectl shell",
                "service",
                "SERVICE",
                dest="inside",
            ),
            Option("--label", "what it is called (run-1, run-2, …)", "name", "NAME", default=""),
            Option("--card", "a card that the command is put into", "card", "FILE"),
            Option("--wait", "show what it writes, and end with its exit status"),
            Option("--remain", "keep its card until the next boot"),
        ),
        exits=(6, 7, 153),
        query=False,
    ),
    "shell": Verb(
        *("enter:shell", "run", "be in a running service: a shell, or a command, in its namespaces and by its rules"),
        _ONE,
        Operand("COMMAND", "command", "*"),
        exits=(7,),
        query=False,
    ),
    "set": Verb(
        *("limits_verbs:set_limits", "run", "change limits of a running service, until it is restarted", _ONE),
        Operand("NAME=VALUE", "limit", "+"),
        exits=(7, 154),
        query=False,
    ),
    "heal": Verb(
        *("act:heal", "run", "mend what services have lost, where it can be had by now", _ANY),
        options=(_STRICT,),
        exits=(154,),
        query=False,
    ),
    "harden": Verb(
        *("harden:harden", "run", "watch a service and propose the tightest card that it still runs with", _ONE),
        options=(
            Option("--for", "watch so long (until Ctrl-C)", "seconds", "SEC", dest="seconds"),
            Option("--slack", "unseen calls of a set (0)", "percent", "PERCENT", default=0),
            Option("--try", "run it so; go back when that fails", dest="attempt"),
            Option("--stay", "with --try: watch so long (5)", "seconds", "SEC", default=5.0),
            Option("--write", "with --try: keep the card when it has passed"),
        ),
        exits=(7,),
        query=False,
    ),
    # -- stick ---------------------------------------------------------------------------------------------------------
    "enable": _sticks("enable", "let the manager start services by itself", "start"),
    "disable": _sticks("disable", "let only hands and dependents start services", "stop"),
    "mask": _sticks("mask", "let nothing start services, no hand either", "stop"),
    "unmask": _sticks("unmask", "take masks away"),
    "pin": _sticks("pin", "let nothing but a hand change whether services run"),
    "unpin": _sticks("unpin", "take pins out"),
    "scale": Verb(
        *("stick_verbs:scale", "stick", "let a template have so many copies"),
        Operand("TEMPLATE@", "template"),
        Operand("NUMBER", "number"),
        exits=(6,),
        query=False,
    ),
    "reset-failed": Verb("stick_verbs:reset_failed", "stick", "forget the failures of services", _ANY, query=False),
    # -- test ----------------------------------------------------------------------------------------------------------
    "is-active": _test("is_active", "whether one of these services is up", 3),
    "is-ready": _test("is_ready", "whether one of these services is ready", 3),
    "is-failed": _test("is_failed", "whether one of these services has failed", 1),
    "is-enabled": _test("is_enabled", "whether the manager starts one of these by itself", 1),
    "is-degraded": _test("is_degraded", "whether one of these services lacks isolation", 1),
    "is-system-running": _test("is_system_running", "whether all is well, and if not what", 1),
    "wait": Verb(
        *("act:wait", "test", "wait until services have settled, or are so (--for)", _ANY),
        options=(
            Option(
                *("--for", "wait for this state, whoever brings it about", "choice"),
                choices=("ready", "running", "stopped", "done", "failed"),
                dest="goal",
            ),
            _STRICT,
        ),
        exits=_UP,
        query=False,
    ),
    # -- config --------------------------------------------------------------------------------------------------------
    "check": Verb(
        *("manager_verbs:check", "config", "what is wrong with card files, or with the cards on disk"),
        Operand("FILE", "card", "*"),
        aliases="lint",
        exits=(6,),
    ),
    "plan": Verb(
        "plan_verbs:plan",
        "config",
        "what the cards on disk would change, or what a start of one would get here or elsewhere (--on)",
        Operand("SERVICE|FILE", "service-or-card", "?"),
        aliases="diff",
        options=(Option("--on", "on the host whose saved report (arjectl doctor --json) this is", "file", "FILE"),),
        exits=(6, 153),
    ),
    "apply": Verb(
        "plan_verbs:apply",
        "config",
        "take the cards on disk, all or none; go back when they are no good (--confirm)",
        Operand("TOKEN", "token", "?"),
        aliases="daemon-reload update",
        options=(
            Option("--confirm", "go back if what it touches is not ready by then", "seconds", "SEC"),
            _DRY,
            _STRICT,
        ),
        exits=(6, 153, 154, 155),
        query=False,
    ),
    "rollback": Verb(
        "plan_verbs:rollback",
        "config",
        "go back to the cards before the last apply, or to an earlier set",
        Operand("TOKEN", "token", "?"),
        options=(Option("--list", "the sets that can be gone back to"), _STRICT),
        exits=(6, 153, 154),
        query=False,
    ),
    "edit": Verb(
        *("edit:edit", "config", "change a card in your editor; it is checked before it is saved", _ONE),
        options=(
            Option("--drop-in", "only what is to be different, in a file of its own"),
            Option("--now", "take it without asking"),
            _STRICT,
        ),
        exits=(6, 153, 154, 155),
        query=False,
    ),
    "schema": Verb(
        *("look:schema", "config", "the JSON schema of a card, or of what a verb writes with --json"),
        options=(Option("--output", "of what this verb writes", "text", "VERB", default=""),),
    ),
    "import": Verb(
        *("exchange_verbs:import_", "config", "services of other supervisors to cards, and what of them was kept"),
        Operand("PATH", "file", "+"),
        options=(
            Option("--from", "what they are for (by what is in them)", "choice", choices=_FOREIGN),
            Option("--to", "write the cards into this directory, all or none", "directory", "DIR"),
            Option("--force", "write over files that are there"),
            Option("--check", "only report; write nothing"),
            Option("--strict", "what is approximated or dropped is an error (exit 154)"),
        ),
        exits=(6, 154),
        query=False,
        manager="no",
    ),
    "doctor": Verb("look:doctor", "config", "what this machine can isolate, and how to mend what it cannot"),
    # -- logs ----------------------------------------------------------------------------------------------------------
    "logs": Verb(
        *("log_verbs:logs", "logs", "what services wrote", _ANY),
        aliases="tail",
        options=(
            _FOLLOW,
            Option("-n --lines", "lines per service (100; with --since: all)", "number", "N"),
            _SINCE,
            Option("--until", "not after this moment", "time", "TIME"),
            Option("--life", "only of the current or latest life of each service"),
            Option("--stream", "only of this stream", "choice", choices=("stdout", "stderr")),
            Option("--grep", "only lines with this text in them", "text", "TEXT"),
            Option(
                *("-o --output", "how each line is shown (short)", "choice", "FORM"),
                choices=("short", "json", "cat", "with-time-zone"),
                default="short",
            ),
        ),
    ),
    "events": Verb(
        *("event_verbs:events", "logs", "what became of services: every change of state, and why", _ANY),
        aliases="monitor",
        options=(_FOLLOW, Option("-n --lines", "so many (100; with --since: all)", "number", "N"), _SINCE),
    ),
    "watch": Verb("watch:show", "logs", "services and events on a screen, as they change", _ANY, options=(_DELAY,)),
    # -- boot ----------------------------------------------------------------------------------------------------------
    "analyze": Verb(
        *("analyze:analyze", "boot", "who took how long at the manager's start, and who waited for whom"),
        Operand("WHAT", "topic", "", ("blame", "critical-chain", "plot")),
        Operand("SERVICE", "service", "*"),
        options=(Option("--apply", "at the latest apply instead"),),
        exits=(1,),
    ),
    # -- manager -------------------------------------------------------------------------------------------------------
    "log-level": Verb(
        *("manager_verbs:log_level", "manager", "how talkative the manager's own log is, or is to be"),
        Operand("LEVEL", "topic", "?", ("debug", "info", "warning", "error")),
        query=False,
    ),
    "metrics": Verb(
        *("exchange_verbs:metrics", "manager", "figures of every service, as monitoring systems read them"),
        options=(
            Option(
                *("--form", "OpenMetrics, or Prometheus' older text (openmetrics)", "choice"),
                choices=("openmetrics", "prometheus"),
                default="openmetrics",
            ),
        ),
    ),
    "bridge": Verb("bridge:bridge", "manager", "stdin and stdout are the manager's socket: the far end of -H"),
    "ping": Verb("look:ping", "manager", "whether a manager answers"),
    "version": Verb("look:version", "manager", "arjectl's own version", manager="no"),
    "completion": Verb(
        *(
            "completion:completion",
            "manager",
            "the script that completes arjectl in a shell, and what it asks (answer)",
        ),
        Operand("SHELL", "choice", choices=("bash", "zsh", "fish", "answer")),
        Operand("WORD", "command", "*"),
        manager="no",
    ),
    # -- machine -------------------------------------------------------------------------------------------------------
    "target": Verb(
        *("act:target", "machine", "start a target and stop what it does not pull in"),
        Operand("TARGET", "target"),
        aliases="isolate",
        options=(_NO_WAIT, _STRICT),
        exits=_UP,
        query=False,
    ),
    **MACHINE,
}
#: Every name of a verb to the verb's own.
NAMES: Final = {alias: name for name, verb in VERBS.items() for alias in (name, *verb.aliases)}
