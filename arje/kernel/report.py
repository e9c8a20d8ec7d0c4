"""A host as a document: all that ``arjectl doctor --json`` says, and the CapabilitySet that it was made from, back again.

``arjectl plan X --on FILE`` foresees with it what a start on that host would get. The document comes from a file that
anybody may have written: it is judged field by field, and nothing of it is believed that has not the right form.
"""

from __future__ import annotations

import functools
import json
import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import arje
from arje.errors import BadReport
from arje.incarnation import as_json
from arje.kernel.capabilities import KINDS, Availability, CapabilitySet
from arje.kernel.powers import Powers

if TYPE_CHECKING:  # a manager that is asked for no other host's report need not import it
    from pydantic import TypeAdapter

#: The form of the document; another number is another form.
FORMAT: Final = 1
_LIMITS: Final = 16  # RLIMIT_*
_MOST: Final = 1000  # features of a host


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Whose report it is. ``taken`` is CLOCK_REALTIME in seconds; ``cgroup_base`` empty: there is none."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    format: int
    arje: str
    name: str
    kernel: str
    machine: str
    taken: float
    privileged: bool
    controllers: tuple[str, ...]
    cgroup_base: str
    powers: Powers


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole document."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    host: Host
    features: tuple[Availability, ...]


def as_report(found: CapabilitySet, taken: float | None = None) -> dict[str, Any]:
    """Return what this host, seen by this process, can isolate, fit for ``json.dumps``; ``taken``: when it looked."""
    kernel = os.uname()
    host = Host(
        format=FORMAT,
        arje=arje.__version__,
        name=kernel.nodename,
        kernel=kernel.release,
        machine=kernel.machine,
        taken=time.time() if taken is None else taken,
        privileged=found.privileged,
        controllers=tuple(sorted(found.controllers)),
        cgroup_base=str(found.cgroup_base or ""),
        powers=found.powers,
    )
    return {"host": as_json(host), "features": [as_json(feature) for feature in found.features.values()]}


@functools.cache
def _adapter() -> TypeAdapter[Report]:
    from pydantic import TypeAdapter

    return TypeAdapter(Report)


def from_report(document: Any) -> CapabilitySet:
    """Return the capabilities that a report tells. Raises BadReport, which says what of it is wrong and where."""
    _refuse_other_forms(document)
    try:
        report = _adapter().validate_json(json.dumps(document), strict=True)
    except (ValueError, RecursionError) as error:  # pydantic's is a ValueError
        raise BadReport(f"the host report is broken: {_first(error)} ({_REMEDY})") from error
    powers, features = report.host.powers, {feature.feature: feature for feature in report.features}
    if wrong := _contradiction(powers, report.features, features):
        raise BadReport(f"the host report is broken: {wrong} ({_REMEDY})")
    base = Path(report.host.cgroup_base) if report.host.cgroup_base else None
    return CapabilitySet(report.host.privileged, features, frozenset(report.host.controllers), base, powers)


_REMEDY: Final = "save it anew on that host: arjectl doctor --json > host.json"


def _refuse_other_forms(document: Any) -> None:
    host = document.get("host") if isinstance(document, dict) else None
    if not isinstance(host, dict) or "features" not in document:
        raise BadReport(f"this is no host report: it needs host and features ({_REMEDY})")
    if (form := host.get("format")) != FORMAT:
        raise BadReport(f"the host report has format {form!r}, this arje reads {FORMAT} ({_REMEDY})")
    powers = host.get("powers")  # what is left out has a default that would be this host's
    if isinstance(powers, dict) and (missing := {field.name for field in fields(Powers)} - powers.keys()):
        raise BadReport(f"the host report is broken: host.powers has no {', '.join(sorted(missing))} ({_REMEDY})")


def _first(error: Exception) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error) or type(error).__name__
    wrong = error.errors(include_url=False)[0]
    place = ".".join(map(str, wrong["loc"]))
    return f"{place}: {wrong['msg']}" if place else wrong["msg"]


def _contradiction(powers: Powers, told: tuple[Availability, ...], features: dict[str, Availability]) -> str:
    """What has the right form and still cannot be."""
    if len(told) > _MOST:
        return f"features: more than {_MOST}"
    if len(told) != len(features):
        return "features: one is there twice"
    if missing := [kind for kind in KINDS if kind not in features]:
        return f"features: nothing is told of {', '.join(missing)}"
    if len(powers.limits) != _LIMITS:
        return f"host.powers.limits: {len(powers.limits)} limits, there are {_LIMITS}"
    for feature in told:
        if not feature.available and feature.cause is None:
            return f"features: {feature.feature} is not available, and no cause is told"
    return ""
