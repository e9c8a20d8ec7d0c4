"""The figures of every service and of the manager as families of samples: what a monitoring system asks for.

Names are as Prometheus wants them (https://prometheus.io/docs/practices/naming/): base units, ``_total`` for what only
grows. What a counter counts begins anew with the manager, and with a service's life where the kernel counts.
"""

from __future__ import annotations

import platform
import resource
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

import arje
from arje.service.record import Service
from arje.service.state import State
from arje.service.tally import Tally
from arje.supervisor import figures

if TYPE_CHECKING:
    from arje.supervisor.supervisor import Supervisor

_TURN: Final = 20  # services between two looks of the loop at everybody else


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure: what is appended to the family's name (``_total``), its labels, its value."""

    suffix: str
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(slots=True)
class Family:
    """Figures of one name. ``type`` is OpenMetrics' (gauge, counter, info, stateset), ``unit`` ends the name."""

    name: str
    type: str
    help: str
    unit: str = ""
    samples: list[Sample] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        """Add a sample."""
        suffix = {"counter": "_total", "info": "_info"}.get(self.type, "")
        self.samples.append(Sample(suffix, tuple(labels.items()), float(value)))


async def families(supervisor: Supervisor, tally: Tally, facts: dict[str, Any]) -> list[Family]:
    """Return every family. ``facts`` are those of the manager (Door.manager). Others have their turn in between."""
    tally.keep([service.label for service in supervisor.table])
    made = {family.name: family for family in _manager(supervisor, facts)}
    kinds = {name: Family(name, kind, text, unit) for name, kind, text, unit in _SERVICE}
    for number, service in enumerate(sorted(supervisor.table, key=lambda service: service.label)):
        if number % _TURN == 0:
            await trio.lowlevel.checkpoint()
        if service.label not in supervisor.table:
            continue  # its card went meanwhile
        _state(kinds, service)
        _counts(kinds, service, tally)
        _isolation(kinds, service)
        _log(kinds, supervisor, service)
        _usage(kinds, supervisor, service)
    return [*made.values(), *(family for family in kinds.values() if family.samples)]


_SERVICE: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("arje_service_state", "stateset", "The state of the service.", ""),
    ("arje_service_state_since_timestamp_seconds", "gauge", "When the service came into its state.", "seconds"),
    ("arje_service_up", "gauge", "Whether who requires the service may run.", ""),
    ("arje_service_ready", "gauge", "Whether the service has said that it is ready, where it can.", ""),
    ("arje_service_enabled", "gauge", "Whether the manager starts the service by itself.", ""),
    ("arje_service_starts", "counter", "Attempts to start the service.", ""),
    ("arje_service_restarts", "counter", "Starts of the service that nobody has asked for.", ""),
    ("arje_service_exits", "counter", "Ends of the main process, by how and by exit code or signal.", ""),
    ("arje_service_failures", "counter", "Failures for good, by reason.", ""),
    ("arje_service_isolation_requested", "gauge", "Features of isolation that the latest life asked for.", ""),
    ("arje_service_isolation_granted", "gauge", "Those of them that were read back from the kernel.", ""),
    ("arje_service_degradation", "gauge", "1 for each feature that was asked for and not granted, by cause.", ""),
    ("arje_service_memory_bytes", "gauge", "Memory of the running service.", "bytes"),
    ("arje_service_memory_peak_bytes", "gauge", "Most memory of the running life.", "bytes"),
    ("arje_service_swap_bytes", "gauge", "Swap of the running service.", "bytes"),
    ("arje_service_cpu_seconds", "counter", "Processor time of the running life, by mode.", "seconds"),
    ("arje_service_io_bytes", "counter", "Bytes read from and written to disks by the running life.", "bytes"),
    ("arje_service_tasks", "gauge", "Processes and threads of the service.", ""),
    (
        "arje_service_oom_kills",
        "counter",
        "Processes of the running life that the kernel killed for want of memory.",
        "",
    ),
    ("arje_service_log_lines", "counter", "Lines that the service has written to its log.", ""),
    ("arje_service_log_dropped_lines", "counter", "Lines of it that are lost, by reason.", ""),
)


def _manager(supervisor: Supervisor, facts: dict[str, Any]) -> Iterator[Family]:
    build = Family("arje_build", "info", "The version of arje and of the Python that runs it.")
    build.add(1, version=arje.__version__, python=platform.python_version())
    yield build
    yield _one(
        "arje_manager_start_timestamp_seconds",
        "gauge",
        "When the manager started.",
        supervisor.host.wall() - facts["uptime"],
    )
    services = Family("arje_services", "gauge", "Services by state.")
    for state in State:
        services.add(facts["counts"].get(state.value, 0), state=state.value)
    yield services
    yield _one("arje_services_degraded", "gauge", "Services that lack isolation they asked for.", facts["degraded"])
    yield _one("arje_card_problems", "gauge", "Card files with something wrong in them.", facts["problems"])
    yield _one(
        "arje_cards_changed", "gauge", "Whether the cards on disk are not those in force.", facts["changed_on_disk"]
    )
    yield _one("arje_orphans_reaped", "counter", "Processes reaped that no service knew.", facts["orphans_reaped"])
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield _one("process_cpu_seconds", "counter", "Processor time of the manager.", used.ru_utime + used.ru_stime)
    pages = Path("/proc/self/statm").read_text().split()
    yield _one(
        "process_resident_memory_bytes", "gauge", "Memory of the manager.", int(pages[1]) * resource.getpagesize()
    )
    yield _one(
        "process_virtual_memory_bytes", "gauge", "Address space of the manager.", int(pages[0]) * resource.getpagesize()
    )
    yield _one(
        "process_open_fds", "gauge", "Descriptors of the manager.", sum(1 for _ in Path("/proc/self/fd").iterdir())
    )
    yield _one("process_max_fds", "gauge", "How many it may have.", resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _one(name: str, kind: str, text: str, value: float) -> Family:
    unit = next((unit for unit in ("seconds", "bytes") if name.endswith(f"_{unit}")), "")
    family = Family(name, kind, text, unit)
    family.add(value)
    return family


def _state(kinds: dict[str, Family], service: Service) -> None:
    label = service.label
    for state in State:
        kinds["arje_service_state"].add(state is service.state, service=label, arje_service_state=state.value)
    kinds["arje_service_state_since_timestamp_seconds"].add(service.cause.wall, service=label)
    kinds["arje_service_up"].add(service.is_up, service=label)
    if service.ready is not None:
        kinds["arje_service_ready"].add(service.ready, service=label)
    kinds["arje_service_enabled"].add(service.card.enabled, service=label)


def _counts(kinds: dict[str, Family], service: Service, tally: Tally) -> None:
    label, counts = service.label, tally.of(service.label)
    kinds["arje_service_starts"].add(counts.starts, service=label)
    kinds["arje_service_restarts"].add(counts.restarts, service=label)
    for (how, code), number in sorted(counts.exits.items()):
        kinds["arje_service_exits"].add(number, service=label, how=how, code=code)
    for reason, number in sorted(counts.failures.items()):
        kinds["arje_service_failures"].add(number, service=label, reason=reason)


def _isolation(kinds: dict[str, Family], service: Service) -> None:
    label = service.label
    if service.grants:
        kinds["arje_service_isolation_requested"].add(len(service.grants), service=label)
        kinds["arje_service_isolation_granted"].add(sum(grant.ok for grant in service.grants), service=label)
    seen: dict[tuple[str, str], None] = dict.fromkeys((loss.feature, str(loss.cause)) for loss in service.degradations)
    for feature, cause in seen:
        kinds["arje_service_degradation"].add(1, service=label, feature=feature, cause=cause)


def _log(kinds: dict[str, Family], supervisor: Supervisor, service: Service) -> None:
    label, log = service.label, supervisor.logs.of(service.label)
    kinds["arje_service_log_lines"].add(log.total, service=label)
    for reason, number in sorted(log.dropped.items()):
        kinds["arje_service_log_dropped_lines"].add(number, service=label, reason=reason)


def _usage(kinds: dict[str, Family], supervisor: Supervisor, service: Service) -> None:
    outcome = supervisor.outcomes.get(service.label)
    if outcome is None:
        return
    label, used = service.label, figures.of_living(outcome, [entry.pid for entry in outcome.processes()])
    for name, value in (
        ("memory_bytes", used.memory),
        ("memory_peak_bytes", used.memory_peak),
        ("swap_bytes", used.swap),
        ("tasks", used.tasks),
        ("oom_kills", used.oom_kills),
    ):
        if value is not None:
            kinds[f"arje_service_{name}"].add(value, service=label)
    for name, way, values in (
        ("cpu_seconds", "mode", {"user": used.cpu_user, "system": used.cpu_system}),
        ("io_bytes", "direction", {"read": used.io_read, "written": used.io_write}),
    ):
        for word, amount in values.items():
            if amount is not None:
                kinds[f"arje_service_{name}"].add(amount, service=label, **{way: word})
