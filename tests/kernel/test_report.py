"""A host as a document and back: the same capabilities, or a clear word about what is wrong with it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arje.errors import BadReport
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.report import as_report, from_report

FOUND = CapabilitySet.detect(None)
REPORT: dict[str, Any] = json.loads(json.dumps(as_report(FOUND)))


def test_a_report_says_all_that_the_capabilities_say() -> None:
    assert from_report(REPORT) == FOUND


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda report: report.pop("host"), "this is no host report"),
        (lambda report: report.pop("features"), "this is no host report"),
        (lambda report: report["host"].update(format=2), "has format 2, this arje reads 1"),
        (lambda report: report["host"]["powers"].pop("uid"), "host.powers has no uid"),
        (lambda report: report["host"]["powers"].update(uid="0"), "host.powers.uid: "),
        (lambda report: report["host"].update(colour="red"), "host.colour: "),
        (lambda report: report["features"][3].update(errno=None), "features.3.errno: "),
        (lambda report: report["features"][3].update(available=False, cause="moon"), "features.3.cause: "),
        (lambda report: report["features"][3].update(available=False, cause=None), "no cause is told"),
        (lambda report: report["features"].append(report["features"][0]), "one is there twice"),
        (lambda report: report["features"].clear(), "features: "),
        (lambda report: report["features"].pop(1), "nothing is told of time"),
        (lambda report: report["host"]["powers"]["limits"].pop(), "15 limits, there are 16"),
    ],
)
def test_a_broken_report_is_refused_with_the_place_and_the_remedy(
    spoil: Callable[[dict[str, Any]], object], said: str
) -> None:
    report = copy.deepcopy(REPORT)
    spoil(report)
    with pytest.raises(BadReport) as caught:
        from_report(report)
    assert said in str(caught.value)
    assert "arjectl doctor --json" in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["host", "features", "powers"]), st.randoms())
def test_whatever_a_file_holds_it_is_a_report_or_refused(junk: Any, where: str, random: Any) -> None:
    report = copy.deepcopy(REPORT)
    if where == "powers":
        report["host"]["powers"][random.choice(list(report["host"]["powers"]))] = junk
    else:
        report[where] = junk
    for document in (junk, report):
        try:
            assert isinstance(from_report(document), CapabilitySet)
        except BadReport:
            continue
