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


@pytest.mark.parametrize("number", [-1, 2**32 - 1, 2**32, "4294967296", "9" * 5000])
def test_a_number_that_is_no_id_is_nobody(number: str | int) -> None:
    """2**32 is root to a kernel that sees 32 bits of it, and 2**32 - 1 asks it to change nothing."""
    with pytest.raises(identity.UnknownIdentity):
        identity.resolve(number, None, None)
    with pytest.raises(identity.UnknownIdentity):
        identity.resolve("root", number, None)
    with pytest.raises(identity.UnknownIdentity):
        identity.resolve("root", None, (number,))


@pytest.mark.parametrize("name", ["²", "-1", "a\0b", ""])
def test_a_name_that_only_looks_like_a_number_is_a_name(name: str) -> None:
    with pytest.raises(identity.UnknownIdentity):
        identity.resolve(name, None, None)


def test_sub_ids_are_found_by_name_and_number(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("root:100000:65536\n0:200000:10\nother:1:1\nbroken\nroot:x:9\nroot::\n")
    assert identity.sub_ids_of(str(file), {"0", "root"}) == ((100000, 65536), (200000, 10))
    assert identity.sub_ids_of(str(tmp_path / "missing"), {"0", "root"}) == ()
