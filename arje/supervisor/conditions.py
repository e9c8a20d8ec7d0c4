"""The conditions and asserts of a card, looked at. Everything here may wait for a file: a thread calls it.

Each word of ``card/conditions.py`` is one function from a test's text to whether it holds. What cannot be found out does
not hold; ``!`` before the test turns that round as well.
"""

from __future__ import annotations

import fnmatch
import glob
import grp
import os
import platform
import pwd
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arje.card.card import Card
from arje.card.conditions import COMPARED, OPERATORS, WORDS, Conditions, plain
from arje.card.privileges import CAPABILITIES
from arje.card.sizes import size
from arje.kernel import process, virtualization

_NETLINK_AUDIT: Final = 9  # linux/netlink.h
_SYSTEM_UIDS: Final = 999  # the largest uid of a system's user (useradd(8), SYS_UID_MAX)


@dataclass(frozen=True, slots=True)
class Finding:
    """``false``: the first test that does not hold, in words; empty when all hold. ``asserted``: the card asserts it."""

    false: str = ""
    asserted: bool = False


def look(card: Card) -> Finding:
    """Return whether a card's conditions and asserts hold on this machine as it is now: conditions first."""
    if false := first_false(card.conditions):
        return Finding(false)
    if false := first_false(card.asserts):
        return Finding(false, asserted=True)
    return Finding()


def asked(card: Card) -> str:
    """Return the words that a card tests, for a look that gives no answer."""
    return "; ".join(told(card))


def told(card: Card) -> list[str]:
    """Return every test of a card in words, the asserts last."""
    path = [f"only_if_exists = {card.only_if_exists}"] if card.only_if_exists else []
    return [*path, *_words(card.conditions), *(f"assert {test}" for test in _words(card.asserts))]


def _words(tests: Conditions) -> list[str]:
    found = [f"{name} = {', '.join(texts)}" for name in WORDS if (texts := getattr(tests, name))]
    groups = [" and ".join(_words(group)) for group in tests.any_of]
    return found + ([f"any of: {'; '.join(groups)}"] if groups else [])


def first_false(tests: Conditions) -> str:
    """Return the first test of a table that does not hold, in words; empty when all hold."""
    for name in WORDS:
        for test in getattr(tests, name):
            turned, text = plain(test)
            if _holds(name, text) == turned:
                return f"{name} = {test} is false"
    if tests.any_of:
        wrong = [first_false(group) for group in tests.any_of]
        if all(wrong):
            return f"any_of: {'; '.join(wrong)}"
    return ""


def _holds(name: str, text: str) -> bool:
    try:
        return TESTS[name](text)
    except (OSError, ValueError, KeyError):
        return False


# -- paths -------------------------------------------------------------------------------------------------------------


def exists(path: str) -> bool:
    """Whether there is something at a path; a link that leads nowhere is nothing."""
    try:
        return bool(glob.glob(path)) if glob.has_magic(path) else Path(path).exists()  # noqa: PTH207 - absolute patterns
    except (OSError, ValueError):
        return False


def _filled_directory(path: str) -> bool:
    with os.scandir(path) as entries:
        return any(entries)


def _filled_file(path: str) -> bool:
    found = Path(path).stat()
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def _executable(path: str) -> bool:
    found = Path(path).stat()
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o111)


def _mount_point(path: str) -> bool:
    """Whether something is mounted there: the mount table knows binds too, which os.path.ismount does not."""
    real = os.path.realpath(path)
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return Path(path).exists() and real in (process.unescape(line.split()[4]) for line in lines)


def _read_write(path: str) -> bool:
    return not os.statvfs(path).f_flag & os.ST_RDONLY


# -- the machine -------------------------------------------------------------------------------------------------------


def _command_line(text: str) -> bool:
    words = Path("/proc/cmdline").read_text(errors="replace").split()
    return text in words or ("=" not in text and any(word.partition("=")[0] == text for word in words))


def _virtualization(text: str) -> bool:
    what, kind = virtualization.detect()
    if text in ("yes", "true", "no", "false"):
        return bool(what) == (text in ("yes", "true"))
    return text in (what, kind)


def _compared(text: str, found: Any, read: Callable[[str], Any], alone: str) -> bool:
    """Whether what was found is as a comparison says; a value without an operator has the one called ``alone``."""
    match = COMPARED.fullmatch(text)
    sign, value = (match[1], match[2]) if match else (alone, text)
    return bool(OPERATORS[sign](found, read(value.strip())))


def _version(text: str) -> tuple[int, ...]:
    """Return the numbers that a release begins with: ``6.1.0-18-amd64`` → (6, 1, 0)."""
    numbers = []
    for part in text.partition("-")[0].split("."):
        digits = "".join(c for c in part if c.isdecimal())
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _kernel(text: str) -> bool:
    release = os.uname().release
    if not COMPARED.fullmatch(text):
        return fnmatch.fnmatchcase(release, text)
    found, wanted = _version(release), _version(text.lstrip("<>=! "))
    most = max(len(found), len(wanted))
    padded = found + (0,) * (most - len(found))
    return _compared(text, padded, lambda _: wanted + (0,) * (most - len(wanted)), "==")


def _architecture(text: str) -> bool:
    here = platform.machine()
    return text in ("native", here, here.replace("_", "-"), {"x86_64": "amd64", "aarch64": "arm64"}.get(here, here))


def _host(text: str) -> bool:
    machine_id = _text("/etc/machine-id")
    return fnmatch.fnmatch(os.uname().nodename, text) or (bool(machine_id) and text == machine_id)


def _memory(text: str) -> bool:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _compared(text, total, lambda word: size(int(word) if word.isdecimal() else word, ""), ">=")


def _cpus(text: str) -> bool:
    return _compared(text, len(os.sched_getaffinity(0)), int, ">=")


def _ac_power(text: str) -> bool:
    """On mains when a mains supply is online, or when there is no battery to run on (sysfs-class-power)."""
    supplies = dict[str, list[Path]]()
    for place in Path("/sys/class/power_supply").glob("*"):
        supplies.setdefault(_text(str(place / "type")), []).append(place)
    mains = [place for kind in ("Mains", "USB") for place in supplies.get(kind, ())]
    on = any(_text(str(place / "online")) == "1" for place in mains)
    discharging = any(_text(str(place / "status")) == "Discharging" for place in supplies.get("Battery", ()))
    return (on or not discharging) == (text == "true")


def _first_boot(text: str) -> bool:
    first = _text("/etc/machine-id") in ("", "uninitialized")
    return first == (text == "true")


# -- the manager -------------------------------------------------------------------------------------------------------


def _user(text: str) -> bool:
    uid = os.geteuid()
    if text == "@system":
        return uid <= _SYSTEM_UIDS
    return uid == (int(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid)


def _group(text: str) -> bool:
    gid = int(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    return gid in (os.getegid(), *os.getgroups())


def _capability(text: str) -> bool:
    name = text.lower().removeprefix("cap_")
    bounding = next(line for line in _text("/proc/self/status").splitlines() if line.startswith("CapBnd:"))
    return bool(int(bounding.split()[1], 16) >> CAPABILITIES.index(name) & 1)


def _environment(text: str) -> bool:
    name, equals, value = text.partition("=")
    return name in os.environ and (not equals or os.environ[name] == value)


# -- security ----------------------------------------------------------------------------------------------------------


def _security(text: str) -> bool:
    modules = _text("/sys/kernel/security/lsm").split(",")
    match text:
        case "selinux":
            return Path("/sys/fs/selinux/enforce").exists()
        case "apparmor":
            return _text("/sys/module/apparmor/parameters/enabled") == "Y" or text in modules
        case "smack":
            return Path("/sys/fs/smackfs").is_dir() or text in modules
        case "tomoyo":
            return text in modules
        case "landlock":
            return text in modules
        case "ima":
            return Path("/sys/kernel/security/ima").is_dir()
        case "audit":
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_AUDIT):  # the kernel has it, or refuses
                return True
        case "tpm2":
            return any(_text(str(place)) == "2" for place in Path("/sys/class/tpm").glob("tpm*/tpm_version_major"))
        case "uefi-secureboot":
            name = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
            return Path(f"/sys/firmware/efi/efivars/{name}").read_bytes()[4:5] == b"\x01"
    return False


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


TESTS: Final[dict[str, Callable[[str], bool]]] = {
    "path_exists": exists,
    "directory": lambda path: Path(path).is_dir(),
    "directory_not_empty": _filled_directory,
    "file_not_empty": _filled_file,
    "executable": _executable,
    "symlink": lambda path: Path(path).is_symlink(),
    "mount_point": _mount_point,
    "read_write": _read_write,
    "kernel_command_line": _command_line,
    "virtualization": _virtualization,
    "capability": _capability,
    "user": _user,
    "group": _group,
    "kernel_version": _kernel,
    "architecture": _architecture,
    "host": _host,
    "environment": _environment,
    "memory": _memory,
    "cpus": _cpus,
    "ac_power": _ac_power,
    "first_boot": _first_boot,
    "security": _security,
}
