"""What the payload may ask of the kernel: landlock and seccomp. Last of all, for arje itself has to live with them.

Both need CAP_SYS_ADMIN or no_new_privs. Where the payload would have neither at the end, no_new_privs is implied
(:func:`implied`); only a seccomp filter of a card that changes its user and wants to keep set-uid programs comes before
that change, and must then allow what arje still has to do (isolation.md §3, 14).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from arje.card.filters import Seccomp, errno_number, wrong
from arje.card.soma import Soma
from arje.card.syscalls import KNOWN, expand
from arje.card.unreadable import Unreadable
from arje.incarnate.blueprint import Blueprint, Credentials, Wish
from arje.incarnate.families import landlocked, privileges
from arje.incarnate.family import Answer, Applier, Finisher, Nonsense, Reader, Scene, Unworkable, loss_of
from arje.incarnate.setup import ChildSetup, PlannedOp
from arje.incarnation import Degradation
from arje.kernel import process, seccomp
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.facts import Facts
from arje.kernel.powers import SYS_ADMIN
from arje.native import FACT, Op

NEEDS: Final[dict[str, tuple[str, ...]]] = {}
MUST: Final[frozenset[str]] = frozenset()
SHOWN_BY: Final[dict[str, str]] = {}
APPLY: Final[dict[str, Applier]] = {}
AFTER: Final[dict[str, Finisher]] = {}

SAID_YES: Final = "the kernel said yes; the running payload could not be read"

#: What arje itself still calls after an early filter, by the op that calls it; the last ones in any case.
_CALLS: Final = {
    "no-nested-user": ("openat", "write", "pread64", "close", "unshare"),
    "personality": ("personality",),
    "lock-personality": ("personality", "seccomp"),
    "bounding": ("prctl",),
    "keep-caps": ("prctl",),
    "securebits": ("prctl",),
    "capset": ("capget", "capset"),
    "ambient": ("prctl",),
    "keyring": ("keyctl",),
    "groups": ("setgroups",),
    "gid": ("setresgid",),
    "uid": ("setresuid",),
    "parent-death-signal": ("prctl",),
    "chdir": ("chdir",),
    "rlimit": ("prlimit64",),
    "landlock-path": ("openat", "close"),
    "landlock": (
        *("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"),
        *("openat", "close", "socket", "bind"),
    ),
    "report": ("openat", "read", "readlinkat", "close", "sendmsg"),
}
#: And by what is told: bits of a report.
_TOLD_BY: Final = {
    FACT["nodename"]: ("uname",),
    FACT["wait"]: ("recvfrom",),
    FACT["network"]: ("socket", "sendto", "recvfrom"),
    FACT["proc"]: ("newfstatat", "statfs"),
    FACT["priority"]: ("ioprio_get", "sched_getscheduler"),
}
_LAST_CALLS: Final = ("futex", "clock_gettime", "sendto", "exit_group")
_PASSES: Final = (seccomp.ALLOW, seccomp.LOG, None)  # None: not to be told


def wishes(soma: Soma) -> Iterator[Wish]:
    """Yield the filters."""
    if soma.landlock:
        yield Wish("landlock", landlocked.words(soma.landlock), "soma.landlock")
    if soma.seccomp:
        yield Wish("seccomp", _words(soma.seccomp), "soma.seccomp")


def _words(asked: Seccomp) -> str:
    if asked.raw:
        return f"filter of {asked.raw}"
    parts = [f"{kind} {' '.join(names)}" for kind, names in (("allow", asked.allow), ("deny", asked.deny)) if names]
    parts += [f"{name} {value}" for name, value in asked.errno]
    return "; ".join([*parts, f"else {_default(asked)}"])


def nonsense(soma: Soma) -> Iterator[Nonsense]:
    """Yield wrong names, filters of others that are none, and filters under which nothing can be executed."""
    if soma.landlock:
        yield from (_nonsense("soma.landlock", error) for error in wrong(soma.landlock))
    if soma.seccomp:
        bad = [_nonsense("soma.seccomp", error) for error in wrong(soma.seccomp)]
        yield from bad
        if not bad and not soma.seccomp.raw and rules(soma.seccomp)("execve") not in _PASSES:
            yield _FORBIDS_EXECVE


def _nonsense(field: str, error: Unreadable) -> Nonsense:
    return Nonsense(f"{field}.{error.field}".rstrip("."), str(error), error.remedy)


_FORBIDS_EXECVE: Final = Nonsense(
    "soma.seccomp", "it denies execve, so the payload could not be started", 'allow "@default"'
)


def expanded(soma: Soma, text: Callable[[str], str]) -> Soma:
    """Replace ``${NAME}`` in the paths."""
    asked, confined = soma.seccomp, soma.landlock
    if asked and asked.raw:
        asked = replace(asked, raw=text(asked.raw))
    return replace(soma, seccomp=asked, landlock=landlocked.expanded(confined, text) if confined else None)


def implied(soma: Soma, capabilities: CapabilitySet) -> Soma:
    """Add no_new_privs where the kernel takes a filter only with it."""
    if soma.no_new_privs or not (soma.seccomp or soma.landlock):
        return soma
    own_user = soma.namespaces.user and capabilities["user"].available
    stays_root = soma.run_as is None or soma.run_as.user in ("root", "0", 0)
    if own_user:  # as whom the payload starts there: families/ids.py, credentials
        stays_root = not soma.uid_map or (stays_root and any(line.inside == 0 for line in soma.uid_map))
    stays_root = stays_root and keeps_admin(soma)
    privileged = capabilities.privileged or (own_user and stays_root)
    if not privileged or (soma.landlock and not stays_root):
        return replace(soma, no_new_privs=True)
    return soma


def keeps_admin(soma: Soma) -> bool:
    """Whether the payload's root keeps CAP_SYS_ADMIN, with which alone a filter may be set without no_new_privs."""
    permitted = privileges.sets_of(soma, Credentials(0, 0, None, "")).permitted
    return permitted is None or bool(permitted >> SYS_ADMIN & 1)


def foresee(soma: Soma, capabilities: CapabilitySet) -> tuple[Degradation, ...]:
    """Foresee what depends on the card: a compiler for its filter, and the rights of its ruleset."""
    losses = landlocked.foresee(soma, capabilities)
    found = capabilities["libseccomp"]
    if soma.seccomp and not soma.seccomp.raw and capabilities["seccomp"].available and not found.available:
        losses += (loss_of(Wish("seccomp", _words(soma.seccomp), "soma.seccomp"), found),)
    return losses


# -- what a filter says ------------------------------------------------------------------------------------------------


def _default(asked: Seccomp) -> str:
    return asked.default or ("errno:EPERM" if asked.allow else "allow")


def _action(word: str) -> int:
    actions = {"kill": seccomp.KILL_PROCESS, "log": seccomp.LOG, "allow": seccomp.ALLOW}
    return actions.get(word) or seccomp.ERRNO | errno_number(word.removeprefix("errno:"))


def rules(asked: Seccomp) -> Callable[[str], int]:
    """Return what the card says about each system call by name."""
    default = _action(_default(asked))
    denied = seccomp.ERRNO | errno_number("EPERM") if default in _PASSES else default
    found = dict.fromkeys(expand(asked.allow), seccomp.ALLOW) | dict.fromkeys(expand(asked.deny), denied)
    for name, value in asked.errno:
        found |= dict.fromkeys(expand([name]), _action(value))
    return lambda name: found.get(name, default)


def program_of(asked: Seccomp) -> bytes:
    """Return the compiled filter. Raises OSError: the library or the file cannot be had, or the file holds no filter."""
    return _raw(asked.raw) if asked.raw else _compiled(asked)


@lru_cache(maxsize=256)
def _compiled(asked: Seccomp) -> bytes:
    say, default = rules(asked), _action(_default(asked))
    newer = default
    if default & ~0xFFFF == seccomp.ERRNO:  # a call that is newer than this list: as from an older kernel
        newer = seccomp.ERRNO | errno_number("ENOSYS")
    foreign = seccomp.LOG if default == seccomp.LOG else seccomp.KILL_PROCESS
    named = {name: say(name) for name in KNOWN}
    return seccomp.compiled(named, default=newer, foreign=foreign, architectures=asked.architectures)


def _raw(path: str) -> bytes:
    program = Path(path).read_bytes()
    seccomp.instructions(program)
    return program


# -- placing -----------------------------------------------------------------------------------------------------------


def _early(scene: Scene) -> bool:
    """Whether the right to set a filter is lost with the change of ids."""
    leaves_root = scene.credentials is not None and scene.credentials.uid != 0
    return not scene.soma.no_new_privs and (leaves_root or not keeps_admin(scene.soma))


def place_early(setup: ChildSetup, scene: Scene) -> None:
    """Place the filter before the capabilities are dropped, when they are all that allows it. Raises Unworkable."""
    if "seccomp" in scene.have and _early(scene):
        _place_seccomp(setup, scene.soma)


def place(setup: ChildSetup, scene: Scene) -> None:
    """Place landlock, then seccomp, as the last ops; check that arje lives through them. Raises Unworkable."""
    if "landlock" in scene.have:
        landlocked.place(setup, scene)
    if "seccomp" in scene.have:
        if not _early(scene):
            _place_seccomp(setup, scene.soma)
        _check(setup.ops)


def _place_seccomp(setup: ChildSetup, soma: Soma) -> None:
    asked = soma.seccomp
    assert asked is not None
    try:
        program = program_of(asked)
    except OSError as error:
        field = "soma.seccomp.raw" if asked.raw else "soma.seccomp.architectures"
        hint = "name a file with an array of struct sock_filter" if asked.raw else "name those of this machine"
        raise Unworkable(Nonsense(field, f"{asked.raw or 'libseccomp'}: {error.strerror}", hint)) from error
    count, flags = len(program) // 8, seccomp.FLAG_LOG if asked.log else 0
    again = b"ask" if _passes(program, "prctl") else None
    op = Op("seccomp", a=count | flags << 32, p=program, q=again)
    setup.add(op, "seccomp", "soma.seccomp", f"{_words(asked)} ({count} instructions)")


def _passes(program: bytes, name: str) -> bool:
    number = seccomp.number_of(name)
    return number < 0 or seccomp.decide(program, number) in _PASSES


def _calls(op: Op) -> Iterator[str]:
    yield from _CALLS.get(op.step, ())
    if op.step == "report":
        yield from (call for bit, calls in _TOLD_BY.items() if op.a & bit for call in calls)


def _check(ops: Sequence[PlannedOp]) -> None:
    """Refuse a filter that would stop arje itself between it and the payload."""
    at = next(index for index, planned in enumerate(ops) if planned.op.step == "seccomp")
    program = ops[at].op.p
    assert isinstance(program, bytes)
    if not _passes(program, "execve"):
        raise Unworkable(_FORBIDS_EXECVE)
    later = ops[at + 1 :]
    needed = [call for planned in later for call in _calls(planned.op)]
    for call in (*needed, *_LAST_CALLS) if later else ():
        if not _passes(program, call):
            detail = f"it denies {call}, which arje itself needs after it to become the card's user"
            raise Unworkable(Nonsense("soma.seccomp", detail, "set no_new_privs = true: then it comes last"))


# -- reading back ------------------------------------------------------------------------------------------------------


def _seccomp(facts: Facts, ours: Facts, plan: Blueprint, wish: Wish) -> Answer:
    """Only the running payload can be read: in the child's own report the filter is still to come."""
    if "after" not in facts.texts:
        return Answer(SAID_YES, True)
    status, count = process.parse_status(facts.texts["after"]), "Seccomp_filters"
    granted = f"mode {status['Seccomp']}" + (f", {status[count]} filters" if count in status else "")
    more = int(status.get(count, "1")) > int(ours.status.get(count, "0"))  # Linux 5.9
    return Answer(granted, status["Seccomp"] == "2" and more)


#: Features that show only after the child's report: in the running payload, or by what its last ops told.
SHOWN_AFTER: Final = frozenset({"seccomp", "landlock"})
READ: Final[dict[str, Reader]] = {"seccomp": _seccomp, "landlock": landlocked.read}
