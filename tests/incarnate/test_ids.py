"""Who a payload is: ranges of ids, supplementary groups, and what the helpers give an ordinary user's manager of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arje.card.soma import IdMap, Namespaces, RunAs
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Cause, Step
from arje.kernel import powers
from arje.kernel.powers import Powers
from tests.conftest import NOBODY, ROOT, python_for_nobody
from tests.incarnate.conftest import Ran, card_of

Run = Callable[..., Ran]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")
USER = Namespaces(user=True)
HUNDRED = (IdMap(inside=0, outside=100000, count=100),)
FIRST, COUNT = 300000, 1000


def granted(ran: Ran) -> dict[str, str]:
    assert ran.incarnation.degradations == ()
    return {grant.feature: grant.granted for grant in ran.incarnation.grants if grant.ok}


# -- a manager that is root --------------------------------------------------------------------------------------------


@needs_root
def test_a_user_of_a_mapped_range_is_that_user_inside_and_a_subordinate_one_outside(run: Run, place: Path) -> None:
    place.chmod(0o777)
    script = f"id -u; id -g; id -G; cat /proc/self/uid_map; touch {place}/file"
    ran = run(
        "sh",
        "-c",
        script,
        namespaces=USER,
        uid_map=HUNDRED,
        gid_map=HUNDRED,
        run_as=RunAs(user=5, group=6, groups=(7,)),
    )
    assert ran.output.split() == ["5", "6", "6", "7", "0", "100000", "100"]
    assert (place / "file").stat().st_uid == 100005
    assert granted(ran)["groups"] == "7"
    assert granted(ran)["id-map"] == "0→100000+100"


@needs_root
def test_supplementary_groups_keep_their_numbers_and_their_rights_in_a_user_namespace(run: Run, place: Path) -> None:
    secret = place / "secret"
    secret.write_text("shared")
    secret.chmod(0o640)
    os.chown(secret, 0, 4321)
    who = RunAs(user=1234, group=1235, groups=(4321, 0))
    ran = run("sh", "-c", f"id -G; cat {secret}", namespaces=USER, run_as=who)
    assert ran.output.split() == ["0", "1", "4321", "shared"]  # 0 is 1235 there, so the group 0 is another number
    assert granted(ran)["groups"] == "1 4321"


@needs_root
@pytest.mark.parametrize(
    ("who", "field", "words"),
    [
        (RunAs(user=100), "soma.run_as.user", "user 100 is not in soma.uid_map"),
        (RunAs(user=5, group=100), "soma.run_as.group", "group 100 is not in soma.gid_map"),
        (RunAs(user=5, group=5, groups=(1, 100)), "soma.run_as.groups", "group 100 is not in soma.gid_map"),
    ],
)
def test_an_identity_that_the_maps_have_no_place_for_is_told_before_anything_runs(
    run: Run, who: RunAs, field: str, words: str
) -> None:
    with pytest.raises(SetupFailed, match=words) as caught:
        run("true", namespaces=USER, uid_map=HUNDRED, gid_map=HUNDRED, run_as=who)
    assert (caught.value.step, caught.value.field) == (Step.PLAN, field)


def with_powers(incarnator: Incarnator, **changes: Any) -> Incarnator:
    """A manager that believes that it has other powers."""
    known = incarnator.capabilities
    return Incarnator(replace(known, powers=replace(known.powers, **changes)), None)


@needs_root
def test_auto_takes_the_subordinate_ids_of_root_and_none_of_roots_own(incarnator: Incarnator) -> None:
    believing = with_powers(incarnator, sub_uids=((FIRST, COUNT),), sub_gids=((FIRST, 10), (FIRST + 20, 10)))
    blueprint, _ = believing.prepared(card_of("true", namespaces=USER, auto_map=True))
    assert blueprint.uid_map == (IdMap(inside=0, outside=FIRST, count=COUNT),)
    assert [(line.inside, line.outside) for line in blueprint.gid_map] == [(0, FIRST), (10, FIRST + 20)]


@needs_root
def test_auto_without_subordinate_ids_is_refused_or_becomes_nobody(incarnator: Incarnator) -> None:
    poor = with_powers(incarnator, sub_uids=(), sub_gids=())
    card = card_of("true", namespaces=USER, auto_map=True)
    assert "id-map" in poor.dry_run(card).refusal
    card = card_of("true", namespaces=USER, auto_map=True, prefer=("id-map",))
    (lost,) = poor.dry_run(card).degradations
    assert (lost.feature, lost.obtained, lost.kind) == ("id-map", "0→65534+1", "UidMapFailed")
    assert poor.prepared(card)[0].uid_map == (IdMap(inside=0, outside=NOBODY),)


@needs_root
def test_ids_that_the_manager_does_not_have_itself_are_named(incarnator: Incarnator, tmp_path: Path) -> None:
    inside = with_powers(incarnator, uids=((0, 65536),), gids=((0, 65536),))
    card = card_of("touch", str(tmp_path / "canary"), namespaces=USER, uid_map=HUNDRED, gid_map=HUNDRED)
    with open("/dev/null", "r+") as null, pytest.raises(IncarnationRefused) as caught:
        inside.incarnate(card, StdioFds(null.fileno(), null.fileno(), null.fileno()))
    (lost,) = caught.value.degradations
    assert lost.cause is Cause.NOT_DELEGATED
    assert "100000 to 100099" in lost.detail
    assert "0 to 65535" in lost.detail
    assert not (tmp_path / "canary").exists()


def test_ranges_are_merged_and_searched() -> None:
    assert powers.merged([(10, 5), (0, 3), (15, 5), (12, 1), (7, 0)]) == ((0, 3), (10, 10))
    assert powers.holds(((10, 5), (15, 5)), 12, 8)
    assert not powers.holds(((10, 5), (16, 5)), 12, 8)
    assert powers.words(((10, 5), (20, 1))) == "10 to 14, 20"


def test_the_subordinate_ids_of_arje_come_before_those_of_root(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("root:1000:10\narje:2000:10\narje:2010:10\n")
    found = Powers.detect(str(file), str(file))
    if found.maps_any:
        assert (found.owner, found.sub_uids) == ("arje", ((2000, 20),))
    file.write_text("root:1000:10\n")
    assert Powers.detect(str(file), str(file)).owner in ("root", *([] if os.geteuid() == 0 else [found.owner]))


# -- an ordinary user's manager ----------------------------------------------------------------------------------------


def card(script: str, soma: str) -> str:
    return f'[payload]\nexec = "/bin/sh"\nargv = ["-c", {json.dumps(script)}]\n[soma]\n{soma}\n'


class Nobody:
    """Runs cards as user nobody, with an /etc/subuid and /etc/subgid that only this run sees."""

    def __init__(self, place: Path) -> None:
        found = python_for_nobody()
        if os.geteuid() != 0 or found is None:
            pytest.skip("root, and an interpreter that user nobody may execute, are needed")
        self.python, self.environment = found
        self.place = place

    def told(
        self, *cards: str, sub: str = f"nobody:{FIRST}:{COUNT}\n", path: str = "", more: str = ""
    ) -> dict[str, Any]:
        for name in ("subuid", "subgid"):
            (self.place / name).write_text(sub)
            (self.place / name).chmod(0o644)
        setpriv = f"/usr/bin/setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups {more}"
        script = (
            "set -e; touch /etc/subuid /etc/subgid;"
            f"mount --bind {self.place}/subuid /etc/subuid; mount --bind {self.place}/subgid /etc/subgid;"
            f"cd {ROOT}; {f'export PATH={path};' if path else ''}"
            f'exec {setpriv} {self.python} -m tests.incarnate.ids_driver "$1"'
        )
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", json.dumps(cards)],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def nobody(place: Path) -> Nobody:
    return Nobody(place)


AUTO = 'namespaces = ["user"]\nuid_map = "auto"\n'
needs_helpers = pytest.mark.skipif(
    not (Path("/usr/bin/newuidmap").exists() and Path("/etc/subuid").exists()), reason="uidmap is not installed"
)


@needs_helpers
def test_an_ordinary_user_gets_its_ranges_and_groups_through_the_helpers_time_after_time(nobody: Nobody) -> None:
    script = "id -u; id -g; id -G; cat /proc/self/uid_map"
    soma = AUTO + "run_as = {user = 5, group = 6, groups = [7]}"
    told = nobody.told(card(script, soma), card(script, AUTO), card(script, soma))
    assert all(found["available"] for found in told["found"].values()), told["found"]
    first, second, third = told["lives"]
    maps = ["0", str(NOBODY), "1", "1", str(FIRST), str(COUNT)]
    assert " ".join(first["output"]).split() == ["5", "6", "6", "7", *maps]
    assert " ".join(second["output"]).split() == ["0", "0", "0", *maps]
    assert first["lost"] == second["lost"] == []
    assert first["grants"]["groups"] == ["7", True]
    assert third["output"] == first["output"]  # a child that became another user has not hidden the manager from itself


@needs_helpers
def test_an_ordinary_user_gets_no_id_beyond_its_ranges(nobody: Nobody, place: Path) -> None:
    canary = place / "canary"
    line = f"uid_map = [{{inside = 0, outside = {FIRST + COUNT - 5}, count = 10}}]"
    (life,) = nobody.told(card(f"touch {canary}", f'namespaces = ["user"]\n{line}'))["lives"]
    (lost,) = life["refused"]
    assert (lost["feature"], lost["cause"]) == ("id-map", "not-delegated")
    assert f"{FIRST} to {FIRST + COUNT - 1}" in lost["detail"]
    assert life["foreseen"]
    assert not canary.exists()


@pytest.mark.parametrize(
    ("surroundings", "cause", "words"),
    [
        ({"sub": "root:1:1\n"}, "not-delegated", "/etc/subuid gives nobody no range"),
        ({"path": "/nonexistent"}, "helper-missing", "newuidmap is not installed"),
        ({"more": "--no-new-privs"}, "no-capability", "no_new_privs"),
    ],
    ids=["no range", "no helper", "no new privileges"],
)
@needs_helpers
def test_without_helper_or_range_the_map_is_lost_for_that_cause(
    nobody: Nobody, place: Path, surroundings: dict[str, str], cause: str, words: str
) -> None:
    canary = place / "canary"
    range_ = f'namespaces = ["user"]\nuid_map = [{{inside = 0, outside = {FIRST}, count = 10}}]\n'
    required, preferred = nobody.told(
        card(f"touch {canary}", range_), card("id -u; cat /proc/self/uid_map", f'{range_}prefer = ["id-map"]'),
        **surroundings,
    )["lives"]  # fmt: skip
    assert [(loss["feature"], loss["cause"]) for loss in required["refused"]] == [("id-map", cause)]
    assert words in required["refused"][0]["detail"]
    assert not canary.exists()
    assert [(loss["feature"], loss["cause"]) for loss in preferred["lost"]] == [("id-map", cause)]
    assert " ".join(preferred["output"]).split() == ["0", "0", str(NOBODY), "1"]
    assert preferred["foreseen"] == ["id-map"]


def test_an_ordinary_user_cannot_drop_groups_without_a_mapped_range(nobody: Nobody) -> None:
    soma = "run_as = {user = 65534, group = 65534, groups = [7]}"
    (life,) = nobody.told(card("true", soma))["lives"]
    assert [(loss["feature"], loss["cause"], loss["syscall"]) for loss in life["refused"]] == [
        ("groups", "no-capability", "setgroups")
    ]
