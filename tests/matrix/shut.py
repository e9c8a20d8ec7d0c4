"""Run a command as an ordinary user who gets no user namespace: ``python -m tests.matrix.shut UID COMMAND …``.

The machine's own switch stays as it is: this enters a user namespace in which every id exists, and shuts that one.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path


def main() -> None:
    uid, command = int(sys.argv[1]), sys.argv[2:]
    told, tell = os.pipe()
    mapped, go = os.pipe()
    helper = os.fork()
    if helper == 0:  # the one outside, who may write such maps
        os.read(told, 1)
        for name in ("gid_map", "uid_map"):
            Path(f"/proc/{os.getppid()}/{name}").write_text("0 0 4294967295\n")
        os.write(go, b"x")
        os._exit(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000) != 0:  # CLONE_NEWUSER
        raise OSError(ctypes.get_errno(), "unshare")
    os.write(tell, b"x")
    os.read(mapped, 1)
    os.waitpid(helper, 0)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    os.execvp("setpriv", ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command])


if __name__ == "__main__":
    main()
