"""The .deb: it installs on a Debian that has nothing but Python, runs, and leaves nothing after a purge."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.packaging.conftest import Box
from tests.test_linters import need

CARD = """description = "stays"
[payload]
exec = "/bin/sleep"
argv = ["infinity"]
[soma]
namespaces = ["mount", "pid"]
"""
#: A manager as long as the verbs take.
RUN = """
mkfifo /tmp/ready
arje --ready-fd 9 9>/tmp/ready 2>/tmp/log & manager=$!; read -r _ </tmp/ready
{verbs}
kill $manager; wait $manager; echo "ended $?"
rm /tmp/ready /tmp/log
"""


def installed(box: Box, package: Path) -> Box:
    box.copy(package, "/tmp/arje.deb")
    box.sh("dpkg --force-unsafe-io -i /tmp/arje.deb && rm /tmp/arje.deb")
    return box


def test_it_installs_and_runs_a_manager_for_the_system_and_for_a_user(box, package) -> None:
    debian = installed(box("python"), package)
    verbs = "arjectl wait still --for running >/dev/null; arjectl --json status; arjectl version"
    said = debian.sh(f"cat >/etc/arje/cards.d/still.toml <<'END'\n{CARD}\nEND\n{RUN.format(verbs=verbs)}")
    table, version, ended = said.strip().splitlines()
    assert [service["state"] for service in json.loads(table)["services"]] == ["running"]
    assert json.loads(table)["manager"]["mode"] == "system"
    assert version.startswith("arjectl ")
    assert ended == "ended 0"


def test_a_purge_leaves_nothing(box, package) -> None:
    debian = box("python")
    debian.sh("apt-mark showmanual >/dev/null; ls /etc >/dev/null")
    before = debian.files()
    installed(debian, package)
    debian.sh(f"cat >/etc/arje/cards.d/mine.toml <<'END'\n{CARD}\nEND\n{RUN.format(verbs='arjectl disable mine')}")
    assert {"/var/cache/arje/cards.cache", "/etc/arje/cards.d/mine.toml"} <= debian.files()
    assert any("__pycache__" in path for path in debian.files())  # compiled where it was installed
    debian.sh("dpkg --force-unsafe-io --purge arje")
    left = {path for path in debian.files() - before if not path.startswith(("/var/lib/dpkg/", "/var/log/"))}
    assert left <= {"/etc/resolv.conf", "/etc/profile.d", "/var/cache/ldconfig/aux-cache"}, left
    assert "arje" not in debian.sh("dpkg -l; find / -xdev -name '*arje*' -not -path '/proc/*'")


def test_it_is_not_removed_from_under_a_system_that_it_is_process_1_of(box, package) -> None:
    debian = installed(box("python"), package)
    said = debian.sh("mkdir /run/arje; echo 1 >/run/arje/lock; dpkg --remove arje 2>&1 || true; rm -r /run/arje")
    assert "boot another init first" in said
    assert "arje" in debian.sh("dpkg -l arje")


def test_the_commands_look_for_modules_in_their_own_tree_and_the_standard_library_alone(box, package) -> None:
    debian = installed(box("python"), package)
    said = debian.sh(
        """
own=/root/.local/lib/python3.11/site-packages
mkdir -p $own /usr/lib/python3/dist-packages
for d in $own /usr/lib/python3/dist-packages /tmp; do echo 'raise SystemExit(9)' >$d/json.py; done
echo 'raise SystemExit(9)' >/usr/lib/python3/dist-packages/trio.py
cd /tmp; PYTHONPATH=/tmp arjectl version; PYTHONPATH=/tmp arje --version
python3 -IS -c 'import sys; sys.path.insert(0, "/usr/lib/arje/python"); import trio, arje.native; print(trio.__file__)'
"""
    )
    assert said.splitlines()[-1] == "/usr/lib/arje/python/trio/__init__.py"
    assert len(said.splitlines()) == 3


#: The maintainer has no address yet.
_NOBODY = ("--suppress-tags", "bogus-mail-host,bogus-mail-host-in-debian-changelog")


def test_lintian_has_nothing_to_say(package) -> None:
    lintian = need("lintian")
    words = [lintian, "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", *_NOBODY, str(package)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_built_the_same_each_time(package, monkeypatch, tmp_path) -> None:
    from ship import deb

    first = package.read_bytes()
    monkeypatch.setattr(deb, "DIST", tmp_path)
    (tmp_path / package.parent.name).mkdir()
    assert deb.build().read_bytes() == first
