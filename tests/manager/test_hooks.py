"""The turns of a life: hooks, reloads, watchdogs, health, stops by steps, and what follows a good or a bad end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Manager, needs_root, sh
from tests.manager.test_readiness import FOREVER, py, reload

Manage = Callable[..., Manager]
SLEEP = "exec sleep infinity"


def hooked(manager: Manager, label: str, script: str = SLEEP, rules: str = "", soma: str = "", **hooks: str) -> None:
    """Write a card whose hooks append their name to a file, and then do what they are given."""
    trace = manager.directory / "trace"
    lines = [f'{name} = ["sh", "-c", "echo {name} >> {trace}; {words}"]' for name, words in hooks.items()]
    table = "\n".join(["[hooks]", *lines])
    manager.write(label, sh(script.replace("TRACE", str(trace)), soma) + f"[supervision]\n{rules}\n{table}\n")


def trace(manager: Manager) -> list[str]:
    return (manager.directory / "trace").read_text().split()


def test_hooks_run_at_their_turns(manage: Manage) -> None:
    manager = manage({})
    hooked(
        manager,
        "a",
        f"echo payload >> TRACE; {SLEEP}",
        pre="true",
        post="kill -0 $MAINPID",
        ready="true",
        stop="true",
        cleanup="echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS >> " + str(manager.directory / "result"),
    )
    manager.call("Apply", token="")
    assert manager.settle("a")["state"] == "running"
    assert set(trace(manager)) == {"pre", "payload", "post", "ready"}
    assert trace(manager)[0] == "pre"
    assert trace(manager)[-1] == "ready"
    manager.call("Stop", labels=["a"])
    assert trace(manager)[-2:] == ["stop", "cleanup"]
    assert (manager.directory / "result").read_text() == "signal killed TERM\n"
    assert manager.show("a")["kill_method"] == "signal TERM"


@pytest.mark.parametrize("hook", ["pre", "post"])
def test_a_start_whose_hook_fails_is_none_and_is_cleaned_up(manage: Manage, hook: str) -> None:
    manager = manage({})
    hooked(manager, "a", **{hook: "exit 7", "ready": "true", "cleanup": "true"})
    manager.call("Apply", token="")
    failed = manager.settle("a")
    assert (failed["state"], failed["failure"]["reason"]) == ("failed", "exit-code")
    assert f"hook {hook}" in failed["failure"]["step"]
    assert "exited 7" in failed["failure"]["detail"]
    assert trace(manager) == [hook, "cleanup"]
    assert failed["processes"] == []


def test_a_hook_whose_failure_may_be_ignored_does_not_count(manage: Manage) -> None:
    manager = manage({})
    table = '[hooks]\npre = {exec = "false", ignore_failure = true}\nready = ["false"]\n'
    manager.write("a", sh(SLEEP) + table)
    manager.call("Apply", token="")
    assert manager.settle("a")["state"] == "running"


def test_a_hook_that_takes_too_long_is_killed(manage: Manage) -> None:
    manager = manage({})
    manager.write("a", sh(SLEEP) + '[hooks]\npre = {exec = "sleep", argv = ["1000"], timeout = "200ms"}\n')
    manager.call("Apply", token="")
    failed = manager.settle("a")
    assert (failed["state"], failed["failure"]["reason"]) == ("failed", "timeout")


def test_a_stop_does_not_wait_for_a_hook_longer_than_for_a_stop(manage: Manage) -> None:
    manager = manage({})
    manager.write("a", sh(SLEEP) + '[supervision]\nstop_timeout = "300ms"\n[hooks]\npre = ["sleep", "1000"]\n')
    reload(manager, "a")
    manager.until("a", lambda a: a["doing"].startswith("hook pre: sleep 1000"))
    assert manager.call("Stop", labels=["a"])["results"][0]["result"] == "done"


def test_the_hook_stop_may_end_it(manage: Manage) -> None:
    manager = manage({})
    hooked(manager, "a", stop="kill -USR1 $MAINPID; while kill -0 $MAINPID 2> /dev/null; do :; done")
    manager.call("Apply", token="")
    manager.settle("a")
    manager.call("Stop", labels=["a"])
    stopped = manager.show("a")
    assert (stopped["last_exit"], stopped["kill_method"]) == ("signal USR1", "hook stop")


@needs_root
def test_a_hook_sees_what_its_service_sees(manage: Manage) -> None:
    manager = manage({})
    out = manager.directory / "out"
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    table = '[hooks]\nready = ["sh", "-c", "hostname; id -un; cat /proc/$MAINPID/comm; cat /tmp/mine"]\n'
    soma = 'namespaces = ["pid", "mount", "uts"]\nhostname = "inside"\nrun_as = "nobody"\nprivate_tmp = true'
    manager.write("a", sh(f"echo secret > /tmp/mine; echo up; {SLEEP}", soma) + table)
    card = (manager.cards / "a.toml").read_text()
    manager.write("a", card + "[supervision]\nreadiness = 'log:up'\n")
    manager.call("Apply", token="")
    manager.settle("a")
    assert manager.lines("a") == ["up", "inside", "nobody", "sleep", "secret"]


def test_a_reload_by_signal(manage: Manage) -> None:
    manager = manage(
        {"a": sh("trap 'echo again' HUP; echo up; while :; do sleep 0.05; done") + '[supervision]\nreload = "HUP"\n'}
    )
    manager.await_line("a", "up")
    assert manager.ctl("reload", "a").returncode == 0
    manager.await_line("a", "again")
    assert [moment["state"] for moment in manager.show("a")["history"]][-2:] == ["reloading", "running"]


def test_a_reload_by_a_command_that_fails_is_a_failure_of_the_reload_alone(manage: Manage) -> None:
    manager = manage({"a": sh(SLEEP) + '[supervision]\nreload = ["sh", "-c", "exit 5"]\n'})
    manager.settle("a")
    done = manager.ctl("reload", "a")
    assert done.returncode == 1
    assert "exited 5" in done.stdout
    assert manager.show("a")["state"] == "running"


def test_a_reload_that_is_confirmed_ends_when_the_service_says_so(manage: Manage) -> None:
    script = (
        "import signal\n"
        "def again(*_):\n"
        '    say(f"RELOADING=1\\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")\n'
        '    print("again"); say("READY=1")\n'
        "signal.signal(signal.SIGHUP, again)\n"
        'say("READY=1")\n'
        "while True: signal.pause()\n"
    )
    manager = manage({"a": py(script, 'readiness = "notify"\nreload = {signal = "HUP", confirm = true}')})
    manager.settle("a")
    assert manager.call("Reload", labels=["a"])["results"][0]["result"] == "done"
    assert manager.lines("a") == ["again"]


def test_a_service_may_say_by_itself_that_it_reloads(manage: Manage) -> None:
    script = (
        "import signal\n"
        'signal.signal(signal.SIGUSR1, lambda *_: say("RELOADING=1"))\n'
        'signal.signal(signal.SIGUSR2, lambda *_: say("READY=1"))\n'
        'say("READY=1")\n'
        "while True: signal.pause()\n"
    )
    manager = manage({"a": py(script, 'readiness = "notify"')})
    manager.settle("a")
    manager.call("Kill", labels=["a"], signal="USR1")
    manager.until("a", lambda a: a["state"] == "reloading")
    manager.call("Kill", labels=["a"], signal="USR2")
    manager.until("a", lambda a: a["state"] == "running")


def test_who_cannot_reload_is_told_how_it_could_and_may_be_restarted_instead(manage: Manage) -> None:
    manager = manage({"a": sh(SLEEP), "b": sh(SLEEP, rest="enabled = false")})
    before = manager.settle("a")["pid"]
    done = manager.ctl("reload", "a")
    assert done.returncode == 1
    assert 'supervision.reload = "HUP"' in done.stdout
    assert manager.ctl("reload", "b").returncode == 1 or "not running" in manager.ctl("reload", "b").stdout
    assert manager.ctl("reload-or-restart", "a").returncode == 0
    assert manager.show("a")["pid"] != before
    assert manager.ctl("try-restart", "b").stdout.strip() == "b: not running"
    assert manager.ctl("reload-or-restart", "b").returncode == 0
    assert manager.show("b")["state"] == "running"


def test_who_does_not_feed_its_watchdog_is_aborted_and_starts_again(manage: Manage) -> None:
    script = (
        f'say("READY=1"); print(os.environ["WATCHDOG_USEC"], os.environ["WATCHDOG_PID"] == str(os.getpid())); {FOREVER}'
    )
    rules = 'readiness = "notify"\nwatchdog = "300ms"\nrestart = "on-abnormal"\ninitial = "30s"'
    manager = manage({"a": py(script, rules)})
    again = manager.until("a", lambda a: a["state"] == "backoff")
    assert again["failure"]["reason"] == "watchdog"
    assert again["last_exit"].startswith("signal ABRT")
    assert manager.lines("a")[0] == "300000 True"


def test_who_feeds_its_watchdog_lives(manage: Manage) -> None:
    script = 'say("READY=1")\nfor i in range(12): time.sleep(0.1); say("WATCHDOG=1")\nprint("alive"); ' + FOREVER
    manager = manage({"a": py(script, 'readiness = "notify"\nwatchdog = "1s"')})
    manager.await_line("a", "alive")
    assert manager.show("a")["state"] == "running"


def test_a_service_may_trigger_its_watchdog(manage: Manage) -> None:
    script = f'say("READY=1"); say("WATCHDOG=trigger"); {FOREVER}'
    manager = manage({"a": py(script, 'readiness = "notify"\nwatchdog = "1h"')})
    assert manager.until("a", lambda a: a["state"] == "failed")["failure"]["reason"] == "watchdog"


@pytest.mark.parametrize(("action", "state"), [("restart", "backoff"), ("fail", "failed"), ("tell", "running")])
def test_a_service_that_is_not_well_is_dealt_with_as_its_card_says(manage: Manage, action: str, state: str) -> None:
    manager = manage({})
    flag = manager.directory / "well"
    flag.touch()
    health = f'health = {{exec = ["test", "-e", "{flag}"], interval = "20ms", retries = 2, action = "{action}"}}'
    manager.write("a", sh(SLEEP) + f'[supervision]\nrestart = "always"\ninitial = "30s"\n{health}\n')
    manager.call("Apply", token="")
    assert manager.settle("a")["state"] == "running"
    flag.unlink()
    if action == "tell":
        manager.until("a", lambda a: a["doing"].startswith("unwell, 2"))
        flag.touch()
        manager.until("a", lambda a: a["doing"] == "")
    found = manager.until("a", lambda a: a["state"] == state)
    if action != "tell":
        assert found["failure"]["reason"] == "health"
        assert "2 looks in a row" in found["failure"]["detail"]


def test_a_life_has_an_end_when_the_card_says_so(manage: Manage) -> None:
    manager = manage({"a": sh(SLEEP) + '[supervision]\nmax_lifetime = "200ms"\nrestart = "always"\ninitial = "30s"\n'})
    found = manager.until("a", lambda a: a["state"] == "backoff")
    assert (found["failure"]["reason"], found["last_exit"]) == ("timeout", "signal TERM")


def test_a_stop_goes_through_its_steps(manage: Manage) -> None:
    script = "trap 'echo term' TERM; trap 'echo int; exit 0' INT; echo up; while :; do sleep 0.02; done"
    manager = manage({"a": sh(script) + '[supervision]\nstop = "TERM/0.3 INT/10 KILL"\n'})
    manager.await_line("a", "up")
    manager.call("Stop", labels=["a"])
    assert manager.lines("a") == ["up", "term", "int"]
    assert manager.show("a")["kill_method"] == "signal INT"


def test_a_second_request_goes_on_to_the_next_step(manage: Manage) -> None:
    manager = manage(
        {"a": sh("trap '' TERM; echo up; while :; do sleep 0.02; done") + '[supervision]\nstop_timeout = "1h"\n'}
    )
    manager.await_line("a", "up")
    manager.ctl("stop", "--timeout", "1", "a")
    assert manager.show("a")["doing"] == "TERM sent, 3600 s to go"
    assert manager.call("Stop", labels=["a"])["results"][0]["result"] == "done"
    assert manager.show("a")["last_exit"] == "signal KILL"


def test_a_service_that_says_it_stops_is_let_to(manage: Manage) -> None:
    script = 'say("READY=1"); say("STOPPING=1"); time.sleep(0.2); sys.exit(0)'
    manager = manage({"a": py(script, 'readiness = "notify"')})
    done = manager.until("a", lambda a: a["state"] == "done")
    assert (done["last_exit"], done["kill_method"]) == ("exited 0", "by itself")


def test_a_scripted_service_is_up_from_its_first_script_to_its_second(manage: Manage) -> None:
    manager = manage({})
    hooked(manager, "a", "echo start >> TRACE; sleep 1000 & echo up", 'kind = "scripted"', stop="true", cleanup="true")
    manager.write("b", sh(SLEEP, rest='requires = ["a"]'))
    manager.call("Apply", token="")
    up = manager.settle("b")
    assert up["state"] == "running"
    found = manager.show("a")
    assert found["state"] == "running"
    assert found["cause"]["detail"] == "its payload has ended well"
    assert (found["pid"], found["main"]) == (None, None), "it has ended, and its number may be a stranger's"
    manager.call("Stop", labels=["a"], force=True)
    assert trace(manager) == ["start", "stop", "cleanup"]
    assert manager.show("a")["state"] == "stopped"


def test_a_scripted_service_whose_script_fails_has_failed(manage: Manage) -> None:
    manager = manage({"a": sh("exit 4") + '[supervision]\nkind = "scripted"\n'})
    assert manager.settle("a")["failure"]["reason"] == "exit-code"


@pytest.mark.parametrize(("ending", "runs"), [("exit 1", "bad"), ("exit 0", "good")])
def test_what_a_card_names_for_its_end_is_started(manage: Manage, ending: str, runs: str) -> None:
    once = '[supervision]\nkind = "one-shot"\n'
    manager = manage(
        {
            "a": sh(ending, rest='on_failure = ["bad"]\non_success = ["good"]') + once,
            "bad": sh("true", rest="enabled = false") + once,
            "good": sh("true", rest="enabled = false") + once,
        }
    )
    manager.until(runs, lambda found: found["state"] == "done")
    assert manager.show(runs)["activation"][0]["who"] == "a"
    assert manager.show({"bad": "good", "good": "bad"}[runs])["state"] == "stopped"


def test_endings_by_number_and_name_decide_over_the_rule(manage: Manage) -> None:
    rules = '[supervision]\nrestart = "{}"\ninitial = "30s"\nrestart_on = [7]\nno_restart_on = [8, "KILL"]\n'
    manager = manage(
        {
            "a": sh("exit 7") + rules.format("never"),
            "b": sh("exit 8") + rules.format("always"),
            "c": sh("kill -KILL $$") + rules.format("always"),
            "d": sh("exit 9") + rules.format("always"),
        }
    )
    states = {label: manager.until(label, lambda x: x["state"] in ("backoff", "failed"))["state"] for label in "abcd"}
    assert states == {"a": "backoff", "b": "failed", "c": "failed", "d": "backoff"}
    assert "restart_on has it" in manager.show("a")["cause"]["detail"]


def test_kill_reaches_the_main_process_or_all(manage: Manage) -> None:
    child = "trap 'echo child' USR1; echo up; while :; do sleep 0.02; done"
    script = f"trap 'echo main' USR1; ({child}) & while :; do wait; done"
    manager = manage({"a": sh(script)})
    manager.await_line("a", "up")
    assert manager.ctl("kill", "-s", "USR1", "a").returncode == 0
    manager.await_line("a", "main")
    assert "child" not in manager.lines("a")
    manager.ctl("kill", "a", "--signal", "SIGUSR1", "--whom", "all")
    manager.await_line("a", "child")
    assert manager.ctl("kill", "-s", "NOPE", "a").returncode == 2


def test_a_restart_while_it_is_cleaned_up_comes_after_it(manage: Manage) -> None:
    manager = manage({})
    fifo = manager.directory / "fifo"
    hooked(manager, "a", f"echo payload >> TRACE; {SLEEP}", cleanup=f"test -e {fifo}.go || read x < {fifo}")
    os.mkfifo(fifo)
    manager.call("Apply", token="")
    pid = manager.settle("a")["pid"]
    os.kill(pid, signal.SIGKILL)
    manager.until("a", lambda a: a["doing"].startswith("hook cleanup"))
    assert manager.show("a")["state"] == "stopping"
    asked = threading.Thread(target=manager.ctl, args=("restart", "a"))
    asked.start()
    manager.until("a", lambda a: a["activation"][0]["how"] == "restarted")
    assert manager.show("a")["state"] == "stopping"
    fifo.write_text("\n")  # waits for the clean-up to read
    Path(f"{fifo}.go").touch()
    asked.join()
    assert manager.show("a")["state"] == "running"
    assert manager.show("a")["pid"] != pid


def test_a_file_that_changes_starts_its_service_again(manage: Manage) -> None:
    manager = manage({})
    conf = manager.directory / "a.conf"
    conf.write_text("1")
    manager.write("a", sh(f"cat {conf}; echo; {SLEEP}") + f'[supervision]\non_change = "{conf}"\n')
    manager.call("Apply", token="")
    manager.await_line("a", "1")
    conf.with_suffix(".new").write_text("2")
    conf.with_suffix(".new").rename(conf)
    manager.await_line("a", "2")
    again = manager.until("a", lambda a: a["state"] == "running")
    assert again["failure"] is None
    assert any(f"{conf} has changed" in moment["detail"] for moment in again["history"])


def test_a_file_that_changes_may_be_read_again_instead(manage: Manage) -> None:
    manager = manage({})
    conf = manager.directory / "a.conf"
    script = f"trap 'cat {conf}' HUP; echo up; while :; do sleep 0.02; done"
    table = f'reload = "HUP"\non_change = {{paths = ["{conf}"], action = "reload"}}\n'
    manager.write("a", sh(script) + f"[supervision]\n{table}")
    manager.call("Apply", token="")
    manager.await_line("a", "up")
    pid = manager.show("a")["pid"]
    for text in ("one", "two"):
        conf.write_text(f"{text}\n")
        manager.await_line("a", text)
    assert manager.show("a")["pid"] == pid
