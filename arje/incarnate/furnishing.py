"""What of a start touches files that may lie on a mount that is dead: env files, names of users, directories.

Done in a thread before the start when there is any of it (:meth:`~arje.incarnate.spawn.Incarnator.may_hang`), so that the
loop, and with it every other service, never waits for a server that does not answer. What is left for the loop is the
kernel's own: /proc, and cgroupfs, whose files are memory and wait for no one but locks of the kernel (kernfs).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from arje.card.card import Card
from arje.card.payload import Native
from arje.errors import SetupFailed
from arje.incarnate import plan
from arje.incarnate.blueprint import Blueprint
from arje.incarnate.families.mount_plan import credentials_directory
from arje.incarnate.given import Given
from arje.incarnate.policy import refusals
from arje.incarnation import Step
from arje.kernel.capabilities import CapabilitySet


def may_hang(card: Card, *, first: bool) -> bool:
    """Whether a start of a card touches such files; ``first``: it has not been planned yet. Pure."""
    soma = card.soma
    every_time = soma.overlay is not None or bool(soma.credentials)
    every_time |= isinstance(card.payload, Native) and bool(card.payload.env_file)
    once = soma.run_as is not None or (soma.seccomp is not None and bool(soma.seccomp.raw))
    return every_time or (first and once)


def bare(card: Card) -> Card:
    """Return a card that asks the same of the kernel, and whose plan reads no env file. Pure."""
    if not isinstance(card.payload, Native) or not card.payload.env_file:
        return card
    return replace(card, payload=replace(card.payload, env_file=()))


def furnish(card: Card, capabilities: CapabilitySet, variables: dict[str, str], given: Given) -> Blueprint:
    """Plan an incarnation and make its directories. Raises SetupFailed."""
    try:
        blueprint = plan.make(card, capabilities, variables=variables, given=given)
    except OSError as error:
        raise SetupFailed(card.label, Step.PREPARE, error.errno or 0, "", str(error)) from error
    if not refusals(card.soma, blueprint.losses):
        make_directories(blueprint, variables.get("RUNTIME_DIR", ""))
    return blueprint


def make_directories(blueprint: Blueprint, runtime_dir: str) -> None:
    """Make what an overlay or the credentials need below the runtime directory; elsewhere it is the card's mistake.

    Raises SetupFailed.
    """
    soma, wanted = blueprint.soma, {}
    if soma.overlay is not None and "overlay" in blueprint.has:
        wanted = {f"soma.overlay.{name}": getattr(soma.overlay, name) for name in ("upper", "work", "merged")}
    if "credentials" in blueprint.has:
        wanted["soma.credentials"] = credentials_directory(soma, blueprint.card.label, runtime_dir)
    for field, text in wanted.items() if runtime_dir else ():
        path = Path(text)
        if not path.is_relative_to(runtime_dir) or ".." in path.parts:
            continue
        try:
            _make(path)
        except OSError as error:
            line = blueprint.card.source.line_of(field)
            raise SetupFailed(
                blueprint.card.label, Step.PREPARE, error.errno or 0, field, str(path), line=line
            ) from error


def _make(path: Path) -> None:
    """Make a directory and those above it, which nobody else may write to whatever the manager's umask."""
    if not path.is_dir():
        if path.parent != path:
            _make(path.parent)
        path.mkdir(0o700)
        path.chmod(0o755)
