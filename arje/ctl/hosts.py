"""``-H [user@]host``, once or several times, or with commas: the same verb on other machines, over ssh (ssh.py).

One host is as if its manager were here. Several are asked at the same time, each by an arjectl of its own: their services
stand in one table, what other verbs say has the host before each line, and ``--json`` is an object by host. A host that
fails tells so on stderr; the others are shown all the same, and the exit code is the worst of them.
"""

from __future__ import annotations

import json
import os
import selectors
import shlex
import subprocess
import sys

from arje.ctl import ssh
from arje.ctl.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Final

    from arje.ctl.arguments import Arguments

#: Verbs that touch files of the machine that they are about: they run there, on its own terminal.
_THERE: Final = frozenset({"cat", "edit", "shell", "import"})
_MANY: Final = 256
_START: Final = "import sys; sys.path.insert(0, sys.argv.pop(1)); from arje.ctl.main import main; sys.exit(main())"


class BadHost(Exception):
    """The words after ``-H`` name no host; the text says why."""


def taken_out(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the hosts that the words name, each once, and the other words. Raises BadHost.

    What follows ``--``, or the command of ``run``, is not ours.
    """
    hosts: list[str] = []
    rest: list[str] = []
    at, operands = 0, 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--" or (operands > 1 and "run" in rest):
            return _checked(hosts), [*rest, word, *words[at:]]
        if word in ("-H", "--host"):
            if at >= len(words):
                raise BadHost(f"{word}: its value is missing: -H [user@]host")
            hosts += words[at].split(",")
            at += 1
        elif word.startswith("--host="):
            hosts += word[7:].split(",")
        elif word.startswith("-H") and word[2:3] != "-":
            hosts += word[2:].split(",")
        else:
            operands += not word.startswith("-")
            rest.append(word)
    return _checked(hosts), rest


def _checked(hosts: list[str]) -> list[str]:
    for host in hosts:
        if not host or host.startswith("-") or any(c.isspace() or not c.isprintable() for c in host):
            raise BadHost(f"{host!r} is no host (-H [user@]host)")  # ssh would take it for an option
    if len(hosts) > _MANY:
        raise BadHost(f"{len(hosts)} hosts; at most {_MANY} at once")
    return list(dict.fromkeys(hosts))


def where_of(words: list[str]) -> tuple[str, list[str]]:
    """Return which of a host's managers the words mean (``user``, ``system``, a path), and the words without that."""
    where, rest, at = "", list[str](), 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            return where, [*rest, word, *words[at:]]
        if word in ("--user", "--system"):
            where = word[2:]
        elif word == "--socket" and at < len(words):
            where = words[at]
            at += 1
        elif word.startswith("--socket="):
            where = word[9:]
        else:
            rest.append(word)
    return where, rest


def asked(words: list[str], args: Arguments) -> int | None:
    """Ask the hosts when there are several, and return the exit code; None for one alone. Raises UsageError."""
    hosts, rest = _hosts(words)
    return _on_many(hosts, rest, args) if len(hosts) > 1 else None


def on_one(words: list[str], args: Arguments) -> list[str]:
    """Return the words that ask one host's manager from here. A verb that has to run there becomes this process.

    Raises UsageError.
    """
    hosts, rest = _hosts(words)
    if args.verb in _THERE:
        command = [
            *ssh.ssh(),
            *(["-t"] if sys.stdin.isatty() else []),
            "--",
            hosts[0],
            "arjectl",
            *map(shlex.quote, rest),
        ]
        sys.stdout.flush()
        os.execvp(command[0], command)
    where, rest = where_of(rest)
    return ["--socket", ssh.name_of(hosts[0], where), *rest]


def _hosts(words: list[str]) -> tuple[list[str], list[str]]:
    try:
        return taken_out(words)
    except BadHost as error:
        raise UsageError(str(error)) from error


class _Asked:
    """One host, and the arjectl that asks it."""

    def __init__(self, host: str, words: list[str]) -> None:
        self.host = host
        root = os.path.abspath(__file__).rsplit("/", 3)[0]  # noqa: PTH100 - no pathlib here: it costs
        command = [sys.executable, "-P", "-c", _START, root, "-H", host, *words]
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.said: dict[IO[bytes], bytes] = {}
        self.out = b""


def _on_many(hosts: list[str], words: list[str], args: Arguments) -> int:
    """Ask every host at the same time, and show what they say. Returns the worst exit code."""
    as_table, in_json = args.verb == "status" and not args.labels and not args.json, args.json
    questions = [_Asked(host, ["--json", *words] if as_table else words) for host in hosts]
    width = max(map(len, hosts))
    try:
        for one, line, is_error in _lines(questions):
            if is_error:
                print(f"{one.host}: {line}", file=sys.stderr)
            elif as_table or in_json:
                one.out += line.encode() + b"\n"
            else:
                print(f"{one.host:<{width}}  {line}", flush=True)
    except KeyboardInterrupt:
        for one in questions:
            one.child.terminate()
        return 130
    codes = [one.child.wait() for one in questions]
    answers = {one.host: _answer(one.out) for one in questions}
    if in_json:
        told = {
            one.host: {"code": code, "answer": answers[one.host]} for one, code in zip(questions, codes, strict=True)
        }
        print(json.dumps({"hosts": told}))
    elif as_table:
        from arje.ctl import hosts_table

        hosts_table.show({host: answer for host, answer in answers.items() if _is_table(answer)}, plain=args.plain)
    return max(code if code >= 0 else 128 - code for code in codes)


def _is_table(answer: object) -> bool:
    return isinstance(answer, dict) and "services" in answer


def _answer(text: bytes) -> object:
    """Return what one host has answered: an object, or the list of those that stand in lines of their own."""
    lines = [json.loads(line) for line in text.decode().splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else lines


def _lines(questions: list[_Asked]) -> Iterator[tuple[_Asked, str, bool]]:
    """Yield each whole line of each host as it comes, and whether it is a complaint."""
    with selectors.DefaultSelector() as selector:
        for one in questions:
            for stream in (one.child.stdout, one.child.stderr):
                assert stream is not None
                one.said[stream] = b""
                selector.register(stream, selectors.EVENT_READ, (one, stream, stream is one.child.stderr))
        while selector.get_map():
            for key, _ in selector.select():
                one, stream, is_error = key.data
                data = os.read(stream.fileno(), 65536)
                *whole, one.said[stream] = (one.said[stream] + data).split(b"\n")
                if not data:
                    selector.unregister(stream)
                    stream.close()
                    whole += [rest] if (rest := one.said[stream]) else []
                for line in whole:
                    yield one, line.decode(errors="replace"), is_error
