"""Families of metrics as text: OpenMetrics, or Prometheus' older form (https://prometheus.io/docs/specs/).

The older one has no info and no stateset: there they are gauges of the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from arje.supervisor.metrics import Family, Sample

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


def openmetrics(families: Iterable[Family]) -> str:
    """Return the text of OpenMetrics."""
    return "".join(_openmetrics(families)) + "# EOF\n"


def prometheus(families: Iterable[Family]) -> str:
    """Return the text of Prometheus' exposition format 0.0.4."""
    return "".join(_prometheus(families))


def _openmetrics(families: Iterable[Family]) -> Iterator[str]:
    for family in families:
        yield f"# TYPE {family.name} {family.type}\n"
        if family.unit:
            yield f"# UNIT {family.name} {family.unit}\n"
        yield f"# HELP {family.name} {_escaped(family.help)}\n"
        for sample in family.samples:
            yield _line(family, sample)


def _prometheus(families: Iterable[Family]) -> Iterator[str]:
    for family in families:
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        kind = "counter" if family.type == "counter" else "gauge"
        yield f"# HELP {family.name}{suffix} {_escaped(family.help)}\n# TYPE {family.name}{suffix} {kind}\n"
        for sample in family.samples:
            yield _line(family, sample)


def _line(family: Family, sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
    value = sample.value
    number = str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return f"{family.name}{sample.suffix}{'{' if labels else ''}{labels}{'}' if labels else ''} {number}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
