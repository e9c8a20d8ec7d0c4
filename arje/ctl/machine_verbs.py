"""The verbs of a machine: how it booted, how it ends, a shell on its console."""

from __future__ import annotations

import sys

from arje.ctl.answers import in_json, results
from arje.ctl.client import Client
from arje.ctl.exitcodes import Action, Query
from arje.ctl.progress import Progress
from arje.ctl.words import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from arje.ctl.arguments import Arguments
    from arje.ctl.words import Paper

#: What reboot(2) is asked for when no manager is: RB_POWER_OFF, RB_AUTOBOOT, RB_HALT_SYSTEM, RB_KEXEC.
_COMMANDS: Final = {"poweroff": 0x4321FEDC, "reboot": 0x01234567, "halt": 0xCDEF0123, "kexec": 0x45584543}


def boot(client: Client, args: Arguments, paper: Paper) -> int:
    """Show each step, and what is so where one failed."""
    found = client.call("Boot")["boot"]
    if args.json:
        in_json(paper, found)
    elif found is None:
        paper.line("This manager is not pid 1: it booted nothing.")
    else:
        where = f"a container ({found['container']})" if found["container"] else "a machine"
        up = f"up after {found['up_s']:.2f} s" if found["up_s"] is not None else "not up yet"
        paper.line(f"pid 1 of {where}, {up}; target {found['target']}")
        width = max(len(step["what"]) for step in found["steps"])
        for step in found["steps"]:
            detail = f"{step['detail']}: {step['otherwise']}" if step["result"] == "failed" else step["detail"]
            line = f"{step['at_ms'] / 1000:9.3f} {step['ms']:8.1f} ms  {step['result']:<7}  {step['what']:<{width}}"
            paper.line(f"{line}  {escape(detail)}".rstrip())
        for word in found["slips"]:
            paper.line(f"{escape(word)} on the kernel line means nothing.")
    bad = found is not None and (found["slips"] or any(step["result"] == "failed" for step in found["steps"]))
    return Query.FALSE if bad else Query.TRUE


def end(client: Client, args: Arguments, paper: Paper) -> int:
    """Let the machine end, and wait until its manager has gone; at once, without asking it."""
    if args.at_once:
        return _at_once(args)
    from arje.ctl.main import socket_of

    client = Client(socket_of(args), args.timeout)
    answer = client.call("End", way=args.verb, words=args.labels, force=args.force)
    if args.json:
        in_json(paper, answer)
    else:
        paper.line(f"{answer['way']}: {answer['services']} services stop first")
        sys.stdout.flush()
    if args.no_wait:
        return Action.DONE
    with Progress(client, args, paper, []):
        client.await_end()
    client.close()
    return Action.DONE


def shell(client: Client, args: Arguments, paper: Paper) -> int:
    """Let everything stop, and start the shell."""
    return results(client.call("Shell", label=args.verb), args, paper)


def _at_once(args: Arguments) -> int:
    """Call reboot(2) here and now: what helps where the manager does not answer. Disks are written first."""
    import ctypes
    import os

    from arje.ctl.arguments import UsageError

    if args.verb not in _COMMANDS:
        raise UsageError(f"{args.verb} needs a manager: not --at-once")
    os.sync()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.reboot(ctypes.c_int(_COMMANDS[args.verb] - (1 << 32 if _COMMANDS[args.verb] >> 31 else 0)))
    number = ctypes.get_errno()
    print(f"arjectl: reboot(2): {os.strerror(number)}", file=sys.stderr)
    return Action.NO_PERMISSION if number == 1 else Action.FAILED
