"""The verbs of a machine as data: how it booted, in which ways it ends, the shells on its console."""

from __future__ import annotations

from arje.ctl.verb import Operand, Option, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_END: Final = (
    Option("--force", "stop no service in order; kill what holds up an end that has begun"),
    Option("--at-once", "ask no manager: write the disks and call reboot(2), here and now"),
    Option("--no-wait", "do not wait for the end"),
)


def _ends(help: str, *operands: Operand) -> Verb:
    more = {"options": _END, "exits": (156,), "query": False, "manager": "maybe"}
    return Verb("machine_verbs:end", "machine", help, *operands, **more)  # type: ignore[arg-type] # as they are called


def _shell(help: str) -> Verb:
    return Verb("machine_verbs:shell", "machine", help, exits=(156,), query=False)


MACHINE: Final[dict[str, Verb]] = {
    "boot": Verb("machine_verbs:boot", "machine", "how the machine booted, step by step", exits=(1,)),
    "poweroff": _ends("stop everything and switch the machine off"),
    "reboot": _ends("stop everything and boot again"),
    "halt": _ends("stop everything and leave the machine standing"),
    "kexec": _ends("stop everything and boot the kernel that kexec(8) has loaded"),
    "soft-reboot": _ends("stop everything and begin user space anew on the same kernel"),
    "switch-root": _ends(
        "stop everything and go on in another root", Operand("ROOT", "directory"), Operand("INIT", "file", "?")
    ),
    "exit": _ends("stop everything and end the manager, or the container"),
    "rescue": _shell("stop services and give a shell on the console"),
    "emergency": _shell("stop every service and give a shell on the console"),
}
