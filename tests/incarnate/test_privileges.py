"""What a payload may do: the payload's own look at itself, what status reports, and what a setuid program cannot regain."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arje.card.loader import load_text
from arje.card.privileges import CAPABILITIES
from arje.card.soma import Capabilities, IdMap, Namespaces, RunAs, Soma
from arje.errors import IncarnationRefused, SetupFailed
from arje.incarnate.spawn import Incarnator, StdioFds
from arje.incarnation import Cause, Step
from tests.incarnate.conftest import Ran, card_of
from tests.incarnate.test_ids import Nobody, nobody
from tests.incarnate.test_ids import card as card_text

__all__ = ["nobody"]  # a fixture
Run = Callable[..., Ran]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed")
LOOK = ("grep", "-E", "^Cap|^NoNewPrivs|^Seccomp:", "/proc/self/status")
SOMEBODY = RunAs(user=1234, group=1235)
KILL = 1 << CAPABILITIES.index("kill")
BIND, CHOWN = 1 << CAPABILITIES.index("net_bind_service"), 1 << CAPABILITIES.index("chown")


def soma_of(text: str) -> Soma:
    """The soma of a card, with its shorthands."""
    loaded = load_text(Path("x.toml"), f"[soma]\n{text}\n")
    assert loaded.problems == ()
    return loaded.cards[0].soma


def asked(text: str) -> dict[str, Any]:
    """What such a card asks for beyond the defaults."""
    soma, plain = soma_of(text), Soma()
    return {name: getattr(soma, name) for name in Soma.__slots__ if getattr(soma, name) != getattr(plain, name)}


def sets(ran: Ran) -> dict[str, int]:
    """The payload's capabilities as it sees them itself."""
    lines = dict(line.split(":\t") for line in ran.output.splitlines() if line.startswith("Cap"))
    return {name.removeprefix("Cap"): int(bits, 16) for name, bits in lines.items()}


def granted(ran: Ran) -> dict[str, str]:
    assert ran.incarnation.degradations == ()
    return {grant.feature: grant.granted for grant in ran.incarnation.grants if grant.ok}


@needs_root
@pytest.mark.parametrize("user", [None, SOMEBODY], ids=["root", "somebody"])
@pytest.mark.parametrize("space", [False, True], ids=["here", "user namespace"])
def test_a_list_is_exactly_what_the_payload_has(run: Run, user: RunAs | None, space: bool) -> None:
    soma = asked('capabilities = ["CAP_KILL", "Chown"]') | {"run_as": user}
    if space:
        line = (IdMap(inside=0, outside=100000, count=2000),)
        soma |= {"namespaces": Namespaces(user=True), "uid_map": line, "gid_map": line}
    ran = run(*LOOK, **soma)
    seen, both = sets(ran), KILL | CHOWN
    assert seen == {"Inh": both, "Prm": both, "Eff": both, "Bnd": both, "Amb": both if user else 0}
    assert granted(ran)["capabilities.keep"] == granted(ran)["capabilities.bounding"] == "chown kill"


@needs_root
@pytest.mark.parametrize("user", [None, SOMEBODY], ids=["root", "somebody"])
def test_an_empty_list_is_none_at_all(run: Run, user: RunAs | None) -> None:
    ran = run(*LOOK, **asked("capabilities = []"), run_as=user)
    assert set(sets(ran).values()) == {0}
    assert granted(ran)["capabilities.keep"] == "none"


@needs_root
def test_everything_may_survive_the_change_of_user(run: Run) -> None:
    ours = int(dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())["CapPrm"], 16)
    ran = run(*LOOK, **asked('capabilities = {keep = "all"}'), run_as=SOMEBODY)
    assert sets(ran)["Eff"] == sets(ran)["Amb"] == ours
    assert "capabilities.keep" in granted(ran)


@needs_root
def test_without_a_word_about_it_a_user_who_is_not_root_has_none_and_the_bounding_set_is_left(run: Run) -> None:
    seen = sets(run(*LOOK, run_as=SOMEBODY))
    assert (seen["Eff"], seen["Amb"]) == (0, 0)
    assert seen["Bnd"] & BIND


@needs_root
def test_a_bounding_set_alone_limits_root_and_what_it_inherits(run: Run) -> None:
    ran = run(*LOOK, **asked('capabilities = {bounding = ["chown"]}'))
    assert sets(ran) == {"Inh": 0, "Prm": CHOWN, "Eff": CHOWN, "Bnd": CHOWN, "Amb": 0}
    assert granted(ran)["capabilities.bounding"] == "chown"


@needs_root
def test_what_is_kept_may_be_inheritable_only(run: Run) -> None:
    ran = run(
        *LOOK, **asked('capabilities = {keep = ["chown", "net_bind_service"], ambient = ["chown"]}'), run_as=SOMEBODY
    )
    assert sets(ran)["Inh"] == BIND | CHOWN
    assert sets(ran)["Eff"] == CHOWN
    assert granted(ran)["capabilities.ambient"] == "chown"


@needs_root
@pytest.mark.parametrize("kept", ["", 'capabilities = ["chown"]\n'], ids=["none", "some"])
def test_securebits_are_set_whoever_the_payload_is(run: Run, kept: str) -> None:
    soma = asked(f'{kept}securebits = ["noroot", "noroot-locked", "no-cap-ambient-raise", "no_setuid_fixup"]')
    for user in (None, SOMEBODY):
        ran = run(*LOOK, **soma, run_as=user)
        assert granted(ran)["securebits"] == "asked again: yes"
        assert sets(ran)["Eff"] == (CHOWN if kept else 0)  # to a root without rights as well


@needs_root
def test_a_setuid_program_regains_what_no_new_privs_forbids(run: Run, place: Path) -> None:
    cat = place / "cat"
    shutil.copy("/bin/cat", cat)
    cat.chmod(0o4755)
    for forbidden, effective in ((False, "0"), (True, "1234")):
        ran = run("sh", "-c", f"{cat} /proc/self/status | grep ^Uid", run_as=SOMEBODY, no_new_privs=forbidden)
        assert ran.output.split()[2] == effective


@needs_root
def test_a_payload_whose_file_has_rights_of_its_own_is_no_grant(incarnator: Incarnator, place: Path) -> None:
    """What execve adds is seen on the running payload, and named; within the bounding set nothing can be added."""
    cat = place / "cat"
    shutil.copy("/bin/cat", cat)
    cat.chmod(0o4755)

    def losses(text: str, **more: Any) -> list[tuple[str, Cause]]:
        read, write = os.pipe2(os.O_CLOEXEC)
        with open("/dev/null", "w") as null:
            try:
                fds = StdioFds(read, null.fileno(), null.fileno())
                outcome = incarnator.incarnate(card_of(str(cat), **asked(text), run_as=SOMEBODY, **more), fds)
            finally:
                os.close(read)
                os.close(write) if more.get("require") else None
        os.close(write)
        os.waitid(os.P_PIDFD, outcome.pidfd, os.WEXITED)
        outcome.close()
        return [(loss.feature, loss.cause) for loss in outcome.incarnation.degradations]

    assert losses("capabilities = {keep = []}") == [("capabilities.keep", Cause.DRIFTED)]
    assert losses("capabilities = []") == []
    assert losses("capabilities = {keep = []}", no_new_privs=True) == []
    with pytest.raises(IncarnationRefused, match="rights of its own"):
        losses("capabilities = {keep = []}", require=("capabilities",))


# -- what cannot be ----------------------------------------------------------------------------------------------------


def test_what_the_kernel_or_the_manager_does_not_have_is_a_loss_of_its_own_cause(incarnator: Incarnator) -> None:
    known = incarnator.capabilities
    if not known.privileged:
        pytest.skip("root is needed")
    mine = replace(known.powers, last=30, permitted=known.powers.permitted & ~CHOWN)
    poor = Incarnator(replace(known, powers=mine), None)
    causes = {
        "bpf": Cause.KERNEL_TOO_OLD,
        "chown": Cause.NO_CAPABILITY,
        "kill": None,
    }
    for name, cause in causes.items():
        lost = poor.dry_run(card_of("true", **asked(f'capabilities = ["{name}"]'))).degradations
        assert [(loss.feature, loss.cause, loss.kind) for loss in lost] == (
            [("capabilities.keep", cause, "CapabilitySkipped")] if cause else []
        )


@needs_root
def test_a_capability_that_cannot_be_kept_is_one_loss_or_a_refusal(
    run: Run, incarnator: Incarnator, place: Path
) -> None:
    mine = incarnator.capabilities.powers
    missing = [name for number, name in enumerate(CAPABILITIES) if not mine.permitted >> number & 1]
    if not missing:
        pytest.skip("this manager has every capability")
    soma = asked(f'capabilities = ["chown", "{missing[0]}"]')
    ran = run(*LOOK, **soma)
    assert [(loss.feature, loss.obtained) for loss in ran.incarnation.degradations] == [("capabilities.keep", "chown")]
    assert sets(ran)["Eff"] == CHOWN  # the rest of the list holds
    with pytest.raises(IncarnationRefused):
        run("touch", str(place / "canary"), **soma, require=("capabilities",))
    assert not (place / "canary").exists()


@pytest.mark.parametrize(
    ("soma", "field", "words"),
    [
        ({"capabilities": Capabilities(bounding=("kill",), keep=("chown",))}, "capabilities.keep", "not in bounding"),
        ({"capabilities": Capabilities(keep=("kill",), ambient=("chown",))}, "capabilities.ambient", "not in keep"),
        ({"capabilities": Capabilities(keep=("chwon",))}, "capabilities.keep", "did you mean 'chown'"),
        ({"securebits": ("norot",)}, "securebits", "did you mean 'noroot'"),
        ({"personality": ("linux33",)}, "personality", "did you mean 'linux32'"),
        ({"keyring": "now"}, "keyring", "inherit or new"),
        (
            {"disable_nested_userns": True, "capabilities": Capabilities(keep=("sys_resource",))},
            "capabilities.keep",
            "lift the limit",
        ),
    ],
)
def test_sets_that_contradict_each_other_are_told_before_anything_runs(
    run: Run, soma: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(SetupFailed, match=words) as caught:
        run("true", **soma)
    assert (caught.value.step, caught.value.field) == (Step.PLAN, f"soma.{field}")


@needs_root
def test_root_cannot_have_less_than_its_bounding_set(run: Run) -> None:
    soma = {"capabilities": Capabilities(bounding=("chown", "kill"), keep=("chown",))}
    with pytest.raises(SetupFailed, match="so kill as well"):
        run("true", **soma)
    assert sets(run(*LOOK, **soma, securebits=("noroot",)))["Eff"] == CHOWN


@pytest.mark.parametrize(
    ("text", "field", "words", "remedy"),
    [
        ('capabilities = ["CAP_CHWON"]', "capabilities.0", "no capability 'CAP_CHWON'", "did you mean 'chown'?"),
        ("capabilities = [7]", "capabilities.0", "7 is not text", "quotes"),
        ('capabilities = "chown"', "capabilities", "is not a list", "write a list"),
        ('capabilities = {keep = ["x"]}', "capabilities.keep.0", "no capability 'x'", ""),
        ('capabilities = {kept = ["chown"]}', "capabilities.kept", "no such field", "did you mean 'keep'?"),
        ('securebits = ["keep-caps"]', "securebits.0", "execve clears keep-caps", "capabilities.keep"),
        ('personality = "linus"', "personality.0", "no personality 'linus'", "did you mean 'linux"),
        ('keyring = "knew"', "keyring", "no keyring 'knew'", "did you mean 'new'?"),
        ('uid_map = "automatic"', "uid_map", "is no map", 'write "auto"'),
        ('join = {nte = "x"}', "join.nte", "no such field", "did you mean 'net'?"),
        ('join = {net = "-"}', "join.net", "'-' is no label", "name a service"),
    ],
)
def test_a_wrong_word_is_told_with_field_and_line(text: str, field: str, words: str, remedy: str) -> None:
    (problem,) = load_text(Path("x.toml"), f"[soma]\n{text}\n").problems
    assert (problem.field, problem.line) == (f"soma.{field}", 2)
    assert words in str(problem)
    assert remedy in problem.remedy


def test_presets_and_lists_say_the_same_in_both_languages() -> None:
    minimal = Namespaces(pid=True, mount=True, net=True, cgroup=True)
    everything = replace(minimal, uts=True, ipc=True)
    for name, kinds in (("minimal", minimal), ("all", everything)):
        assert soma_of(f'namespaces = "{name}"').namespaces == kinds
        json = f'{{"label": "x", "payload": "Virtual", "soma": {{"namespaces": "{name}", "capabilities": ["KILL"]}}}}'
        (card,) = load_text(Path("x.json"), json).cards
        assert card.soma.namespaces == kinds
        assert card.soma.capabilities == Capabilities(bounding=("kill",), keep=("kill",))


# -- user namespaces below, keyring, personality -----------------------------------------------------------------------

NEST = (
    "unshare --user true 2>&1; echo 99 2>&1 >/proc/sys/user/max_user_namespaces; cat /proc/sys/user/max_user_namespaces"
)


@needs_root
@pytest.mark.parametrize("kept", ["", 'capabilities = {keep = "all"}\n'], ids=["root", "root with all"])
def test_nobody_in_the_service_makes_user_namespaces_or_lifts_the_limit(run: Run, kept: str) -> None:
    ran = run("sh", "-c", NEST, **asked(f'{kept}namespaces = ["user"]\ndisable_nested_userns = true'))
    assert "No space left on device" in ran.output
    assert ran.output.split()[-1] == "0"
    assert granted(ran)["disable_nested_userns"] == "limit 0, for good"
    assert "unshare" not in run("sh", "-c", "unshare --user true 2>&1", namespaces=Namespaces(user=True)).output
    assert Path("/proc/sys/user/max_user_namespaces").read_text() != "0\n"  # ours


@needs_root
def test_without_a_user_namespace_of_its_own_that_is_a_loss_with_a_remedy(run: Run, place: Path) -> None:
    (lost,) = run("true", disable_nested_userns=True).incarnation.degradations
    assert (lost.feature, lost.remedy) == ("disable_nested_userns", "add namespaces.user")
    with pytest.raises(IncarnationRefused):
        run("touch", str(place / "canary"), disable_nested_userns=True, strict_caps=True)
    assert not (place / "canary").exists()


@needs_root
def test_a_new_session_keyring_is_the_payloads_own(run: Run) -> None:
    mine = "grep ' 1234 .* _ses:' /proc/keys"
    assert run("sh", "-c", mine, run_as=SOMEBODY).output == ""
    ran = run("sh", "-c", mine, keyring="new", run_as=SOMEBODY)
    assert granted(ran)["keyring"] == "asked again: yes"
    assert ran.output.split()[5:] == ["1234", "1235", "keyring", "_ses:", "empty"]


def test_a_personality_is_seen_by_the_payload_and_can_be_locked(run: Run) -> None:
    soma = asked('personality = ["linux32", "addr-no-randomize"]\nlock_personality = true\nno_new_privs = true')
    ran = run(
        "sh", "-c", "cat /proc/self/personality; setarch --uname-2.6 true 2>&1; setarch linux64 true 2>&1", **soma
    )
    assert ran.output.split()[0] == "00040008"
    assert ran.output.count("Operation not permitted") == 2
    assert {"personality", "lock_personality"} <= set(granted(ran))


@needs_root
def test_a_lock_without_no_new_privs_is_set_while_the_child_is_still_root(run: Run) -> None:
    ran = run("sh", "-c", f"{' '.join(LOOK[:2])} '{LOOK[2]}' {LOOK[3]}; setarch linux32 true 2>&1", run_as=SOMEBODY,
              lock_personality=True)  # fmt: skip
    assert "Seccomp:\t2" in ran.output
    assert "Operation not permitted" in ran.output
    assert "NoNewPrivs:\t0" in ran.output


def test_an_ordinary_user_has_rights_in_a_user_namespace_only(nobody: Nobody) -> None:
    look = "grep -E '^Cap(Eff|Bnd)' /proc/self/status"
    none, kept, inside, nested, locked = nobody.told(
        card_text(look, "capabilities = []"),
        card_text(look, 'capabilities = ["net_bind_service"]'),
        card_text(look, 'namespaces = ["user"]\ncapabilities = ["net_bind_service"]'),
        card_text("unshare --user true 2>&1", "disable_nested_userns = true"),
        card_text("true", "lock_personality = true"),
    )["lives"]
    assert none["lost"] == []
    assert " ".join(none["output"]).split() == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16]
    assert [(loss["feature"], loss["cause"]) for loss in kept["lost"]] == [("capabilities.keep", "no-capability")]
    assert inside["lost"] == []
    assert {int(line.split()[1], 16) for line in inside["output"]} == {BIND}
    assert nested["grants"]["disable_nested_userns"][1]
    assert "No space left" in nested["output"][0]
    assert [(loss["feature"], loss["remedy"]) for loss in locked["lost"]] == [("lock_personality", "add no_new_privs")]
