"""Names to numbers, by the user database of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arje.kernel import identity


def test_a_name_and_its_number_are_one_identity() -> None:
    assert identity.resolve("root", None, None)[:2] == (0, 0)
    assert identity.resolve(0, None, ()) == identity.resolve("root", None, ())
    assert identity.resolve("nobody", None, None).groups == tuple(sorted(set(os.getgrouplist("nobody", 65534))))


def test_a_number_without_an_entry_is_its_own_group() -> None:
    assert identity.resolve(54321, None, None) == identity.Identity(54321, 54321, (), "54321", "/")


@pytest.mark.parametrize(("arguments", "kind"), [(("no-one", None, None), "user"), (("root", "no-one", None), "group")])
def test_an_unknown_name_is_named(arguments: tuple[str, str | None, None], kind: str) -> None:
    with pytest.raises(identity.UnknownIdentity, match="no-one") as caught:
        identity.resolve(*arguments)
    assert caught.value.kind == kind


def test_sub_ids_are_found_by_name_and_number(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("root:100000:65536\n0:200000:10\nother:1:1\nbroken\n")
    assert identity.sub_ids(str(file), 0) == ((100000, 65536), (200000, 10))
    assert identity.sub_ids(str(tmp_path / "missing"), 0) == ()
