"""arje as the first process: of a machine, or of a container. It boots, keeps the services, and ends in one of the ways.

On a machine nothing may leave :func:`main`: the kernel panics when its first process ends. Whatever goes wrong is told on
the console and ends in a shell there, and the end of that shell tries again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from arje.init.boot import Became, Scene
    from arje.init.daemon import Options
    from arje.service.ways import Way

#: The inode of the kernel's first pid namespace, since Linux 3.8 (PROC_PID_INIT_INO, <linux/proc_ns.h>).
_FIRST: Final = "pid:[4026531836]"
_PAUSE: Final = 5.0  # seconds between two tries that both fail at once


def main(words: list[str]) -> int:
    """Be pid 1. Returns the exit status in a container; on a machine it does not return."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # before any thread exists, and any signal counts
    from arje import later, readymade

    later.put_off()  # before trio and structlog come
    shelf = readymade.load()
    with readymade.used(shelf), later.no_search_for_threads():
        from arje.init import boot, mounting
    from arje.init.main import open_standard_descriptors

    boot.furnish_environment()
    stage0 = os.environ.pop("ARJE_STAGE0", "")
    for api in mounting.MOUNTS[:3]:  # without /dev there is no /dev/null, without /proc no telling where we are
        with contextlib.suppress(OSError):
            mounting.provide(api)
    container = kind_of_container()
    try:
        open_standard_descriptors()
        with readymade.used(shelf), later.no_search_for_threads():
            from arje.init import daemon, duties  # noqa: F401 - what runs later finds them imported
        return _Machine(words, container, stage0).run()
    except BaseException as error:
        if container:
            raise
        return _last_resort(error)


def kind_of_container() -> str:
    """Return the kind of the container that we are the first process of, ``unknown`` if it does not say; empty for none."""
    try:
        if os.readlink("/proc/self/ns/pid") == _FIRST:
            return ""
    except OSError:
        return ""  # no /proc, and none to be had: a container that did that would not boot either
    from arje.kernel import virtualization

    return virtualization.container() or "unknown"


class _Machine:
    """One boot after the other, until one ends in a way that ends this process."""

    def __init__(self, words: list[str], container: str, stage0: str) -> None:
        self._words = words
        self._container = container
        self._stage0 = stage0
        self._shell_is_due = True

    def run(self) -> int:
        """Boot and keep services until the end; returns the exit status in a container."""
        from arje.init import console, shutdown

        while True:
            began = time.monotonic()
            try:
                return self._once()
            except (Exception, SystemExit) as error:
                if self._container:
                    raise
                try:
                    self._rescue(error)
                except OSError as missing:
                    console.say(f"arje: there is no shell on this console: {missing}; the next try is in {_PAUSE:g} s")
                    began = time.monotonic()
                shutdown.kill_all()  # what that run has left; nobody keeps it any more
                if time.monotonic() - began < _PAUSE:
                    self._pause()

    def _pause(self) -> None:
        """Wait a little, and hear meanwhile what ends a machine."""
        heard = signal.sigtimedwait(self._ends, _PAUSE)
        if heard is not None:
            self._end(heard.si_signo)

    @property
    def _ends(self) -> dict[int, Way]:
        """The signals that end a machine, and how."""
        from arje.init import requests

        return {number: asked.way for number, asked in requests.ON_MACHINE.items() if asked.way is not None}

    def _end(self, number: int) -> None:
        from arje.init import shutdown

        shutdown.finish(self._ends[number], container="", status=1, slack=30)

    def _once(self) -> int:
        from arje.init import boot, consoles, kernel_line, realroot

        options, rest = _options(self._words, container=bool(self._container))
        line = "" if self._container else kernel_line.read()
        scene = boot.Scene(kernel_line.parse(line, rest), self._container)
        steps = boot.take(scene)
        _tell(scene, steps)
        _set_up_log(scene)
        if not self._container:
            _let_go_of_console()
            if realroot.is_wanted(scene):
                realroot.enter(scene)
            if scene.words.shell == kernel_line.EMERGENCY and self._shell_is_due:
                self._shell_is_due = False
                self._shell("arje: an emergency shell, as the kernel line wants it", trusted=True)
        return self._supervise(_furnished(options, scene, consoles.BUILTIN), scene, steps)

    def _supervise(self, options: Options, scene: Scene, steps: tuple[Became, ...]) -> int:
        from arje import later, readymade

        with readymade.used(readymade.load()), later.no_search_for_threads():
            from arje.init import console, consoles, daemon, realroot, shutdown
            from arje.init.duties import Duties
            from arje.service.ways import Way

        if not scene.container:
            try:
                consoles.write_cards(consoles.generated(options.runtime_dir), scene.words, console.CONSOLE)
            except OSError as error:
                console.say(f"arje: no login and no rescue shell can be offered: {error}")
        duties = Duties(scene, steps, options.runtime_dir, self._stage0)
        status = daemon.run(replace(options, duties=duties))
        farewell = duties.farewell
        assert farewell is not None  # a run without an end raises
        slack = scene.words.guard
        if farewell.way is Way.SOFT_REBOOT:
            shutdown.soften(farewell.way, slack=slack)
            realroot.begin_anew(container=bool(scene.container))
        if farewell.way is Way.SWITCH_ROOT:
            shutdown.soften(farewell.way, slack=slack)
            realroot.switch(farewell.words[0], farewell.words[1] if farewell.words[1:] else "")
        return shutdown.finish(farewell.way, container=scene.container, status=status, slack=slack)

    def _rescue(self, error: BaseException) -> None:
        told = traceback.format_exc()
        with contextlib.suppress(OSError), open("/dev/kmsg", "w") as kmsg:
            for line in told.splitlines():
                kmsg.write(f"<2>arje: {line}\n")
                kmsg.flush()
        self._shell(f"{told}\narje: this boot has failed: {error}", trusted=False)

    def _shell(self, reason: str, *, trusted: bool) -> None:
        """Give a shell, and hear meanwhile what ends a machine."""
        from arje.init import shell

        if number := shell.run(reason, trusted=trusted, hears=tuple(self._ends)):
            self._end(number)


def _options(words: list[str], *, container: bool) -> tuple[Options, list[str]]:
    """Return the manager's options, and the words that are none: the kernel's."""
    from arje.init import main

    parser = main.parser()
    if not container:
        parser.exit_on_error = False
    try:
        given, rest = parser.parse_known_args(words)
    except Exception:  # a machine boots whatever the kernel line says
        given, rest = parser.parse_known_args([])
        rest += words
    return main.decided(given, user=os.geteuid() != 0), rest


def _furnished(options: Options, scene: Scene, builtin: Path) -> Options:
    """Return the options with what the kernel line says of cards; on a machine with the cards that arje itself brings."""
    cards = scene.words.cards or options.cards
    return replace(options, cards=cards if scene.container else (builtin, *cards))


def _tell(scene: Scene, steps: tuple[Became, ...]) -> None:
    from arje.init import boot, console

    said = console.say if not scene.container else lambda text: print(text, file=sys.stderr, flush=True)
    for step in boot.failed(steps):
        said(f"arje: boot: {step.what}: {step.detail}: {step.otherwise}")
    for word in scene.words.slips:
        said(f"arje: boot: the kernel line says {word!r}, which means nothing")


def _set_up_log(scene: Scene) -> None:
    from arje import log
    from arje.init import console

    where = scene.words.log or ("stderr" if scene.container else "kmsg")
    sinks = {"kmsg": console.put_in_kmsg, "console": console.put, "null": lambda data: True}
    log.set_up(sinks.get(where) or (console.to_file(where) if where.startswith("/") else None))
    with contextlib.suppress(KeyError):
        log.set_level(scene.words.log_level or ("debug" if scene.words.debug else "info"))


def _let_go_of_console() -> None:
    """Keep no terminal open: a getty that hangs it up would take it from us (vhangup(2))."""
    fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for standard in range(3):
        os.dup2(fd, standard)
    if fd > 2:
        os.close(fd)


def _last_resort(error: BaseException) -> int:
    """Even the shell failed: become one that never ends, or stay and reap."""
    from arje.init import realroot

    realroot.open_console()
    traceback.print_exc()
    with contextlib.suppress(OSError):
        os.execv(
            "/bin/sh", ["sh", "-c", 'echo "arje: $0"; while :; do setsid -c sh -l || sh -l; sleep 1; done', str(error)]
        )
    while True:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
        time.sleep(1)  # no children: nothing is left to wait for, and pid 1 must not end
