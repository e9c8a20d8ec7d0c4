"""``arje doctor [--json]``: what this host can isolate for whoever asks, without any manager. Exit status 0."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys

from arje.ctl import doctor
from arje.ctl.words import Paper
from arje.kernel import cgroup
from arje.kernel.capabilities import CapabilitySet
from arje.kernel.report import as_report


def main_doctor(argv: list[str]) -> int:
    """Look, tell, and leave nothing behind. Returns the exit status."""
    made = argparse.ArgumentParser(prog="arje doctor", description="Tell what this host can isolate, and why not more.")
    made.add_argument("--json", action="store_true", help="a host report, for arjectl plan X --on FILE")
    made.add_argument("--plain", action="store_true", help="no colours")
    options = made.parse_args(argv)
    base = cgroup.find_base(f"arje-doctor-{os.getpid()}")
    try:
        report = as_report(CapabilitySet.detect(base))
    finally:
        if base is not None:
            with contextlib.suppress(OSError):
                base.rmdir()
    if options.json:
        print(json.dumps(report))
    else:
        doctor.show(Paper(sys.stdout, plain=options.plain), report)
    return 0
