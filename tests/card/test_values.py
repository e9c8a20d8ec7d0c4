"""What the values of a card's fields must be like. A card that cannot mean anything is refused with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from arje.card.card import Card
from arje.card.loader import load_text

P = "[payload]\nexec = '/bin/true'\n"
S = P + "[soma]\n"
G = P + "[soma.cgroup]\n"
V = P + "[supervision]\n"
MAP = "{inside = 0, outside = 5, count = 10}"


def one(text: str) -> Card:
    loaded = load_text(Path("web.toml"), text)
    assert loaded.problems == ()
    (card,) = loaded.cards
    return card


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        # ids
        (S + "run_as = 4294967296\n", 4, "soma.run_as.user", "4294967296 is no id (ids are 0 to 4294967294)"),
        (S + "run_as = 4294967295\n", 4, "soma.run_as.user", "is no id"),
        (S + "run_as = -1\n", 4, "soma.run_as.user", "is no id"),
        (S + "run_as = '4294967296:0'\n", 4, "soma.run_as.user", "is no id"),
        (S + "run_as = '0:-1'\n", 4, "soma.run_as.group", "is no id"),
        (S + "run_as = true\n", 4, "soma.run_as", "true is not a table"),
        (S + "run_as = ''\n", 4, "soma.run_as", 'write "user" or "user:group"'),
        (S + "run_as = {user = 'a', groups = ['b', 4294967296]}\n", 4, "soma.run_as.groups.1", "is no id"),
        (S + "run_as = {user = 'a', groups = 'b'}\n", 4, "soma.run_as.groups", 'write a list: groups = ["b"]'),
        (S + "run_as = {usr = 'a', user = 'b'}\n", 4, "soma.run_as.usr", "did you mean 'user'?"),
        (S + "uid_map = [{inside = 4294967295, outside = 0}]\n", 4, "soma.uid_map.0.inside", "0 to 4294967294"),
        (S + "gid_map = [{inside = 0, outside = -1}]\n", 4, "soma.gid_map.0.outside", "-1 is out of range"),
        (S + "uid_map = [{inside = 0, outside = 0, count = 0}]\n", 4, "soma.uid_map.0.count", "1 to 4294967295"),
        (S + "uid_map = [{inside = 9, outside = 0, count = 4294967290}]\n", 4, "soma.uid_map.0.count", "the last id"),
        (S + f"uid_map = [\n{MAP},\n{{inside = 9, outside = 90}}]\n", 6, "soma.uid_map.1.inside", "in two lines"),
        (S + f"uid_map = [{{inside = 9, outside = 90}}, {MAP}]\n", 4, "soma.uid_map.0.inside", "in two lines"),
        (S + f"gid_map = [{MAP}, {{inside = 90, outside = 14}}]\n", 4, "soma.gid_map.1.outside", "in two lines"),
        (
            S + "[[soma.uid_map]]\ninsid = 1\ninside = 0\noutside = 1\n",
            5,
            "soma.uid_map.0.insid",
            "did you mean 'inside'?",
        ),
        (S + "uid_map = [0]\n", 4, "soma.uid_map.0", "write {inside = …, outside = …, count = …}"),
        (S + f"uid_map = {MAP}\n", 4, "soma.uid_map", "is not a list (write a list: uid_map = [{inside"),
        # limits
        (G + "cpu_weight = true\n", 4, "soma.cgroup.cpu_weight", "true is no whole number"),
        (G + "cpu_weight = 10001\n", 4, "soma.cgroup.cpu_weight", "10001 is out of range (1 to 10000)"),
        (G + "cpu_weight = 1.5\n", 4, "soma.cgroup.cpu_weight", "1.5 is no whole number"),
        (G + "io_weight = 0\n", 4, "soma.cgroup.io_weight", "1 to 10000"),
        (G + "io_weight = '5'\n", 4, "soma.cgroup.io_weight", "'5' is no whole number"),
        (G + "pids_max = 0\n", 4, "soma.cgroup.pids_max", "1 to 4194304"),
        (G + "pids_max = 'min'\n", 4, "soma.cgroup.pids_max", "no whole number"),
        (G + "memory_max = -1\n", 4, "soma.cgroup.memory_max", "-1 is out of range"),
        (G + "memory_low = 0.5\n", 4, "soma.cgroup.memory_low", "no whole number"),
        (G + f"memory_high = '{'9' * 5000}'\n", 4, "soma.cgroup.memory_high", "is no size"),
        (G + "cpu_max = '0.5%'\n", 4, "soma.cgroup.cpu_max", "under 1%"),
        (G + "cpu_max = '999'\n", 4, "soma.cgroup.cpu_max", "the least is 1000"),
        (G + "cpu_max = '5000 5'\n", 4, "soma.cgroup.cpu_max", "1000 to 1000000"),
        (G + "cpu_max = 'half'\n", 4, "soma.cgroup.cpu_max", 'write "50%", "max" or "QUOTA PERIOD"'),
        (G + "cpu_max = 50\n", 4, "soma.cgroup.cpu_max", "50 is not text"),
        (G + "cpuset = '3-1'\n", 4, "soma.cgroup.cpuset", 'write "0-3,5"'),
        (G + "cpuset = '0,,1'\n", 4, "soma.cgroup.cpuset", "is no list of CPUs"),
        (G + "pids_mx = 1\n", 4, "soma.cgroup.pids_mx", "did you mean 'pids_max'?"),
        *(
            (G + f"path = {path}\n", 4, "soma.cgroup.path", "below arje's cgroup")
            for path in ("'../x'", "'a/../b'", "'a//b'", "'a/'", "'//a'", "'.'", "'a/.'")
        ),
        (G + 'path = "a\\u0000"\n', 4, "soma.cgroup.path", "a NUL byte"),
        (S + "rlimits = {nofile = 18446744073709551616}\n", 4, "soma.rlimits.nofile", "is no limit"),
        (S + "rlimits = {nofile = -1}\n", 4, "soma.rlimits.nofile", "is no limit"),
        (S + "rlimits = {nofile = true}\n", 4, "soma.rlimits.nofile", "is no limit"),
        (S + "rlimits = {nofile = [1, 2, 3]}\n", 4, "soma.rlimits.nofile", "is no limit"),
        (S + "cpu_affinity = 0\n", 4, "soma.cpu_affinity", "write a list: cpu_affinity = [0]"),
        (S + "cpu_affinity = [0, 1024]\n", 4, "soma.cpu_affinity.1", "0 to 1023"),
        (S + "cpu_affinity = [true]\n", 4, "soma.cpu_affinity.0", "true is no whole number"),
        # times
        (V + "initial = nan\n", 4, "supervision.initial", "nan is out of range"),
        (V + "max = -1\n", 4, "supervision.max", "-1 is out of range"),
        (V + "healthy_after = inf\n", 4, "supervision.healthy_after", "inf is out of range"),
        (V + "stop_timeout = true\n", 4, "supervision.stop_timeout", "true is no number"),
        (V + "stop_timeout = 'infinity'\n", 4, "supervision.stop_timeout", "is no duration"),
        (V + "initial = 31\n", 4, "supervision.initial", "31 s is over max, 30 s"),
        (V + "rate_limit = {starts = true}\n", 4, "supervision.rate_limit.starts", "true is no whole number"),
        (V + "rate_limit = {starts = -1}\n", 4, "supervision.rate_limit.starts", "-1 is out of range"),
        (V + "rate_limit = {interval = -1}\n", 4, "supervision.rate_limit.interval", "-1 is out of range"),
        (V + "rate_limit = {start = 1}\n", 4, "supervision.rate_limit.start", "did you mean 'starts'?"),
        (V + "rate_limit = 5\n", 4, "supervision.rate_limit", "5 is not a table (write [supervision.rate_limit])"),
        (S + "time_offsets = {monotonic = inf}\n", 4, "soma.time_offsets.monotonic", "inf is out of range"),
        # signals and endings
        (V + "stop_signal = 'FOO'\n", 4, "supervision.stop_signal", "'FOO' is no signal"),
        (V + "stop_signal = 'SIGTREM'\n", 4, "supervision.stop_signal", "did you mean 'TERM'?"),
        (V + "stop_signal = 65\n", 4, "supervision.stop_signal", "numbered 1 to 64"),
        (V + "stop_signal = true\n", 4, "supervision.stop_signal", "true is no signal"),
        (V + "success_exit = [0, 256]\n", 4, "supervision.success_exit.1", "0 to 255"),
        (V + "success_exit = ['BAR']\n", 4, "supervision.success_exit.0", "'BAR' is no signal"),
        (V + "success_exit = ['3']\n", 4, "supervision.success_exit.0", "write a code without quotes: 3"),
        (V + "success_exit = 3\n", 4, "supervision.success_exit", "write a list: success_exit = [3]"),
        (S + "parent_death_signal = 'NOPE'\n", 4, "soma.parent_death_signal", "no signal"),
        (V + "restart = 'allways'\n", 4, "supervision.restart", "did you mean 'always'?"),
        (V + "kind = 'servce'\n", 4, "supervision.kind", "write daemon, one-shot, delegate or scripted"),
        # words
        (S + "hostname = '-a'\n", 4, "soma.hostname", "is no hostname"),
        (S + "hostname = 'a..b'\n", 4, "soma.hostname", "is no hostname"),
        (S + "hostname = 'a_b'\n", 4, "soma.hostname", "is no hostname"),
        (S + f"hostname = '{'h' * 64}'\n", 4, "soma.hostname", "is no hostname"),
        (S + f"hostname = '{'h' * 32}.{'h' * 32}'\n", 4, "soma.hostname", "at most 64 bytes"),
        (S + "umask = '1000'\n", 4, "soma.umask", "over 777"),
        (S + "stdio = {stdout = 'flie:/x'}\n", 4, "soma.stdio.stdout", "append:/PATH"),
        (S + "stdio = {stderr = 'file:x'}\n", 4, "soma.stdio.stderr", "is nothing to write to"),
        (S + "stdio = {stdin = 'log'}\n", 4, "soma.stdio.stdin", "is nothing to read from"),
        (S + "stdio = {stdot = 'log'}\n", 4, "soma.stdio.stdot", "did you mean 'stdout'?"),
        (S + "namespaces = {pid = 1}\n", 4, "soma.namespaces.pid", "1 is neither true nor false"),
        (S + "namespaces = [['pid']]\n", 4, "soma.namespaces", "no namespace ['pid']"),
        (S + "no_new_privs = 'yes'\n", 4, "soma.no_new_privs", "write true or false"),
        (S + "require = [['net']]\n", 4, "soma.require", "no feature ['net']"),
        (S + "require = 'net'\n", 4, "soma.require", 'write a list: require = ["net"]'),
        (S + "secomp = 1\n", 4, "soma.secomp", "did you mean 'seccomp'?"),
        (
            S + "overlay = {lower = '/a', merge = '/b', merged = '/c'}\n",
            4,
            "soma.overlay.merge",
            "did you mean 'merged'?",
        ),
        (S + "pivot_root = '/a'\n", 4, "soma.pivot_root", "write [soma.pivot_root]"),
        # the program
        ("[payload]\n", 1, "payload.exec", "is missing"),
        ("[payload]\nexec = ''\n", 2, "payload.exec", "it is empty (name a program)"),
        ('[payload]\nexec = "a\\u0000b"\n', 2, "payload.exec", "a NUL byte"),
        ('[payload]\nexec = "a"\nargv = ["x",\n"\\u0000"]\n', 4, "payload.argv.1", "a NUL byte"),
        (P + "argv = '-v'\n", 3, "payload.argv", 'write a list: argv = ["-v"]'),
        (P + "argv = [1]\n", 3, "payload.argv.0", "1 is not text (write it in quotes)"),
        (P + "env = {'A=B' = 'x'}\n", 3, "payload.env.A=B", 'write a name without "="'),
        (P + "env = {'' = 'x'}\n", 3, "payload.env.", "is no name"),
        (P + "env = {D = [1]}\n", 3, "payload.env.D", "[1] is not text"),
        (P + 'env = {N = "\\u0000"}\n', 3, "payload.env.N", "a NUL byte"),
        (P + "pass_env = ['A=']\n", 3, "payload.pass_env.0", "is no name"),
        (P + "arg = []\n", 3, "payload.arg", "did you mean 'argv'?"),
        ("payload = 'virtul'\n", 1, "payload", 'write [payload], or payload = "virtual"'),
        # the card
        ("requires = 'db'\n", 1, "requires", "'db' is not a list (write a list: requires = [\"db\"])"),
        ("requires = ['db', 5]\n", 1, "requires.1", "5 is not text"),
        ("requires = ['web']\n", 1, "requires.0", "'web' is this card itself (remove it)"),
        ("provides = ['x']\nafter = ['db', 'x']\n", 2, "after.1", "'x' is this card itself"),
        ("enabled = 1\n", 1, "enabled", "1 is neither true nor false"),
        ("lineage = 5\n", 1, "lineage", "5 is not a list"),
        ("label = 'ab\\n'\nsource = {file = 'x'}\n", 2, "source", "no such field"),
        ("only_if_exists = 'x'\n", 1, "only_if_exists", 'begin it with "/"'),
        ('description = "\\u0000"\n', 1, "description", "a NUL byte"),
        ("extensions = {a = [1979-05-27]}\n", 1, "extensions.a.0", "write it in quotes"),
        ("priority = nan\n", 1, "priority", "cannot be kept"),
        ("permissions = {networkng = true}\n", 1, "permissions.networkng", "did you mean 'networking'?"),
        ("permissions = 5\n", 1, "permissions", "write [permissions]"),
    ],
)
def test_what_cannot_be_is_refused_with_line_field_and_remedy(text: str, line: int, field: str, words: str) -> None:
    loaded = load_text(Path("web.toml"), text)
    assert loaded.cards == ()
    found = [problem for problem in loaded.problems if problem.field != "label"]
    assert [(problem.line, problem.field) for problem in found] == [(line, field)], [*map(str, loaded.problems)]
    assert words in str(found[0])
    assert "Input should" not in str(found[0])


def test_a_line_after_a_list_of_lists_is_still_its_own() -> None:
    (problem,) = load_text(
        Path("web.toml"), S + "rlimits = {core = [\n1, 2]}\ncpu_affinity = [\n[0]\n]\numask = 2\n"
    ).problems[1:]
    assert (problem.line, problem.field) == (9, "soma.umask")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("'max'", "max 100000"),
        ("'5000'", "5000 100000"),
        ("'5000 20000'", "5000 20000"),
        ("'max 20000'", "max 20000"),
        ("'150.5%'", "150.5%"),
    ],
)
def test_a_limit_of_cpu_time_is_kept_as_the_kernel_shows_it(written: str, kept: str) -> None:
    group = one(G + f"cpu_max = {written}\n").soma.cgroup
    assert group is not None
    assert group.cpu_max == kept


def test_max_is_no_limit() -> None:
    group = one(G + "memory_max = 'max'\nmemory_swap_max = 0\npids_max = 'max'\ncpuset = '0-3,5'\n").soma.cgroup
    assert group is not None
    assert (group.memory_max, group.memory_swap_max, group.pids_max, group.cpuset) == ("max", 0, "max", "0-3,5")


def test_a_cgroup_path_may_begin_with_a_slash() -> None:
    group = one(G + "path = '/arje/x'\n").soma.cgroup
    assert group is not None
    assert group.path == "arje/x"


def test_signals_are_kept_by_their_one_name() -> None:
    card = one(
        S
        + "parent_death_signal = 'sigkill'\n"
        + "[supervision]\nstop_signal = 'SIGRTMIN+3'\nsuccess_exit = [3, 'int']\n"
    )
    assert (card.soma.parent_death_signal, card.supervision.stop_signal) == ("KILL", "RTMIN+3")
    assert card.supervision.success_exit == (3, "INT")
    assert one(V + "stop_signal = 2\n").supervision.stop_signal == "INT"


def test_the_environment_is_written_as_it_reads() -> None:
    payload = one(P + "env = {S = 'x', I = 1, T = true, F = 1.5}\n").payload
    assert getattr(payload, "envp", None) == (("S", "x"), ("I", "1"), ("T", "true"), ("F", "1.5"))


def test_every_id_that_there_is_may_be_had() -> None:
    soma = one(S + "run_as = '4294967294:0'\nuid_map = [{inside = 0, outside = 0, count = 4294967295}]\n").soma
    assert soma.run_as is not None
    assert (soma.run_as.user, soma.uid_map[0].count) == ("4294967294", 4294967295)


def test_time_offsets_may_be_negative_and_a_rate_limit_of_none_is_none() -> None:
    card = one(S + "time_offsets = {monotonic = -5, boottime = 1.5}\n[supervision.rate_limit]\nstarts = 0\n")
    assert card.soma.time_offsets is not None
    assert (card.soma.time_offsets.monotonic, card.soma.time_offsets.boottime) == (-5.0, 1.5)
    assert card.supervision.rate_limit.starts == 0


def test_a_text_with_half_a_character_does_not_stop_the_loader() -> None:
    (problem,) = load_text(Path("web.toml"), "description = '\ud800'").problems
    assert "half a character" in problem.message
