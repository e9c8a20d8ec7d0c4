"""What ``arje run`` gives its command of ours: the environment, and the working directory where it can be seen."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from arje.card import env_file
from arje.card.disk import NoText
from arje.card.payload import variable
from arje.card.soma import Soma
from arje.card.unreadable import Unreadable
from arje.errors import CardError, CardProblem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("environment")
    group.add_argument(
        "--env", action="append", default=[], metavar="NAME[=VALUE]", help="set it; without a value: take ours"
    )
    group.add_argument("--clear-env", action="store_true", help="begin with an empty environment")
    group.add_argument(
        "--env-file",
        action="append",
        default=[],
        metavar="FILE",
        help="lines NAME=VALUE; --env-file=-FILE may be missing",
    )


def variables(options: argparse.Namespace) -> dict[str, str]:
    """Return the command's environment: ours unless it is cleared, the files over it, ``--env`` over both.

    Raises CardError that names the option, the file and the line.
    """
    found = {} if options.clear_env else dict(os.environ)
    for word in options.env_file:
        try:
            found |= env_file.read(word)
        except NoText as error:
            problem = error.problem
            raise CardError(
                [CardProblem(problem.file, problem.line, "--env-file", problem.message, problem.remedy)]
            ) from error
    for word in options.env:
        name, equals, value = word.partition("=")
        try:
            name = variable(name)
        except Unreadable as error:
            raise CardError([CardProblem("arje run", 0, "--env", str(error), error.remedy)]) from error
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def directory(soma: Soma, ours: Path) -> str:
    """Return our working directory when the command sees it, else ``/``."""
    covers = [tmpfs.target for tmpfs in soma.tmpfs] + ["/tmp", "/var/tmp"] * soma.private_tmp
    covers += [soma.overlay.merged or "/"] if soma.overlay else []
    shown = [Path(bind.where) for bind in soma.binds]
    if any(ours.is_relative_to(target) for target in shown if target.is_absolute()):
        return str(ours)
    root = soma.root or (soma.pivot_root.new_root if soma.pivot_root else "")
    lower = list(soma.overlay.lower) if soma.overlay and not soma.overlay.merged else []
    if any(Path(f"{layer}{ours}").is_dir() for layer in [root, *lower] if layer):
        return str(ours)
    hidden = bool(root) or any(ours.is_relative_to(target) for target in covers)
    return "/" if hidden else str(ours)
