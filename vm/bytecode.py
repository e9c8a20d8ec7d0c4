"""Byte code that needs no check at import: the machine's files have no times, and emulated Python is slow.

Compiles in processes of its own, with a fixed hash seed and a fixed share of the files each, so that it is reproducible:
what marshal writes depends on what else its process has interned.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_SHARES = 4
_UNCHECKED = (1).to_bytes(4, "little")  # PEP 552: hash-based, never compared with the source


def compiled(files: Mapping[str, Path]) -> dict[str, bytes]:
    """Return the byte code of source files, by the path that each has in the machine. Raises CalledProcessError."""
    names = sorted(files)
    workers = []
    for share in range(_SHARES):
        mine = names[share::_SHARES]
        command = [sys.executable, "-S", "-s", __file__]
        environment = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        workers.append((worker, marshal.dumps([(name, os.fspath(files[name])) for name in mine])))
    found: dict[str, bytes] = {}
    for worker, words in workers:  # all are fed before the first is waited for; what they say fits after that only
        assert worker.stdin is not None
        worker.stdin.write(words)
        worker.stdin.close()
    for worker, _ in workers:
        assert worker.stdout is not None
        found |= marshal.loads(worker.stdout.read())
        if worker.wait():
            raise subprocess.CalledProcessError(worker.returncode, worker.args)
    return found


def _compile(name: str, path: str) -> bytes:
    source = Path(path).read_bytes()
    code = compile(source, name, "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code)


def _work() -> None:
    wanted = marshal.loads(sys.stdin.buffer.read())
    sys.stdout.buffer.write(marshal.dumps({name: _compile(name, path) for name, path in wanted}))


if __name__ == "__main__":
    _work()
