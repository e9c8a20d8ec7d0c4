"""What a card can say about running, phrase by phrase, and the scenarios that show it; what none shows, and why not.

The phrases are those of the project's design of supervision, "What a card can say about running", and of what has to be
defined when things go wrong. ``test_scenarios.py`` holds that every scenario is named here and every name is a scenario.
"""

from __future__ import annotations

from typing import Final

ROWS: Final[dict[str, dict[str, str]]] = {
    "dependencies": {
        "requires: pulls in, and a stop goes on to who requires": "order requires restart-in-place",
        "wants: nothing happens when it is missing or fails": "order missing-name",
        "after, before: start order only, and stops backwards": "order end contradictory-order",
        "conflicts": "conflicts",
        "waits_for: a milestone": "milestone",
        "requisite": "requisite",
        "part_of": "parts",
        "provides: capabilities that others require": "contracts missing-name",
        "wanted_by": "target",
        "contracts: any, quorum, conflicts, after": "contracts",
        "circles: refused with every line; at boot a soft edge gives way and both show it": "circle contradictory-order",
        "per edge: keep, restart or reload the dependent": "terms restart-in-place",
        "starting again when the dependency recovers": "requires terms",
        "a dependency on another's isolation": "undegraded",
    },
    "conditions": {
        "path, directory, command line, virtualization, capability, user, kernel version": "conditions",
        "a skipped service is visible": "conditions",
        "asserts": "conditions",
        "live conditions: on and off, with stop": "live-conditions",
        "live conditions: flux, with reload": "flux",
    },
    "readiness": {
        "a newline on a descriptor, sd_notify, a pid file, TCP, unix, HTTP and exec probes, a log line": "readiness",
        "start timeout, and asking for more time": "start-timeout",
        "a reload of arje while a service starts": "start-timeout changed-while-starting",
    },
    "health": {
        "a probe with interval, retries, action": "health",
        "the watchdog": "health",
    },
    "restart": {
        "never, on-failure, on-abnormal, always": "restart-rules",
        "per exit code and signal": "restart-rules",
        "exponential waits from initial to max": "back-off",
        "jitter, and decay after a healthy time": "decay",
        "a rate limit": "start-limit",
        "an action when it is hit: a target, a script": "limits-hit what-follows",
        "an action when it is hit: a reboot, which outside of a machine's PID 1 ends arje": "limits-hit",
        "budgets of groups": "group-budget",
        "an action when it is hit: the exit of arje with a code": "ends-arje",
        "a start by hand always goes through and resets": "back-off start-limit restart-in-backoff",
        "the longest life": "decay",
        "on a changed file": "on-change",
        "on a threshold of memory": "max-memory",
        "delegate": "delegate",
    },
    "stop": {
        "a signal, a timeout": "stop-escalates",
        "a schedule": "stop-schedule",
        "a stop command": "stop-schedule",
        "the whole tree dies, and it is said by what": "stop-escalates leftovers",
        "reverse dependency order": "order end",
        "refused while dependents run, unless forced": "order contracts",
        "what blocks a stop is shown": "stop-schedule",
        "a second request goes on to the next step": "stop-schedule",
    },
    "kinds": {
        "daemon": "order",
        "one-shot": "one-shot",
        "a scripted pair": "scripted",
        "target": "target",
        "templates with specifiers": "templates",
        "hooks": "hooks",
        "transient services from the command line": "transient",
        "timers: calendar and monotonic, missed runs, overlap": "timers",
        "sockets: opened and passed, of every kind": "sockets",
        "sockets: on demand": "sockets",
        "sockets: per connection": "connections",
        "trigger limits": "sockets paths",
        "path watches": "paths",
        "the store of descriptors": "fd-store",
        "copies, and scale": "templates",
    },
    "files": {
        "layered directories": "layers duplicate-label",
        "drop-ins": "layers",
        "variables": "layers templates",
        "environment files, credentials": "layers",
        "masks": "layers",
        "the ancestor's JSON, its tags and milliseconds, and genesis": "ancestor",
        "a JSON schema": "ancestor",
    },
    "reload": {
        "plan: what each service will feel": "reload changed-while-starting layers",
        "apply: all or nothing, and only what changed": "reload bad-card reloads-arje",
        "a bad card disables only itself": "bad-card self-dependency",
        "apply --confirm goes back by itself, rollback by hand": "confirm",
    },
    "logs": {
        "captured, followable, the last lines in status": "logs",
        "rotation by size": "logs",
        "bounded memory: no newline in 10 MB": "logs",
        "drop counters": "logs",
        "bytes that are not UTF-8": "logs",
        "the pipe outlives the service": "logs pipeline",
        "producer and consumer": "pipeline",
    },
    "processes": {
        "orphans are reaped": "orphans",
        "what a service leaves behind is killed": "leftovers",
        "the end of a service is arje's own": "ends-arje",
        "the end of arje": "end exit",
    },
    "trouble": {
        "circles": "circle",
        "missing names": "missing-name",
        "self-dependencies": "self-dependency",
        "contradictory orders": "contradictory-order",
        "duplicate labels": "duplicate-label",
        "a card that changes while its service starts": "changed-while-starting",
        "a service that restarts itself from inside": "restarts-itself",
        "a service that reloads arje from inside": "reloads-arje",
        "a stop during a start": "stop-during-start",
        "a start during a stop": "start-during-stop",
        "a restart during a back-off": "restart-in-backoff",
    },
}

#: Phrases that no scenario shows, and the reason.
NOT_HERE: Final[dict[str, str]] = {
    "readiness: outlives a new image of arje": "not built: arje does not execute itself anew yet",
    "restart: the machine reboots when the rate limit is hit": "it needs a machine of its own",
    "restart: at once when the kernel tells of memory": "it needs the memory controller: tests/vm/test_limits.py",
    "stop: freeze and thaw": "they need a cgroup, which an ordinary user may not have: tests/manager/test_limits.py",
    "logs: a full disk hurts nobody": "it needs a mount of its own below the logs: tests/manager/test_log_store.py",
    "reload: a rollback after a restart of arje": "a scenario has one arje: tests/manager/test_rollback.py",
    "logs: the pipe outlives arje": "not built: nobody adopts services yet",
    "logs: syslog and journal sockets": "not built: systemd's surroundings come later",
    "processes: adoption": "not built",
    "sockets: vsock and message queues": "not every kernel has them: tests/manager/test_sockets.py",
}
