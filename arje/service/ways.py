"""The ways in which arje, and with it a machine or a container, ends."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Way(StrEnum):
    """What follows when every service has stopped."""

    EXIT = "exit"
    POWEROFF = "poweroff"
    REBOOT = "reboot"
    HALT = "halt"
    KEXEC = "kexec"
    SOFT_REBOOT = "soft-reboot"
    SWITCH_ROOT = "switch-root"


#: What each means, in words that go after "the machine" or "arje".
MEANS: Final[dict[Way, str]] = {
    Way.EXIT: "ends",
    Way.POWEROFF: "powers off",
    Way.REBOOT: "reboots",
    Way.HALT: "halts",
    Way.KEXEC: "boots the kernel that kexec(8) has loaded",
    Way.SOFT_REBOOT: "begins anew, on the same kernel",
    Way.SWITCH_ROOT: "goes on in another root",
}
#: Those that only pid 1 can take.
OF_PID1: Final = frozenset(Way) - {Way.EXIT}
