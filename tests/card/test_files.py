"""The files family as people write it: the short forms, and what is wrong with the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from arje.card.card import Card
from arje.card.loader import load_text
from arje.card.soma import Bind, Overlay, Proc


def one(text: str) -> Card:
    loaded = load_text(Path("x.toml"), text)
    assert not loaded.problems
    return loaded.cards[0]


FILES = """
[payload]
exec = "/bin/true"
[soma]
namespaces = ["mount"]
binds = ["/src", "/src:/dst:ro", "-/may:/be", {source = "/a", target = "/b", idmapped = true}]
tmpfs = ["/tmp:64M", "/run", {target = "/x", size = "1K", mode = "1777"}]
proc = {hidepid = 2}
masked_paths = ["kernel", "/etc/secret"]
files = {"/etc/motd" = "hello", "/etc/key" = {source = "/k", mode = "0600"}}
symlinks = {"/bin" = "usr/bin"}
credentials = {token = "s", key = {source = "/k"}}
[soma.overlay]
lower = "/usr"
tmpfs_upper = "8M"
"""


def test_binds_tmpfs_and_the_like_have_a_short_form() -> None:
    soma = one(FILES).soma
    assert soma.binds == (
        Bind(source="/src", target="/src"),
        Bind(source="/src", target="/dst", read_only=True),
        Bind(source="/may", target="/be", optional=True),
        Bind(source="/a", target="/b", idmapped=True),
    )
    assert [(t.target, t.size, t.mode) for t in soma.tmpfs] == [
        ("/tmp", 64 * 2**20, 0o755),
        ("/run", 0, 0o755),
        ("/x", 1024, 0o1777),
    ]
    assert soma.proc == Proc(hidepid="invisible")
    assert soma.masked_paths[-2:] == ("/sys/kernel/tracing", "/etc/secret")
    assert [(f.path, f.content, f.source, f.mode) for f in soma.files] == [
        ("/etc/motd", "hello", "", 0o644),
        ("/etc/key", "", "/k", 0o600),
    ]
    assert [(c.name, c.content, c.source) for c in soma.credentials] == [("token", "s", ""), ("key", "", "/k")]
    assert soma.overlay == Overlay(lower=("/usr",), tmpfs_upper=8 * 2**20)
    assert [(link.path, link.to) for link in soma.symlinks] == [("/bin", "usr/bin")]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("binds.1", '["/a", "/b:/c:rw:x"]', "/src:/dst:ro"),
        ("binds.0", '["/a:"]', "/src:/dst:ro"),
        ("binds.0.taget", '[{source = "/a", taget = "/b"}]', "did you mean 'target'"),
        ("binds", '"/a"', "not a list"),
        ("tmpfs.0", '["/tmp:much"]', "no size"),
        ("tmpfs.0", '["/tmp:0"]', "more than nothing"),
        ("tmpfs.0", '["/tmp:99999999T"]', "less than 8E"),
        ("tmpfs.0.mode", '[{target = "/tmp", mode = 1777}]', "octal"),
        ("overlay.tmpfs_upper", '{lower = "/usr", tmpfs_upper = "big"}', "no size"),
        ("proc.hidepid", '{hidepid = "everyone"}', "invisible"),
        ("proc.subset", '{subset = "net"}', "pid"),
        ("proc.hidpid", '{hidpid = "invisible"}', "did you mean 'hidepid'"),
        ("dev", '"tiny"', "minimal"),
        ("masked_paths", '"everything"', "not a list"),
        ("files.0.mode", '{"/x" = {content = "x", mode = "rw"}}', "octal"),
        ("credentials", '["a"]', "not a table"),
        ("credentials.a", "{a = 1}", "neither text"),
    ],
)
def test_a_short_form_that_says_nothing_is_a_problem_with_its_remedy(field: str, value: str, words: str) -> None:
    text = f"[payload]\nexec = '/bin/true'\n[soma]\n{field.partition('.')[0]} = {value}\n"
    problems = load_text(Path("x.toml"), text).problems
    assert problems[0].line == 4
    assert problems[0].field == f"soma.{field}"
    assert words in str(problems[0])


def test_one_item_of_a_list_may_be_required_or_preferred_by_its_path() -> None:
    soma = one('[soma]\nrequire = ["binds./srv/data"]\nprefer = ["tmpfs./tmp", "idmapped./srv", "cgroup"]\n').soma
    assert (soma.require, soma.prefer) == (("binds./srv/data",), ("tmpfs./tmp", "idmapped./srv", "cgroup"))
