"""Every way in which a machine ends, or is kept from ending badly: keys, signals, bad cards, a Python that hangs.

One short boot each, because each of them ends its machine.
"""

from __future__ import annotations

import time
from typing import Final

from vm import image, layer
from vm.cpio import Tree
from vm.machine import Setup
from vm.story import Told, ask, log_in

CHECKS: Final = (
    "soft_reboot_begins_anew_on_the_same_kernel",
    "ctrl_alt_del_reboots",
    "a_bad_card_leaves_a_usable_machine_with_the_reason_on_the_console",
    "sigpwr_powers_off",
    "an_empty_cards_d_leaves_a_usable_machine_with_the_reason_on_the_console",
    "halt_stops_the_machine_and_leaves_it_on",
    "a_hung_python_does_not_hold_the_end",
    "the_hardware_watchdog_bites_a_hung_loop",
    "a_missing_library_is_named_and_a_shell_given",
)
_IDLE: Final = '[payload]\nexec = "/bin/sleep"\nargv = ["1000000"]\n'
_HANG: Final = "/usr/bin/python3 -Es -m vm.guest.hang 1"
#: Lets pid 1 hang as soon as it is told to stop.
_HANGS_AT_STOP: Final = f"""
[payload]
exec = "/bin/sh"
argv = ["-c", "trap '{_HANG}' TERM; echo here > /dev/console; while :; do sleep 0.1; done"]
[supervision]
stop = "TERM/60"
"""
_HANGS_AT_ONCE: Final = f"""
[payload]
exec = "/bin/sh"
argv = ["-c", "{_HANG}; echo hung > /dev/console; exec sleep 1000000"]
"""


def tell(told: Told) -> None:
    """Boot each of them."""
    _anew(told)
    _bad_card(told)
    _no_card(told)
    _hung(told)
    _watchdog(told)
    _missing(told)


def _anew(told: Told) -> None:
    with told.machine(Setup(), layer.of_cards(None, {"idle.toml": _IDLE})) as machine:
        with told.check("soft_reboot_begins_anew_on_the_same_kernel"):
            log_in(machine)
            before = ask(machine, "cat /proc/sys/kernel/random/boot_id; pidof sleep; echo kept > /run/kept")
            machine.type("arjectl soft-reboot\n")
            log_in(machine)
            after = ask(
                machine, "cat /proc/sys/kernel/random/boot_id; pidof sleep; cat /run/kept; arjectl is-active idle"
            )
            assert before.split()[0] == after.split()[0], (before, after)
            assert before.split()[1] != after.split()[1], (before, after)
        with told.check("ctrl_alt_del_reboots"):
            machine.keys("ctrl", "alt", "delete")
            machine.expect("Ctrl-Alt-Del|SIGINT")
            why = machine.until_end()
            assert why == "guest-reset", why


def _bad_card(told: Told) -> None:
    with told.machine(
        Setup(), layer.of_cards(None, {"bad.toml": '[payload]\nexec = "/bin/true"\nargs = []\n'})
    ) as machine:
        with told.check("a_bad_card_leaves_a_usable_machine_with_the_reason_on_the_console"):
            machine.expect(r"bad card: /etc/arje/cards.d/bad.toml:3: payload.args: no such field")
            machine.expect("# ")
            machine.type("arjectl status; echo us''able\n")
            machine.expect("^usable")
        with told.check("sigpwr_powers_off"):
            machine.type("kill -PWR 1\n")
            why = machine.until_end()
            assert why == "guest-shutdown", why


def _no_card(told: Told) -> None:
    with told.machine(Setup(), layer.of_cards(None)) as machine:
        with told.check("an_empty_cards_d_leaves_a_usable_machine_with_the_reason_on_the_console"):
            machine.expect("there is no card in .*/etc/arje/cards.d")
            machine.expect("# ")
            machine.type("echo us''able\n")
            machine.expect("^usable")
        with told.check("halt_stops_the_machine_and_leaves_it_on"):
            machine.type("arjectl halt\n")
            machine.expect("System halted")
            status = machine.monitor("query-status")["status"]
            assert status == "running", status


def _hung(told: Told) -> None:
    cards = layer.of_cards(None, {"hangs.toml": _HANGS_AT_STOP})
    with (
        told.machine(Setup(line=("arje.guard=3",)), cards) as machine,
        told.check("a_hung_python_does_not_hold_the_end"),
    ):
        machine.expect(r"here\n")
        began = time.monotonic()
        machine.keys("ctrl", "alt", "delete")
        why = machine.until_end()
        assert why == "guest-reset", why
        assert time.monotonic() - began < 40, "the service has a minute to stop, and the guard should not wait for it"
        assert "guard" in machine.console, machine.console


def _watchdog(told: Told) -> None:
    setup = Setup(line=("modules_load=i6300esb", "arje.watchdog=4"), more=("-device", "i6300esb"))
    with (
        told.machine(setup, layer.of_cards(None, {"hangs.toml": _HANGS_AT_ONCE})) as machine,
        told.check("the_hardware_watchdog_bites_a_hung_loop"),
    ):
        machine.expect(r"hung\n")
        machine.until_end()
        bite = machine.happened("WATCHDOG")
        assert bite is not None, machine.events


def _missing(told: Told) -> None:
    hole = Tree()
    hole.link(f"{image.LIBRARIES}/libm.so.6", "gone")
    with told.machine(Setup(), hole) as machine, told.check("a_missing_library_is_named_and_a_shell_given"):
        machine.expect("stage0: arje cannot start without /usr/lib/x86_64-linux-gnu/libm.so.6: No such file")
        machine.expect("# ")
        machine.type("echo us''able; exit\n")
        machine.expect("^usable")
        why = machine.until_end()
        assert why == "guest-shutdown", why
