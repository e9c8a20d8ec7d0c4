"""arje as the first process: what it makes of a bare root, how it ends, what signals mean, what a machine shows that does
not boot. Without a kernel of its own: in namespaces, where reboot(2) ends pid 1 by a signal (pid_namespaces(7))."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from arje.ctl.client import CallError
from arje.kernel import cgroup, process
from tests.conftest import ROOT, Manager, needs_cgroup, sh
from tests.ctl.idl import Interface
from tests.init.machine import Booted, until

Boot = Callable[..., Booted]
SLEEP = sh("exec sleep infinity")
DEAF = sh("trap '' TERM; echo up; while :; do sleep 0.02; done")
OFF, AGAIN = -signal.SIGINT, -signal.SIGHUP  # how a pid namespace's reboot(2) ends its pid 1
RTMIN = int(signal.SIGRTMIN)


def mounted(booted: Booted) -> Counter[str]:
    lines = Path(f"/proc/{booted.pid}/mountinfo").read_text().splitlines()
    return Counter(line.split()[4] for line in lines)


def up(booted: Booted) -> Booted:
    """Wait until all that a boot starts has settled."""
    client = booted.client()
    until(booted, lambda: client.call("Boot")["boot"]["up_s"] is not None)
    client.close()
    return booted


def deaf(booted: Booted) -> Booted:
    """Wait until a service hears no SIGTERM any more."""
    client = up(booted).client()
    until(booted, lambda: client.call("Logs", labels=["deaf"])["lines"])
    client.close()
    return booted


# -- the begin ---------------------------------------------------------------------------------------------------------


def test_a_bare_root_gets_every_file_system_once_and_the_cards_run(container: Boot) -> None:
    booted = up(container({"a": SLEEP}, bare=True))
    places = ("/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/run", "/tmp", "/sys/fs/cgroup")
    found = mounted(booted)
    assert {place: found[place] for place in places} == dict.fromkeys(places, 1)
    assert booted.call("List")["services"][0]["state"] == "running"
    steps = {step["name"]: step["result"] for step in booted.call("Boot")["boot"]["steps"]}
    assert (steps["mount /run"], steps["mount /dev"], steps["loopback"]) == ("done", "skipped", "done")


@pytest.mark.skipif(ROOT.is_relative_to("/tmp"), reason="this checkout lies in /tmp, which is mounted over here")
def test_what_is_mounted_already_is_left_alone(container: Boot) -> None:
    made = "mount -t tmpfs -o mode=755 mine run; mount -t tmpfs mine tmp; : > tmp/kept\n"
    made += "mkdir -p dev/shm; mount --bind tmp dev/shm\n"
    booted = up(container({"a": SLEEP}, furnish=made))
    found = mounted(booted)
    assert (found["/run"], found["/tmp"], found["/dev/shm"], found["/proc"]) == (1, 1, 1, 1)
    assert Path(f"/proc/{booted.pid}/root/tmp/kept").exists()
    steps = {step["name"]: step["result"] for step in booted.call("Boot")["boot"]["steps"]}
    assert steps["mount /run"] == steps["mount /tmp"] == steps["mount /dev/shm"] == "there"


def test_a_manager_that_is_pid_1_is_in_a_leaf_and_its_services_beside_it(container: Boot) -> None:
    booted = up(container({"a": SLEEP}))
    assert Path(f"/proc/{booted.pid}/root/sys/fs/cgroup/arje-manager/cgroup.procs").read_text().split()
    assert booted.call("List", full=True)["services"][0]["cgroup"].endswith("/arje/a")


def test_a_step_that_fails_is_told_and_the_boot_goes_on(machine: Boot) -> None:
    fails = "mkdir -p etc/sysctl.d; echo 'kernel.printk = 3' > etc/sysctl.d/x.conf\n"
    booted = up(machine({"a": SLEEP}, line="arje.nonsense=1", furnish=fails))
    said = booted.said()
    assert re.search(r"arje: boot: set what sysctl.d says: .*kernel/printk: Read-only file system", said)
    assert "the kernel line says 'arje.nonsense=1', which means nothing" in said
    assert booted.call("List", labels=["a"])["services"][0]["state"] == "running"
    told = booted.ctl("boot")
    assert told.returncode == 1
    assert re.search(r"failed +set what sysctl.d says", told.stdout)
    assert re.search(r"^\d+ steps of the boot failed: .*sysctl.*: arjectl boot$", booted.ctl().stdout, re.MULTILINE)


@pytest.mark.parametrize("call", ["mount", "sethostname", "fsync", "sendto:when=1"])
def test_whatever_call_fails_the_machine_boots(machine: Boot, call: str) -> None:
    inject = f"inject={call.replace(':', ':error=EIO:') if ':' in call else call + ':error=EIO'}"
    inside = ("strace", "-D", "-o", "/dev/null", "-e", inject)
    booted = up(machine({"a": SLEEP}, inside=inside, furnish="echo other > etc/hostname\n"))
    assert booted.call("List", labels=["a"])["services"][0]["state"] == "running"


def test_the_status_says_pid_1_and_how_long_the_boot_took(container: Boot) -> None:
    booted = up(container({"a": SLEEP}))
    assert re.match(r"arje \S+  pid 1  running  up \S+  booted in \d+\.\d\d s   1 service", booted.ctl().stdout)


def test_every_reply_is_what_the_interface_says(machine: Boot) -> None:
    interface = Interface((resources.files("arje.control") / "io.arje.Manager.varlink").read_text())
    booted = up(machine({"a": SLEEP}))
    for name, words in (("Boot", {}), ("GetManager", {}), ("Shell", {"label": "rescue"}), ("End", {"way": "halt"})):
        assert list(interface.faults(booted.call(name, **words), interface.methods[name][1], name)) == []
    assert booted.wait() == OFF


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "status"), [("poweroff", OFF), ("halt", OFF), ("reboot", AGAIN), ("exit", 0)])
def test_each_verb_ends_a_container_in_its_way(container: Boot, verb: str, status: int) -> None:
    booted = up(container({"a": SLEEP}))
    assert booted.ctl(verb).returncode == 0
    assert booted.wait() == status
    assert re.search(r"service.*a", booted.said())


def test_sigterm_ends_a_container_well_and_its_main_service_s_code_is_passed_on(container: Boot) -> None:
    booted = up(container({"a": SLEEP}))
    booted.send(signal.SIGTERM)
    assert booted.wait() == 0
    booted = container({"a": sh("exit 7") + "[supervision]\nends_arje = true\n", "b": SLEEP})
    assert booted.wait() == 7


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, AGAIN),
        (signal.SIGPWR, OFF),
        (signal.SIGUSR1, OFF),
        (signal.SIGUSR2, OFF),
        (RTMIN + 3, OFF),
        (RTMIN + 4, OFF),
        (RTMIN + 5, AGAIN),
        (RTMIN + 14, OFF),
        (RTMIN + 15, AGAIN),
    ],
)
def test_each_signal_ends_a_machine_in_its_way(machine: Boot, number: int, status: int) -> None:
    booted = up(machine({"a": SLEEP}))
    booted.send(number)
    assert booted.wait() == status
    assert "stopping" in booted.said()


def test_sigterm_ends_no_machine(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP}))
    booted.send(signal.SIGTERM)
    until(booted, lambda: "a signal that asks for nothing here" in booted.log())
    assert booted.call("Ping")["pid"] == 1


def test_a_card_may_be_what_ctrl_alt_del_and_a_failing_power_mean(machine: Boot) -> None:
    cards = {"a": SLEEP, "ctrl-alt-del": "enabled = false\n" + SLEEP, "sigpwr": "enabled = false\n" + SLEEP}
    booted = up(machine(cards))
    for number, label in ((signal.SIGINT, "ctrl-alt-del"), (signal.SIGPWR, "sigpwr")):
        booted.send(number)
        client = booted.client()
        assert client.call("Wait", labels=[label], until="running")["results"][0]["result"] == "done"
        client.close()
    assert re.search(r"SIG(PWR|INT) from", booted.ctl("why", "sigpwr").stdout)


def test_ctrl_alt_del_again_and_again_does_not_wait(machine: Boot) -> None:
    cards = {"ctrl-alt-del": "enabled = false\n" + SLEEP, "deaf": DEAF + '[supervision]\nstop_timeout = "1h"\n'}
    booted = deaf(machine(cards))
    while booted.process.poll() is None:  # signals of one number that wait are one
        with contextlib.suppress(AssertionError, ProcessLookupError):
            booted.send(signal.SIGINT)
    assert booted.wait() == AGAIN


def test_a_service_that_ignores_sigterm_holds_no_end_beyond_its_time(machine: Boot) -> None:
    booted = deaf(machine({"deaf": DEAF + '[supervision]\nstop_timeout = "4s"\n', "other": SLEEP}))
    began = time.monotonic()
    assert booted.ctl("poweroff").returncode == 0
    assert booted.wait() == OFF
    assert 4 <= time.monotonic() - began < 30
    assert "arje: waiting for deaf: stopping for 3 s" in booted.said()
    assert "other:" not in booted.said()


def test_force_stops_nobody_in_order_and_a_second_wish_with_it_kills_what_holds_up(machine: Boot) -> None:
    card = {"deaf": DEAF + '[supervision]\nstop_timeout = "1h"\n'}
    booted = deaf(machine(card))
    assert booted.ctl("reboot", "--force").returncode == 0
    assert booted.wait() == AGAIN
    booted = deaf(machine(card))
    assert booted.ctl("reboot", "--no-wait").returncode == 0
    refused = booted.ctl("poweroff")
    assert (refused.returncode, refused.stderr) == (
        1,
        "arjectl: poweroff: it reboots already, as uid 0 (from outside of arje's pid namespace) wants it; "
        "--force kills what holds it up\n",
    )
    assert booted.ctl("poweroff", "--force").returncode == 0
    assert booted.wait() == AGAIN


def test_what_no_service_has_is_told_to_go_before_it_is_killed(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP}))
    trap = "trap 'echo told > /mnt/told; exit' TERM; echo up > /mnt/up; while :; do sleep 0.02; done"
    booted.enter(f'setsid sh -c "{trap}" > /dev/null 2>&1 < /dev/null &')
    until(booted, (booted.shared / "up").exists)
    booted.send(signal.SIGUSR2)
    assert booted.wait() == OFF
    assert (booted.shared / "told").read_text() == "told\n"


def test_at_once_asks_no_manager(machine: Boot) -> None:
    booted = deaf(machine({"deaf": DEAF + '[supervision]\nstop_timeout = "1h"\n'}))
    booted.enter(f"{sys.executable} -m arje.ctl reboot --at-once")
    assert booted.wait() == AGAIN
    assert "stopping" not in booted.said()


def test_a_service_whose_end_is_arje_s_switches_a_machine_off(machine: Boot) -> None:
    booted = machine({"a": sh("exit 7") + "[supervision]\nends_arje = true\n"})
    assert booted.wait() == OFF


def test_a_service_that_takes_long_to_start_is_told_of(machine: Boot) -> None:
    slow = "[supervision]\nreadiness = 'notify'\nstart_timeout = '1h'\n"
    booted = machine({"slow": SLEEP + slow, "bad": sh("exit 3") + "[supervision]\nkind = 'one-shot'\n"})
    booted.await_said("arje: waiting for slow: starting for ")
    booted.send(signal.SIGUSR2)
    assert booted.wait() == OFF


def test_what_has_failed_is_told_with_its_reason(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP, "bad": sh("exit 3") + "[supervision]\nkind = 'one-shot'\n"}))
    said = booted.await_said("up after")
    assert re.search(r"arje: bad has failed: exited 3.*\narje: up after \d+\.\d\d s, 1 failed: arjectl\n", said)


def test_a_container_takes_the_kernel_s_words_from_its_command_line(container: Boot) -> None:
    cards = {"a": "enabled = false\n" + SLEEP, "b": SLEEP}
    booted = up(container(cards, "arje.target=a", "splash"))
    assert [each["state"] for each in booted.call("List")["services"]] == ["running", "stopped"]
    booted = container(cards, "arje.target=nobody")
    assert booted.wait() == 1
    assert "no card 'nobody'" in booted.said()


def test_signals_change_what_is_logged(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP}))
    assert "level=debug" not in booted.log()
    booted.send(RTMIN + 22)
    booted.ctl("restart", "a")
    until(booted, lambda: "level=debug" in booted.log())


def test_a_python_that_hangs_holds_no_end(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP}, line="arje.guard=1", env={"HANG": "1"}))
    booted.send(signal.SIGUSR2)
    assert booted.wait() == OFF
    assert "the guard ends this now" in booted.said()


def test_a_thousand_orphans_at_once_are_reaped(container: Boot) -> None:
    script = "for i in $(seq 1000); do (exec setsid sleep 0.2 &) ; done; exec sleep infinity"
    booted = up(container({"a": sh(script)}))
    client = booted.client()
    until(booted, lambda: client.call("GetManager")["manager"]["orphans_reaped"] >= 1000)
    client.close()
    assert booted.call("List")["services"][0]["state"] == "running"


@pytest.mark.parametrize("call", ["umount2", "sync", "mount", "swapoff", "openat"])
def test_whatever_call_fails_the_machine_ends(machine: Boot, call: str) -> None:
    booted = up(machine({"a": SLEEP}, furnish="mkdir data; mount -t tmpfs data data\n"))
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:error=EIO", "-p", str(booted.pid)]
    tracer = subprocess.Popen(words, stderr=subprocess.PIPE)
    until(booted, lambda: int(process.status(booted.pid)["TracerPid"]))
    booted.send(signal.SIGUSR2)
    assert booted.wait() == OFF
    tracer.communicate(timeout=30)


def test_a_machine_that_does_not_go_is_ended_by_the_guard(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP}, line="arje.guard=1"))
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=reboot:error=EIO", "-p", str(booted.pid)]
    tracer = subprocess.Popen(words, stderr=subprocess.PIPE)
    until(booted, lambda: int(process.status(booted.pid)["TracerPid"]))
    booted.send(signal.SIGUSR2)
    assert (
        booted.wait() == 0
    )  # it exits, as nothing else is left: a kernel panics then, and boots again where that is set
    tracer.communicate(timeout=30)
    assert "arje: reboot(2) refuses POWER_OFF: EIO" in booted.said()
    assert "the guard ends this now" in booted.said()


# -- again, and elsewhere ----------------------------------------------------------------------------------------------


def test_a_soft_reboot_begins_user_space_anew_in_the_same_process(machine: Boot) -> None:
    booted = up(machine({"a": sh("echo begin >> /mnt/begins; exec sleep infinity")}))
    assert booted.ctl("soft-reboot").returncode == 0
    booted.await_said("up after", 30)
    until(booted, lambda: booted.said().count("up after") == 2)
    assert (booted.shared / "begins").read_text() == "begin\n" * 2
    assert mounted(booted)["/run"] == 1
    assert booted.process.poll() is None
    booted.send(signal.SIGUSR2)
    assert booted.wait() == OFF


NEXT = """\
mkdir -p next/usr next/dev next/proc next/sys next/run next/sbin next/tmp next/mnt
mount --rbind usr next/usr; for link in bin lib lib64; do ln -s usr/$link next/$link; done
mount --rbind mnt next/mnt
cat > next/sbin/init <<'END'
#!/bin/sh
echo "next: pid $$ $(ls -d /next 2>/dev/null) run=$(ls -d /run/arje)" > /mnt/next
exec /bin/sleep infinity
END
chmod +x next/sbin/init
"""


def test_switch_root_goes_on_in_another_root_with_what_shows_the_kernel(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP}, furnish=NEXT))
    assert booted.ctl("switch-root", "/next").returncode == 0
    until(booted, lambda: (booted.shared / "next").exists() and (booted.shared / "next").read_text())
    assert (booted.shared / "next").read_text() == "next: pid 1  run=/run/arje\n"


def test_a_root_without_an_init_is_refused_before_anything_stops(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP}, furnish="mkdir empty\n"))
    refused = booted.ctl("switch-root", "/empty")
    assert refused.returncode == 1
    assert "/empty has no init that could be executed: looked for /usr/lib/arje/stage0" in refused.stderr
    assert booted.call("List", labels=["a"])["services"][0]["state"] == "running"


def test_a_kernel_that_is_not_loaded_is_not_booted(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP}))
    refused = booted.ctl("kexec")
    assert (refused.returncode, refused.stderr[:40]) == (1, "arjectl: kexec: no kernel is loaded: kex")


def test_a_container_has_no_kernel_and_no_console(container: Boot) -> None:
    booted = up(container({"a": SLEEP}))
    assert "a container has no kernel" in booted.ctl("kexec").stderr
    assert booted.ctl("rescue").returncode == 5


# -- what does not boot ------------------------------------------------------------------------------------------------


def test_a_machine_without_cards_gives_a_shell_and_its_end_tries_again(machine: Boot) -> None:
    booted = machine({})
    booted.await_said("arje: there is no card in ")
    booted.await_said("a rescue shell")
    booted.type("echo 'payload = \"virtual\"' > /etc/arje/cards.d/v.toml; tty; exit\n")
    booted.await_said("/dev/console")
    up(booted)
    assert booted.call("List", labels=["v"])["services"][0]["state"] == "running"


def test_a_machine_whose_cards_are_all_bad_says_what_is_wrong_with_them(machine: Boot) -> None:
    booted = machine({"a": "colour = 1\n" + SLEEP})
    booted.await_said("arje: bad card: /etc/arje/cards.d/a.toml:1: colour: no such field")
    booted.await_said("arje: there is no good card in ")
    booted.await_said("a rescue shell")


def test_one_bad_card_stops_only_itself(machine: Boot) -> None:
    booted = up(machine({"a": "colour = 1\n" + SLEEP, "b": SLEEP}))
    assert booted.call("List", labels=["b"])["services"][0]["state"] == "running"


def test_a_target_that_is_missing_gives_a_shell_and_the_nearest_name(machine: Boot) -> None:
    booted = machine({"servers": 'payload = "virtual"\n'}, line="arje.target=server")
    booted.await_said("no card 'server', which the kernel line wants; did you mean servers?")
    booted.await_said("a rescue shell")


def test_the_kernel_line_chooses_the_target_and_only_that_is_started(machine: Boot) -> None:
    cards = {
        "t": 'payload = "virtual"\nenabled = false\nrequires = ["a"]\n',
        "a": "enabled = false\n" + SLEEP,
        "b": SLEEP,
    }
    booted = up(machine(cards, line="arje.target=t"))
    states = {each["label"]: each["state"] for each in booted.call("List")["services"]}
    assert (states["t"], states["a"], states["b"]) == ("running", "running", "stopped")
    assert states["gettys"] == "running"


def test_single_gives_a_shell_before_the_services_start(machine: Boot) -> None:
    booted = machine({"a": SLEEP}, line="single")
    booted.await_said("a rescue shell; its end goes on with the boot")
    assert booted.call("List", labels=["a"])["services"][0]["state"] == "stopped"
    booted.type("exit\n")
    up(booted)
    assert booted.call("List", labels=["a"])["services"][0]["state"] == "running"


def test_emergency_gives_a_shell_before_there_is_a_manager(machine: Boot) -> None:
    booted = machine({"a": SLEEP}, line="emergency")
    booted.await_said("an emergency shell, as the kernel line wants it")
    booted.type("ls -d /run/arje/io.arje; echo pid1=$(cat /proc/1/comm) tty=$(tty)\n")
    booted.await_said("tty=/dev/console")
    assert "cannot access '/run/arje/io.arje'" in booted.said()
    booted.type("exit\n")
    up(booted)


def test_signals_end_a_machine_that_is_in_its_emergency_shell(machine: Boot) -> None:
    booted = machine({"a": SLEEP}, line="emergency")
    booted.await_said("an emergency shell")
    booted.send(signal.SIGUSR2)
    assert booted.wait() == OFF


def test_an_exception_in_the_boot_gives_a_shell_with_the_reason_and_another_try(machine: Boot) -> None:
    spoilt = "mount -t tmpfs -o mode=755 run run; mkdir run/arje; chmod 777 run/arje\n"
    booted = machine({"a": SLEEP}, furnish=spoilt)
    booted.may_fail = True
    booted.await_said("arje: this boot has failed: /run/arje can be written to by others (mode 777)")
    booted.type("chmod 755 /run/arje; exit\n")
    up(booted)
    assert booted.call("List", labels=["a"])["services"][0]["state"] == "running"


def test_rescue_stops_the_services_and_its_end_starts_them_again(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP, "stays": "ignore_isolate = true\n" + SLEEP}))
    done = booted.ctl("rescue")
    assert done.returncode == 0, done
    states = {each["label"]: each["state"] for each in booted.call("List")["services"]}
    assert (states["a"], states["stays"], states["rescue"]) == ("stopped", "running", "running")
    booted.type("exit\n")
    client = booted.client()
    assert client.call("Wait", labels=["a"], until="running")["results"][0]["result"] == "done"
    client.close()
    assert booted.ctl("emergency").returncode == 0
    assert booted.call("List", labels=["stays"])["services"][0]["state"] == "stopped"


def test_a_console_gets_a_login(machine: Boot) -> None:
    booted = up(machine({"a": SLEEP}))
    booted.await_said("login:")
    assert booted.call("List", labels=["getty@console"])["services"][0]["state"] == "running"


# -- not pid 1 ---------------------------------------------------------------------------------------------------------


def test_a_manager_that_is_not_pid_1_ends_no_machine(manage: Callable[..., Manager]) -> None:
    manager = manage({"a": SLEEP})
    for verb in ("poweroff", "reboot", "halt", "kexec", "soft-reboot", "rescue", "emergency"):
        done = manager.ctl(verb)
        assert done.returncode == 156, done
        assert f"{verb}: that manager is process {manager.process.pid}" in done.stderr
    assert manager.ctl("boot").stdout == "This manager is not pid 1: it booted nothing.\n"
    assert json.loads(manager.ctl("--json", "boot").stdout) is None
    with pytest.raises(CallError, match="InvalidParameter"):
        manager.call("End", way="away")
    assert manager.show("a")["state"] == "running"


def test_exit_ends_any_manager(manage: Callable[..., Manager]) -> None:
    manager = manage({"a": SLEEP})
    assert manager.ctl("exit").returncode == 0
    assert manager.process.wait(30) == 0


def test_an_ordinary_user_may_be_pid_1_of_a_container(place: Path) -> None:
    (place / "cards").mkdir()
    (place / "cards/a.toml").write_text(sh("exit 5") + "[supervision]\nends_arje = true\n")
    spaces = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--pid", "--fork", "--kill-child"]
    words = [*spaces, "--mount", "--mount-proc", sys.executable, "-m", "arje", "--cards", str(place / "cards")]
    env = {"XDG_RUNTIME_DIR": str(place), "HOME": str(place), "PATH": os.environ["PATH"]}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 5, done.stderr
    assert "boot: " not in done.stderr  # what it may not do is the host's business


@needs_cgroup
def test_two_machines_that_share_a_cgroup_leave_each_other_s_services_alone(container: Boot) -> None:
    shared = cgroup.own()
    assert shared is not None
    if (shared / "cgroup.type").exists():
        pytest.skip("only the root of the hierarchy has room for the processes of two beside their services")
    cards = {name: SLEEP for name in "abc"}
    one, other = (up(container(cards, group=shared)) for _ in range(2))
    groups = [each.call("List", full=True)["services"][0]["cgroup"] for each in (one, other)]
    names = [Path(group).parent.name for group in groups]
    assert all(re.fullmatch(r"arje(-\d+)?", name) for name in names)  # others on this host may have the first ones
    assert names[0] != names[1]
    for name, each in zip(names, (one, other), strict=True):
        assert name == "arje" or "this cgroup is another manager's: taking another" in each.said()
    other.send(signal.SIGTERM)
    assert other.wait() == 0
    assert [(each["state"], each["restarts"]) for each in one.call("List")["services"]] == [("running", 0)] * 3
    one.send(signal.SIGTERM)
    assert one.wait() == 0
    assert not [name for name in names if (shared / name).exists()]
