"""The last step of the end: what services have left behind."""

from __future__ import annotations

from arje import log
from arje.supervisor.host import Host

LOG = log.logger()


async def sweep(host: Host) -> None:
    """Kill what services have left behind: whoever is below us now has lost the service that it belonged to."""
    try:
        killed, refused = await host.sweep()
    except OSError as error:
        LOG.error("what services have left could not be looked for", error=str(error))
        return
    if killed or refused:
        LOG.warning("killed what services have left", processes=killed, not_all=refused)
