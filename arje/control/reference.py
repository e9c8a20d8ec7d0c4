"""The page docs/varlink.md, from the control socket's own description; ``python -m arje.control.reference`` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from arje.control.handlers import METHODS, STREAMS
from arje.control.idl import Interface, Member, Type, manager
from arje.control.outputs import OUTPUTS

_HEAD: Final = """\
# The manager's interface

arje answers on a unix socket that speaks Varlink (https://varlink.org): JSON objects, each ended by a NUL byte. arjectl
has no other way in; whatever it can do, any program can. This page is made from the description that the socket itself
gives (`org.varlink.service.GetInterfaceDescription`), so that it cannot be behind it.

* The system's socket is `/run/arje/io.arje`, a user's own `$XDG_RUNTIME_DIR/arje/io.arje`; services find theirs in
  `$ARJE_SOCKET`.
* Who may connect: root, the manager's own user, and the members of the group `arje` where there is one. Looking is open to
  all of these; methods marked **changes** need root or the manager's user.
* A request is `{"method": "io.arje.Manager.NAME", "parameters": {…}}`. The reply has `parameters`, or `error` with what is
  wrong. Parameters that may be missing are marked `?`; one that no method has is refused by its name.
* With `"more": true` a method marked **stream** answers again and again, each time with `"continues": true`, until the
  client hangs up. With `"oneway": true` there is no reply.
* A request may have 1 MiB, a user 64 connections; a client that does not read for 30 s is hung up on.
* Fields may be added in later versions: ignore what you do not know. None changes its meaning within a version of the
  interface.
* From another machine: `ssh HOST arjectl bridge` is the socket on standard input and output.

## From Python, with the standard library alone

```python
import json, os, socket

def call(sock, method, **parameters):
    request = {"method": f"io.arje.Manager.{method}", "parameters": parameters}
    sock.sendall(json.dumps(request).encode() + b"\\0")
    data = b""
    while not data.endswith(b"\\0"):
        more = sock.recv(65536)
        if not more:
            raise ConnectionError("the manager hung up")
        data += more
    reply = json.loads(data[:-1])
    if "error" in reply:
        raise RuntimeError(f"{reply['error']}: {reply['parameters']}")
    return reply["parameters"]

with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(os.environ.get("ARJE_SOCKET", "/run/arje/io.arje"))
    for service in call(sock, "List")["services"]:
        print(service["label"], service["state"])
    for result in call(sock, "Restart", labels=["web"])["results"]:
        print(result["label"], result["result"], result["detail"])
```

Events as they come, one connection for as long as it lasts:

```python
import json, os, socket

with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(os.environ.get("ARJE_SOCKET", "/run/arje/io.arje"))
    request = {"method": "io.arje.Manager.Monitor", "parameters": {"lines": 1}, "more": True}
    sock.sendall(json.dumps(request).encode() + b"\\0")
    data = b""
    while chunk := sock.recv(65536):
        *messages, data = (data + chunk).split(b"\\0")
        for message in messages:
            event = json.loads(message)["parameters"]["event"]
            print(event["label"], event["before"], "->", event["after"], flush=True)
```

## From a shell

```sh
printf '{"method":"io.arje.Manager.List"}\\0' |
    socat -t 5 - "UNIX-CONNECT:${ARJE_SOCKET:-/run/arje/io.arje}" | tr '\\0' '\\n'
```

Scripts are better served by arjectl, whose `--json` is made for them; events come as JSON lines:

```sh
arjectl --json status | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["services"]))'
arjectl --json events -n 5
arjectl schema --output events
```

`arjectl schema --output VERB` is the JSON schema of what a verb writes. When something is wrong it is
`{"error": …, "message": …, "code": …}`, and `code` is the exit code.

## With a Varlink client

With the package `varlink` from PyPI:

```python
import os, varlink

with varlink.Client(address="unix:" + os.environ.get("ARJE_SOCKET", "/run/arje/io.arje")) as client:
    with client.open("io.arje.Manager") as arje:
        print([service["label"] for service in arje.List()["services"]])
        for reply in arje.Monitor(lines=1, _more=True):
            print(reply["event"]["label"], reply["event"]["after"])
            break
```

systemd's `varlinkctl call /run/arje/io.arje io.arje.Manager.Ping '{}'` works as well.
"""


def page() -> str:
    """Return the text of docs/varlink.md."""
    text = "\n".join(_lines(manager())) + "\n"
    return text.replace("[](", "[] (")  # which Markdown, or who looks for its links, takes for a link


def _lines(interface: Interface) -> Iterator[str]:
    yield _HEAD
    yield "## What arjectl --json writes"
    yield ""
    yield "| verbs | |"
    yield "|---|---|"
    for form in dict.fromkeys(OUTPUTS.values()):
        verbs = ", ".join(f"`{verb}`" for verb, other in OUTPUTS.items() if other == form)
        lines = form.startswith("lines ")
        what = f"`{form.removeprefix('lines ')}`" + (", one in each line" if lines else "")
        yield f"| {verbs} | {'`RunResult`; with `--wait` each `Line` before it' if verbs == '`run`' else what} |"
    yield ""
    yield "## Methods"
    for member in interface.members:
        if member.kind == "method":
            yield from _method(member)
    yield ""
    yield "## Errors"
    for member in interface.members:
        if member.kind == "error":
            yield from _member(member, f"`{member.name}{_text(member.input)}`  ")
    yield ""
    yield "## Types"
    for member in interface.members:
        if member.kind == "type":
            yield from _type(member)


def _method(member: Member) -> Iterator[str]:
    method = METHODS.get(member.name)
    marks = ["**changes**"] if method is not None and method.changes else []
    marks += ["**stream**"] if member.name in STREAMS or member.name == "Run" else []
    yield from ("", f"### {member.name}", "")
    assert member.output is not None
    yield f"`{member.name}{_text(member.input)}` → `{_text(member.output)}`{'  ' if marks else ''}{', '.join(marks)}"
    if member.comment:
        yield from ("", _sentence(member.comment))


def _member(member: Member, heading: str) -> Iterator[str]:
    yield from ("", heading)
    if member.comment:
        yield from (["", _sentence(member.comment)] if heading.startswith("#") else [_sentence(member.comment)])


def _type(member: Member) -> Iterator[str]:
    yield from _member(member, f"### {member.name}")
    yield ""
    if member.input.kind == "enum":
        yield ", ".join(f"`{word}`" for word in member.input.words)
    for name, kind in member.input.fields:
        yield f"* `{name}`: `{_text(kind)}`"


def _sentence(comment: str) -> str:
    return " ".join(comment.split())


def _text(kind: Type) -> str:
    """Return a type as the description has it."""
    if kind.kind == "struct":
        return f"({', '.join(f'{name}: {_text(of)}' for name, of in kind.fields)})"
    if kind.kind == "enum":
        return f"({', '.join(kind.words)})"
    if kind.of is not None:
        return {"maybe": "?", "list": "[]", "map": "[string]"}[kind.kind] + _text(kind.of)
    return kind.name or kind.kind


if __name__ == "__main__":
    print(page(), end="")
