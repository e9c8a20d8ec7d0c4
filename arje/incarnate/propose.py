"""From what was seen to the tightest card: pure. Each key of [soma] comes with the reason that stands behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from arje.card.soma import Soma
from arje.card.syscalls import expand, tighten
from arje.incarnate.seen import Seen

#: More files than this of one directory stand for the directory.
FILES: Final = 8
_PORTS: Final = 16
#: Code and data of the system, readable to everybody, and renamed with each update: never file by file.
_SYSTEM: Final = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share", "/usr/local/lib", "/proc")
_PASSING: Final = ("/run/", "/tmp/", "/var/tmp/", "/dev/shm/", "/var/run/")
_SETTINGS: Final = ("/proc/", "/sys/")
_MOUNTS: Final = expand(["@mount"]) - {"chroot"}
_IPC: Final = expand(["@ipc"]) - {"pipe", "pipe2", "memfd_create"}
_INET: Final = frozenset((2, 10, 16, 17))  # AF_INET, AF_INET6, AF_NETLINK, AF_PACKET


@dataclass(frozen=True, slots=True)
class Change:
    """One key of [soma] with the value that it gets, as TOML has it, and why."""

    key: str
    value: Any
    why: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to write, and what one might think about. ``calls``: everything that the filter would allow."""

    changes: tuple[Change, ...]
    suggestions: tuple[str, ...]
    calls: frozenset[str] = frozenset()


def propose(seen: Seen, soma: Soma, *, there: frozenset[str], has: frozenset[str], slack: float) -> Proposal:
    """Return the tightest soma under which all that was seen is still possible.

    ``there``: the system calls of this machine. ``has``: what it can forbid: seccomp, landlock, landlock.tcp_bind, ….
    ``slack`` is that of :func:`arje.card.syscalls.tighten`.
    """
    changes, suggestions = [], list(_suggestions(seen, soma))
    if not seen.privileged_programs:
        if not soma.no_new_privs:
            changes.append(Change("no_new_privs", True, "it executed no program that gives privileges"))
    else:
        programs = ", ".join(sorted(seen.privileged_programs))
        suggestions.append(f"no_new_privs, seccomp and landlock are left out: {programs} would lose its privileges")
        has = frozenset()
    if seen.powerful and soma.capabilities is None:
        changes.append(_capabilities(seen))
    calls: frozenset[str] = frozenset()
    if "landlock" in has and (locked := _landlock(seen, soma, has, suggestions)) is not None:
        changes.append(locked)
    if "seccomp" in has and not (soma.seccomp and soma.seccomp.raw):
        names = tighten(seen.calls, there=there, slack=slack)
        denied = soma.seccomp.deny if soma.seccomp else ()
        calls = expand(names) - expand(denied)
        rest = {"deny": list(denied)} if denied else {}
        why = f"it made {len(seen.calls)} different system calls"
        changes.append(Change("seccomp", {"allow": list(names), **rest}, why))
    return Proposal(tuple(changes), tuple(suggestions), calls)


def _capabilities(seen: Seen) -> Change:
    used = sorted(seen.capabilities.items())
    why = "; ".join(f"{name} for {what}" for name, what in used) or "it used none of its capabilities"
    return Change("capabilities", [name for name, _ in used], why)


def _landlock(seen: Seen, soma: Soma, has: frozenset[str], suggestions: list[str]) -> Change | None:
    if mounts := sorted(seen.calls & _MOUNTS):
        suggestions.append(f"landlock is left out: it forbids to mount, and it called {', '.join(mounts)}")
        return None
    execute = collapse(seen.execute)
    table: dict[str, Any] = {
        "read": _not_below(collapse(seen.read, _SYSTEM), execute),
        "write": collapse(seen.write),
        "execute": execute,
    }
    if seen.ioctl_dev:
        table["ioctl_dev"] = collapse(seen.ioctl_dev)
    for kind in ("tcp_bind", "tcp_connect"):
        ports = sorted(getattr(seen, kind))
        if len(ports) > _PORTS:
            suggestions.append(f"landlock.{kind} is left out: it used {len(ports)} ports")
        elif f"landlock.{kind}" in has:
            table[kind] = ports
    if soma.landlock and soma.landlock.scopes:
        table["scopes"] = list(soma.landlock.scopes)
    ports = [str(port) for kind in ("tcp_bind", "tcp_connect") for port in table.get(kind, ())]
    why = f"it read {len(seen.read)}, wrote {len(seen.write)} and executed {len(seen.execute)} paths"
    return Change("landlock", table, why + (f"; TCP ports {', '.join(ports)}" if ports else "; no TCP port"))


def collapse(paths: Iterable[str], wholes: Iterable[str] = ()) -> list[str]:
    """Return a list in which directories stand for many files, and nothing stands below anything else.

    ``wholes`` stand for all below them. Never the root itself nor a directory in it, unless that was used itself. What is
        below a place whose files come and go is written with a dash: it may be missing.
    """
    left = {next((place for place in wholes if path.startswith(place + "/")), path) for path in paths}
    while True:
        parents = Counter(path.rpartition("/")[0] for path in left)
        crowded = {parent for parent, count in parents.items() if count > FILES and parent.count("/") > 1}
        if not crowded:
            break
        left = {parent if (parent := path.rpartition("/")[0]) in crowded else path for path in left}
    return [f"-{path}" if path.startswith(_PASSING) else path for path in sorted(left) if not _below(path, left)]


def _below(path: str, others: Iterable[str]) -> bool:
    return any(path != other and path.startswith(other.rstrip("/") + "/") for other in others)


def _not_below(paths: list[str], others: list[str]) -> list[str]:
    return [path for path in paths if path not in others]


def allows(paths: Iterable[str], path: str) -> bool:
    """Whether a list of landlock allows a path."""
    plain = {other.removeprefix("-") for other in paths}
    return path in plain or _below(path, plain)


def outside(seen: Seen, table: dict[str, Any]) -> list[str]:
    """Return what was tried that a landlock table does not allow, each with the key that lacks it."""
    read = [*table["read"], *table["execute"]]
    kinds = (("read", read), ("write", table["write"]), ("execute", table["execute"]))
    found = [
        f"landlock.{kind}: {path}" for kind, ok in kinds for path in sorted(getattr(seen, kind)) if not allows(ok, path)
    ]
    for kind in ("tcp_bind", "tcp_connect"):
        if kind in table:
            found += [f"landlock.{kind}: {port}" for port in sorted(getattr(seen, kind) - set(table[kind]))]
    return found


def _suggestions(seen: Seen, soma: Soma) -> Iterable[str]:
    if not soma.namespaces.net and not seen.families & _INET:
        yield "namespaces.net: it opened no socket of the network; abstract unix sockets would be cut off as well"
    if not soma.namespaces.ipc and not seen.calls & _IPC:
        yield "namespaces.ipc: it used no message queue, semaphore or shared memory of System V or POSIX"
    if not soma.namespaces.pid and "kill" not in seen.calls:
        yield "namespaces.pid: it sent no signal to another process"
    if not soma.private_tmp and not any(path.startswith(("/tmp", "/var/tmp")) for path in seen.read | seen.write):
        yield "private_tmp: it used neither /tmp nor /var/tmp"
    if not soma.protect_kernel_tunables and not any(path.startswith(_SETTINGS) for path in seen.write):
        yield "protect_kernel_tunables: it wrote nothing below /proc/sys or /sys"
    if seen.unread:
        yield f"{seen.unread} calls could not be looked at: try the card before you keep it"


def without(proposal: Proposal, key: str) -> Proposal:
    """Return a proposal without one of its changes."""
    return replace(proposal, changes=tuple(change for change in proposal.changes if change.key != key))
