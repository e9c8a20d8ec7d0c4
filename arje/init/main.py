"""The command ``arje``: the manager itself, ``arje check`` for cards, ``arje run`` for one command in a sandbox,
``arje doctor`` for what this host can isolate, ``arje replay`` for a recorded run."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import arje
from arje import paths
from arje.errors import ArjeError
from arje.init import lean

if TYPE_CHECKING:
    from arje.init.daemon import Options


_OTHERS = (["check"], ["run"], ["doctor"], ["replay"], ["import"])


def parser() -> argparse.ArgumentParser:
    """Return the parser of the manager's own options."""
    made = argparse.ArgumentParser(
        prog="arje",
        description="Init and service supervisor; see arje check, run, import, doctor, replay, and arjectl.",
    )
    made.add_argument("--version", action="version", version=f"arje {arje.__version__}")
    made.add_argument("--user", action="store_true", help="be a user's own manager (the default for ordinary users)")
    made.add_argument("--cards", action="append", type=Path, metavar="DIR", help="read cards here; may be repeated")
    made.add_argument("--runtime-dir", type=Path, metavar="DIR", help="socket, lock and logs (default: by user)")
    made.add_argument("--state-dir", type=Path, metavar="DIR", help="what outlives the manager (default: by user)")
    made.add_argument("--ready-fd", type=int, metavar="N", help="write a newline to this descriptor once it serves")
    made.add_argument("--metrics-socket", type=Path, metavar="PATH", help="serve metrics over HTTP on this unix socket")
    made.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write down every input of this run, for arje replay; command lines, environments and what services say by "
        "sd_notify(3) are in it, so that it has mode 0600: look at it before you give it away",
    )
    return made


def command() -> int:
    """Be the command ``arje``, in a process of its own; a manager starts again without its texts (lean.py)."""
    words = sys.argv[1:]
    if not _is_init(words):  # whose /dev may not be mounted yet
        open_standard_descriptors()
    lean.start_again(words)
    return main(words)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status: 0 done, 1 failed, 2 usage."""
    words = sys.argv[1:] if argv is None else argv
    try:
        if _is_init(words):
            from arje.init import pid1

            return pid1.main(words)
        open_standard_descriptors()
        if words[:1] == ["check"]:
            from arje.card.check import main_check
            from arje.service.order import Graph

            if not words[1:]:
                print("arje: check what? Name files or directories", file=sys.stderr)
                return 2
            return main_check(words[1:], lambda cards: Graph(cards).check())
        if words[:1] == ["run"]:
            from arje.init.run import main_run

            return main_run(words[1:])
        if words[:1] == ["import"]:
            from arje.imports.command import main_import
            from arje.service.order import Graph

            return main_import(words[1:], lambda cards: Graph(cards).check())
        if words[:1] == ["doctor"]:
            from arje.init.doctor import main_doctor

            return main_doctor(words[1:])
        if words[:1] == ["replay"]:
            from arje.replay.command import main_replay

            return main_replay(words[1:])
        return _manage(parser().parse_args(words))
    except (ArjeError, OSError) as error:
        print(f"arje: {error}", file=sys.stderr)
        return 1


def _is_init(words: list[str]) -> bool:
    """Whether this is the first process of a machine or a container, and is to be its init."""
    return os.getpid() == 1 and "--user" not in words and words[:1] not in _OTHERS


def open_standard_descriptors() -> None:
    """Where 0, 1 or 2 is closed, the next file that we open would become it: a lock as some service's stdin."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - it is to stay open
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - as above


def _manage(options: argparse.Namespace) -> int:
    from arje import later, readymade

    later.put_off()  # before trio and structlog come
    with readymade.used(readymade.load()), later.no_search_for_threads():
        from arje import log  # structlog takes 20 ms, and the other commands write no log
        from arje.init.daemon import run

    log.set_up()
    for directory in options.cards or ():
        if not directory.is_dir():
            print(f"arje: --cards {directory}: there is no such directory", file=sys.stderr)
            return 2
    return run(decided(options, user=options.user or os.geteuid() != 0))


def decided(options: argparse.Namespace, *, user: bool) -> Options:
    """Return what the command line decided, for a user's own manager or the system's."""
    from arje.init.daemon import Options

    runtime = options.runtime_dir or (paths.user_runtime() if user else paths.SYSTEM_RUNTIME)
    state = options.state_dir or (paths.user_state() if user else paths.SYSTEM_STATE)
    cards = tuple(options.cards or (paths.user_cards() if user else paths.SYSTEM_CARDS))
    cards = tuple(card.absolute() for card in cards)
    cache = None if options.runtime_dir else paths.user_cache() if user else paths.SYSTEM_CACHE
    record = options.record.absolute() if options.record else None
    metrics = options.metrics_socket.absolute() if options.metrics_socket else None
    fd = options.ready_fd
    return Options(runtime.absolute(), cards, user, state.absolute(), fd, cache, record, metrics=metrics)
