"""The card of a command that runs for a service: in a body like the service's, or inside the one that runs. Pure.

A command before the payload gets a body of its own, made like the service's. One beside the payload enters the running
one: every namespace that the service was given, by setns(2), so that it sees the same files, processes and network. Its
rules stay (user, capabilities, filters, limits); what namespaces hold (mounts, hostname, network) is there already. It has
a cgroup of its own, so that its end and the service's are two things.

An ordinary user's manager cannot start somebody in another pid namespace (setns(2): CAP_SYS_ADMIN where the caller is);
its commands see their service's processes by the manager's numbers, and ``MAINPID`` is one of those then.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Final

from arje.card.card import Card
from arje.card.command import Command
from arje.card.ids import RunAs
from arje.card.join import Join
from arje.card.namespaces import Namespaces
from arje.card.payload import Native
from arje.card.soma import Soma, Stdio
from arje.incarnate.blueprint import Blueprint
from arje.kernel import process

#: What a body has by its namespaces: who enters those has it, and must not make it again.
_HELD: Final[dict[str, tuple[str, ...]]] = {
    "mount": (
        *("root", "read_only_root", "overlay", "pivot_root", "private_tmp", "tmpfs", "binds", "proc", "sysfs", "dev"),
        *("devpts", "mqueue", "masked_paths", "read_only_paths", "protect_kernel_tunables", "files", "symlinks"),
        "credentials",
    ),
    "net": ("network",),
    "uts": ("hostname",),
    "time": ("time_offsets",),
    "user": ("uid_map", "gid_map", "auto_map", "disable_nested_userns"),
}


def of_command(card: Card, command: Command, role: str) -> Card:
    """Return the card of a command that runs before the payload. ``role`` tells commands of one service apart."""
    soma = Soma() if command.privileged else replace(card.soma, strict_caps=False, require=())
    return _card(card, command, role, soma)


def inside(card: Card, command: Command, role: str, running: Blueprint, *, privileged: bool) -> Card:
    """Return the card of a command that runs beside the payload. ``privileged``: the manager is root."""
    if command.privileged:
        return _card(card, command, role, Soma())
    entered = [kind for kind in running.soma.namespaces.asked() if _is_had(kind, running)]
    joins = running.soma.join.asked() | {kind: card.label for kind in entered}
    if not privileged:
        joins.pop("pid", None)
    bare = Soma()
    kept = {name: getattr(bare, name) for kind in entered for name in _HELD.get(kind, ())}
    soma = replace(
        running.soma, **kept, namespaces=Namespaces(), join=Join(**joins), strict_caps=False, require=(), prefer=()
    )
    if "user" in entered:
        soma = replace(soma, run_as=_as_inside(running))
    return _card(card, command, role, soma)


def in_network(card: Card, command: Command, role: str) -> Card:
    """Return the card of a command of arje's own that is in the running payload's network, and nowhere else of it."""
    spaces = card.soma.namespaces
    joins = {kind: card.label for kind in ("user", "net") if getattr(spaces, kind)} or {}
    others = {kind: label for kind, label in card.soma.join.asked().items() if kind in ("user", "net")}
    return _card(card, command, role, Soma(join=Join(**others | joins)))


def has_own_network(running: Blueprint | None) -> bool:
    """Whether a payload's network is another one than the manager's."""
    return running is not None and (_is_had("net", running) or bool(running.soma.join.net))


def main_pid(running: Blueprint, pid: int, *, privileged: bool) -> int:
    """Return the main process's pid as a command beside it sees it (``NSpid`` of proc_pid_status(5))."""
    own = privileged and "pid" in running.soma.namespaces.asked() and _is_had("pid", running)
    with contextlib.suppress(OSError, KeyError):
        return int(process.status(pid)["NSpid"].split()[-1]) if own else pid
    return pid


def _is_had(kind: str, running: Blueprint) -> bool:
    return ("cgroup-ns" if kind == "cgroup" else kind) in running.has


def _as_inside(running: Blueprint) -> RunAs | None:
    """The credentials of the payload as it sees them; None is 0 in its user namespace."""
    who = running.credentials
    if who is None or (who.uid == 0 and who.gid == 0 and not who.groups):
        return None
    return RunAs(user=who.uid, group=who.gid, groups=who.groups or ())


def _card(card: Card, command: Command, role: str, soma: Soma) -> Card:
    assert isinstance(card.payload, Native)
    place = soma.cgroup and replace(soma.cgroup, path="")
    soma = replace(soma, cgroup=place, stdio=Stdio(), controlling_tty="", new_session=True)
    payload = Native(
        exec=command.exec,
        argv=command.argv,
        envp=card.payload.envp,
        env_file=card.payload.env_file,
        pass_env=card.payload.pass_env,
    )
    return Card(label=f"{card.label}:{role}", payload=payload, soma=soma, source=card.source)
