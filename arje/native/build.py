"""Builds the trampoline: cffi in API mode over the C files beside this one, with the static reaper inside it.

``abi.h`` and ``functions.h`` are read twice, by the C compiler and by cffi, so that Python and C cannot disagree about
a layout. ``CC`` names the compiler, as everywhere. Raises ``subprocess.CalledProcessError`` when the compiler refuses.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
#: What runs in the child: it may call nothing but itself (tests/native checks its symbols).
CHILD = (
    "child.c",
    "given.c",
    "ops.c",
    "mounts.c",
    "places.c",
    "trees.c",
    "filesystems.c",
    "inject.c",
    "network.c",
    "scheduling.c",
    "ids.c",
    "privileges.c",
    "filters.c",
    "facts.c",
)
SOURCES = (*CHILD, "spawn.c", "linux.c", "spares.c", "notices.c", "libseccomp.c", "machine.c")

#: No stack protector and no loop-to-memset: gcc must not make calls in the child's path either.
FLAGS = (
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-fno-stack-protector",
    "-fno-tree-loop-distribute-patterns",
    "-U_FORTIFY_SOURCE",
)
REAPER_FLAGS = (
    "-Os",
    "-ffreestanding",
    "-static",
    "-nostdlib",
    "-fno-pie",
    "-no-pie",
    "-fno-asynchronous-unwind-tables",
)


def reaper_image() -> bytes:
    """Compile the reaper to a static executable and return its bytes."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    with tempfile.TemporaryDirectory() as directory:
        image = Path(directory, "reaper")
        flags = [*FLAGS, *REAPER_FLAGS, "-s", "-Wl,--build-id=none", "-Wl,-z,noexecstack"]
        subprocess.run([compiler, *flags, str(HERE / "reaper.c"), "-o", str(image)], check=True)
        return image.read_bytes()


def declarations() -> str:
    """Return the two headers as cffi reads them: no comments of the preprocessor's, no includes."""
    return "".join(Path(HERE, name).read_text() for name in ("abi.h", "functions.h"))


def make() -> FFI:
    """Return the builder that setuptools (``cffi_modules``) runs."""
    builder = FFI()
    image = reaper_image()
    builder.cdef(declarations() + "\nextern const unsigned char arje_reaper_image[];\n#define ARJE_REAPER_SIZE ...\n")
    numbers = ",".join(str(byte) for byte in image)
    builder.set_source(
        "arje.native._native",
        "#include <stdint.h>\n"
        '#include "abi.h"\n#include "functions.h"\n'
        f"#define ARJE_REAPER_SIZE {len(image)}\n"
        f"const unsigned char arje_reaper_image[] = {{{numbers}}};\n",
        sources=[os.path.relpath(HERE / name) for name in SOURCES],
        include_dirs=[str(HERE)],
        depends=[str(HERE / name) for name in ("abi.h", "functions.h", "raw.h", "child.h", "ops.h", "places.h")],
        extra_compile_args=list(FLAGS),
        extra_link_args=["-Wl,-z,now", "-ldl"],
    )
    return builder


ffi = make()

if __name__ == "__main__":
    ffi.compile(tmpdir=str(HERE.parent.parent), verbose=False)
