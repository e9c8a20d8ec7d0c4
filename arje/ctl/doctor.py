"""What a host can isolate, and how to mend what it cannot: ``arjectl doctor``, ``arje doctor``, and their saved reports."""

from __future__ import annotations

import json

from arje.ctl.words import because, clock, escape, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from arje.ctl.render import Data
    from arje.ctl.words import Paper

#: Titles, and the features below them by the first part of their names; the last takes what is left.
_GROUPS: Final = (
    ("Namespaces", ("clone", "join", "mount", "pid", "net", "uts", "ipc", "user", "cgroup-ns", "time")),
    (
        "Files",
        (
            *("root", "pivot_root", "read_only_root", "overlay", "binds", "idmapped", "tmpfs", "private_tmp", "proc"),
            *(
                "sysfs",
                "dev",
                "devpts",
                "mqueue",
                "masked_paths",
                "read_only_paths",
                "protect_kernel_tunables",
                "files",
                "symlinks",
                "credentials",
            ),
        ),
    ),
    (
        "Identities",
        (
            *("newuidmap", "newgidmap", "subuid", "subgid", "run_as", "id-map", "capabilities", "securebits"),
            *("disable_nested_userns", "keyring", "personality"),
        ),
    ),
    ("Network", ("network",)),
    ("Control groups", ("cgroup",)),
    ("Limits", ("rlimit", "nice", "ioprio", "scheduler", "oom_score_adj")),
    ("Filters", ("seccomp", "libseccomp", "landlock")),
    ("Other", ()),
)
_LARGEST: Final = 400_000  # bytes of a report; a request has room for it and for a card


def show(paper: Paper, report: Data) -> None:
    """The host, then every feature in its group; below each no its remedy."""
    host, features = report["host"], report["features"]
    powers = host["powers"]
    right = "with CAP_SYS_ADMIN" if host["privileged"] else "without CAP_SYS_ADMIN"
    paper.line(
        escape(f"{host['name']}: Linux {host['kernel']}, {host['machine']}; uid {powers['uid']}, {right}; ")
        + f"looked at {clock(host['taken'])} by arje {escape(host['arje'])}"
    )
    granted = sum(found["available"] for found in features)
    paper.line(f"{granted} of {many(len(features), 'feature')} can be had here.")
    width = max((len(found["feature"]) for found in features), default=0)
    left = list(features)
    for title, names in _GROUPS:
        group = [found for found in left if not names or found["feature"].partition(".")[0] in names]
        left = [found for found in left if found not in group]
        if group:
            paper.line()
            paper.line(f"{title}: {sum(found['available'] for found in group)} of {len(group)}")
            _features(paper, group, width)


def _features(paper: Paper, group: list[Data], width: int) -> None:
    """A line each; one remedy for several in a row is told once, below the last."""
    for found, following in zip(group, [*group[1:], None], strict=True):
        name = f"{escape(found['feature']):<{width}}"
        if found["available"]:
            how = "yes, together with a user namespace" if found["needs_user"] else "yes"
            how += f" ({escape(found['detail'])})" if found["detail"] else ""
            paper.line(f"  {paper.paint('+', '32')} {name}  {how}")
            continue
        paper.line(f"  {paper.paint('!', '33')} {name}  no: {escape(because(found))}")
        if found["remedy"] and (following is None or following["remedy"] != found["remedy"]):
            paper.line(f"    {'':<{width}}  remedy: {escape(found['remedy'])}")


def read(file: str) -> Any:
    """Return a saved report as it is; the manager judges it. Raises UsageError: no file, or no JSON."""
    from arje.ctl.arguments import UsageError

    remedy = "save one on that host: arjectl doctor --json > host.json"
    try:
        with open(file, "rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise UsageError(f"{file}: larger than {_LARGEST} bytes; {remedy}")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: is not JSON: {error}; {remedy}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{file}: is no host report; {remedy}")
    return found
