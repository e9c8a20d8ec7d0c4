"""Whether this is a virtual machine or a container, and of which kind; with the words of systemd-detect-virt(1).

A container is told by what its maker leaves in it: ``container=`` in the environment of PID 1 (the container interface
of systemd), or that maker's own files. A virtual machine is told by its firmware (SMBIOS, in /sys/class/dmi), by the
hypervisor's entry in /sys or the device tree, by the clock that KVM offers its guests, and at last by the processor's
``hypervisor`` bit. Reads only; what may not be read says nothing.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

_FILES: Final = {"/run/.containerenv": "podman", "/.dockerenv": "docker", "/proc/vz": "openvz"}
_DMI: Final = ("product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version")
_VENDORS: Final = {
    "KVM": "kvm",
    "OpenStack": "kvm",
    "KubeVirt": "kvm",
    "Amazon EC2": "amazon",
    "QEMU": "qemu",
    "VMware": "vmware",
    "VMW": "vmware",
    "innotek GmbH": "oracle",
    "VirtualBox": "oracle",
    "Xen": "xen",
    "Bochs": "bochs",
    "Parallels": "parallels",
    "BHYVE": "bhyve",
    "Hyper-V": "microsoft",
    "Apple Virtualization": "apple",
    "Google Compute Engine": "google",
}


@cache
def detect() -> tuple[str, str]:
    """Return what this is (``vm``, ``container`` or empty) and of which kind; a container in a machine is a container."""
    if kind := container():
        return "container", kind
    if kind := machine():
        return "vm", kind
    return "", ""


def container(root: str = "/") -> str:
    """Return the kind of the container that this is, empty when it is none."""
    words = _text(root, "proc/1/environ").split("\0")
    told = next((word.removeprefix("container=") for word in words if word.startswith("container=")), "")
    told = told or os.environ.get("container", "") if root == "/" else told  # noqa: SIM112 - the name is lower case
    told = told or _text(root, "run/systemd/container").strip()
    if told:
        return "podman" if told == "oci" and _there(root, "/run/.containerenv") else told
    for path, kind in _FILES.items():
        if _there(root, path) and not (kind == "openvz" and _there(root, "/proc/bc")):
            return kind
    release = _text(root, "proc/sys/kernel/osrelease")
    if "Microsoft" in release or "WSL" in release:
        return "wsl"
    return ""


def machine(root: str = "/") -> str:
    """Return the kind of the virtual machine that this is, empty when it is none, or ``vm-other``."""
    firmware = [_text(root, f"sys/class/dmi/id/{name}") for name in _DMI]
    found = next((kind for text in firmware for vendor, kind in _VENDORS.items() if text.startswith(vendor)), "")
    processor = _text(root, "proc/cpuinfo")
    if found and (found != "amazon" or _is_guest(processor)):  # Amazon sells bare metal as well
        return found
    if "User Mode Linux" in processor:
        return "uml"
    if _text(root, "sys/hypervisor/type").strip() == "xen" and "control_d" not in _text(root, "proc/xen/capabilities"):
        return "xen"
    tree = _text(root, "proc/device-tree/hypervisor/compatible")
    if tree:
        return "kvm" if "linux,kvm" in tree else "xen" if "xen" in tree else "vm-other"
    if "kvm-clock" in _text(root, "sys/devices/system/clocksource/clocksource0/available_clocksource"):
        return "kvm"
    return "vm-other" if _is_guest(processor) else ""


def _is_guest(processor: str) -> bool:
    """Whether the processor says that a hypervisor is below it (the flags of /proc/cpuinfo)."""
    flags = next((line for line in processor.splitlines() if line.startswith("flags")), "")
    return "hypervisor" in flags.split()


def _there(root: str, path: str) -> bool:
    return os.path.lexists(root.rstrip("/") + path)


def _text(root: str, path: str) -> str:
    try:
        return Path(root, path).read_text(errors="replace")
    except OSError:
        return ""
