"""``vm/run``: the machine on this terminal, until it goes off. By default it shows the cards of vm/cards and a login."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from vm import HERE, layer, machine, roots
from vm.kernel import NoMachine
from vm.machine import Setup


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser("vm/run", description="Boot a machine with arje as pid 1; Ctrl-A X ends it at once.")
    made.add_argument("--cards", type=Path, metavar="DIR", default=HERE / "cards", help="its cards (default: vm/cards)")
    made.add_argument("--root", type=Path, metavar="DIR|IMAGE", help="go on to this root: an image, or a copy of DIR")
    made.add_argument("--with-arje", action="store_true", help="put arje and its Python into the copy of --root DIR")
    made.add_argument("--disk", type=Path, action="append", default=[], metavar="IMAGE", help="a disk; may be repeated")
    made.add_argument("--memory", default="512M", metavar="SIZE", help="default: 512M")
    made.add_argument("--cpus", type=int, default=1, metavar="N")
    made.add_argument("--kvm", action="store_true", help="use the processor's own virtualization: many times as fast")
    made.add_argument("--shell", action="store_true", help="no arje: a shell as pid 1's only child")
    made.add_argument("word", nargs="*", help="more words for the kernel's command line: arje.rescue, arje.target=X, …")
    return made


def main(words: list[str]) -> int:
    """Run the machine and return QEMU's exit status; 2 for a wrong word, 77 when there can be no machine."""
    asked = parser().parse_args(words)
    for path in filter(None, (asked.cards, asked.root, *asked.disk)):
        if not path.exists():
            print(f"vm/run: {path}: there is no such file or directory", file=sys.stderr)
            return 2
    if asked.kvm and not machine.has_kvm():
        print("vm/run: --kvm: /dev/kvm is not there, or not for you; without --kvm it is emulated", file=sys.stderr)
        return 77
    try:
        with tempfile.TemporaryDirectory(prefix="arje-vm.") as directory:
            initramfs = Path(directory, "initramfs")
            layer.write(initramfs, layer.of_cards(asked.cards))
            return subprocess.run(machine.command(_setup(asked, initramfs)), check=False).returncode
    except KeyboardInterrupt:
        return 130
    except (NoMachine, OSError) as error:
        print(f"vm/run: {error}", file=sys.stderr)
        return 77
    except subprocess.CalledProcessError as error:
        print(f"vm/run: {error}\n{os.fsdecode(error.stderr or b'')}", file=sys.stderr)
        return 1


def _setup(asked: argparse.Namespace, initramfs: Path) -> Setup:
    line, disks = list(asked.word), list(asked.disk)
    if asked.root is not None:
        made = roots.image_of(asked.root, with_arje=asked.with_arje) if asked.root.is_dir() else asked.root
        disks.insert(0, made)
        line = ["root=/dev/vda", "rw", *line]
    return Setup(
        words=("shell",) if asked.shell else (),
        init="vm.guest.init" if asked.shell else "",
        line=line,
        initramfs=initramfs,
        disks=disks,
        memory=asked.memory,
        cpus=asked.cpus,
        kvm=asked.kvm,
        console="mon:stdio",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
