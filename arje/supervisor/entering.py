"""Commands that a person runs inside a service: ``arjectl shell``, ``arjectl run --in``. They end with the service's life,
and with the connection of who asked."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import trio

from arje import log
from arje.card.command import Command
from arje.card.soma import Stdio
from arje.errors import NotRunning
from arje.supervisor import command

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

LOG = log.logger()
_NUMBERS: Final = itertools.count(1)
#: Variables of who asks that a program on a terminal needs.
VARIABLES: Final = frozenset({"TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE", "LINES", "COLUMNS"})


async def enter(
    supervisor: Supervisor,
    label: str,
    words: list[str],
    who: str,
    *,
    stdio: list[str],
    terminal: str,
    env: dict[str, str],
) -> dict[str, Any]:
    """Run a command beside a running payload, in its namespaces and by its rules, to its end.

    ``stdio`` are three words as a card has them (``tty:/dev/pts/3``), ``terminal`` the path of a terminal that is to be
    its session's, or empty. Raises NoSuchService, NotRunning; what becomes of the command is in the answer.
    """
    service = supervisor.table.get(label)
    living = supervisor.outcomes.get(label)
    if living is None or living.plan is None or service.incarnation is None:
        raise NotRunning(label, service.state.value)
    LOG.info("somebody enters", service=label, who=who, command=" ".join(words))
    found: list[command.Ended] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_gone, supervisor, label, service.incarnation, nursery.cancel_scope)
        ended = await command.run(
            supervisor,
            service.card,
            Command(exec=words[0], argv=tuple(words[1:])),
            f"enter-{next(_NUMBERS)}",
            running=living,
            env=tuple((name, value) for name, value in env.items() if name in VARIABLES),
            place=command.Place(Stdio(stdin=stdio[0], stdout=stdio[1], stderr=stdio[2]), terminal),
        )
        found.append(ended)
        nursery.cancel_scope.cancel()
    if not found:
        return {"exit_code": None, "detail": f"{label} has ended, and so has what ran inside of it"}
    ended = found[0]
    code = ended.exit.shell_status if ended.exit else None
    return {"exit_code": code, "detail": "" if code is not None else ended.trouble}


async def _until_gone(supervisor: Supervisor, label: str, running: object, scope: trio.CancelScope) -> None:
    """Wait until the life is over that a command has entered."""
    while label in supervisor.table and supervisor.table.get(label).incarnation is running:
        await supervisor.bells.wait(label)
    scope.cancel()
