"""What has been imported really runs under arje: Debian's own files where they can run here, else as people write them."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Manager, needs_root
from tests.imports.importing import report_of

Manage = Callable[..., Manager]


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None and not Path(program).exists():
            pytest.skip(f"{program} is not installed")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def imported(source: Path) -> dict[str, str]:
    """Return the cards of a source, which all could be read, by label."""
    report = report_of(source)
    assert report["problems"] == []
    return {card["label"]: card["text"] for card in report["cards"]}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_programs_of_supervisord_run(manage: Manage, place: Path) -> None:
    (place / "site.conf").write_text(
        f"""[supervisord]
environment=STAGE="prod"
[program:one]
command=/bin/sh -c "echo $STAGE $KEY in $PWD; exec sleep 1000"
directory={place}
environment=KEY="a b"
priority=1
[program:two]
command=/bin/sh -c "echo number %(process_num)02d; exec sleep 1000"
process_name=%(program_name)s_%(process_num)02d
numprocs=2
priority=2
[program:once]
command=/bin/sh -c "exit 2"
exitcodes=0,2
[group:all]
programs=one,two
"""
    )
    manager = manage(imported(place / "site.conf"))
    manager.settle("all")
    manager.await_line("one", f"prod a b in {place}")
    manager.await_line("two_01", "number 01")
    assert manager.settle("once")["state"] != "failed"
    assert manager.show("all")["state"] == "running"
    events = [event["label"] for event in manager.call("Events")["events"] if event["after"] == "running"]
    assert events.index("one") < events.index("two_00")


def test_a_service_of_runit_runs_with_its_logger_and_its_finish(manage: Manage, place: Path) -> None:
    need("svlogd")
    service = place / "sv" / "web"
    script(service / "run", '#!/bin/sh\nexec 2>&1\necho to stderr >&2\n[ -n "$X" ] && exit\nexec sleep 1000\n')
    script(service / "finish", f'#!/bin/sh\necho "$1 $2 $PWD" > {place}/finished\n')
    script(service / "check", "#!/bin/sh\nexec test -e ./ready\n")
    script(service / "log" / "run", "#!/bin/sh\nexec svlogd -tt ./main\n")
    (service / "log" / "main").mkdir()
    (service / "ready").touch()
    manager = manage(imported(place / "sv"))
    assert manager.settle("web")["ready"]
    manager.until("web-log", lambda found: (service / "log/main/current").exists() and found["state"] == "running")
    assert manager.ctl("kill", "-s", "KILL", "web").returncode == 0
    manager.until("web", lambda found: (place / "finished").exists() and found["restarts"] == 1)
    assert (place / "finished").read_text() == f"-1 9 {service}\n"
    manager.settle("web")
    assert manager.ctl("stop", "web").returncode == 0
    assert "to stderr" in (service / "log/main/current").read_text()


def test_a_plain_script_of_runit_becomes_a_card_that_runs(manage: Manage, place: Path) -> None:
    service = place / "sv" / "plain"
    script(
        service / "run",
        f"#!/bin/sh\nexec 2>&1\nexport KIND='plain one'\nmkdir -p {place}/made\nulimit -n 77\numask 027\ncd {place}\n"
        "exec chpst -n 3 /bin/sh -c 'echo $KIND $PWD $(ulimit -n) $(umask) $(nice); exec sleep 1000'\n",
    )
    cards = imported(place / "sv")
    assert 'exec = "/bin/sh"' in cards["plain"]
    manager = manage(cards)
    manager.await_line("plain", f"plain one {place} 77 0027 3")
    assert (place / "made").is_dir()


def test_a_service_of_s6_tells_its_readiness_and_is_logged_by_s6_log(manage: Manage, place: Path) -> None:
    need("s6-log", "execlineb")
    service = place / "sv" / "api"
    script(service / "run", "#!/bin/execlineb -P\nfdmove -c 2 1\nexport GREETING hello\n/bin/sh ./main\n")
    script(service / "main", 'echo "$GREETING"\necho >&3\nexec 3>&-\nexec sleep 1000\n')
    (service / "notification-fd").write_text("3\n")
    (service / "down-signal").write_text("SIGINT\n")
    script(service / "log" / "run", "#!/bin/execlineb -P\ns6-log t ./main\n")
    (service / "log" / "main").mkdir()
    manager = manage(imported(place / "sv"))
    found = manager.settle("api")
    assert found["ready"]
    assert found["supervision"]["readiness"].startswith("fd")
    assert manager.ctl("stop", "api").returncode == 0
    assert manager.show("api")["last_exit"] == "signal INT"
    manager.until("api-log", lambda _: "hello" in (service / "log/main/current").read_text())


def test_definitions_of_s6_rc_start_in_their_order(manage: Manage, place: Path) -> None:
    need("execlineb")
    base = place / "rc"
    for name, kind in (("init", "oneshot"), ("db", "longrun"), ("all", "bundle")):
        (base / name).mkdir(parents=True)
        (base / name / "type").write_text(f"{kind}\n")
    (base / "init" / "up").write_text(f"foreground {{ echo setting up }} touch {place}/up\n")
    (base / "init" / "down").write_text(f"rm {place}/up\n")
    script(
        base / "db" / "run", f"#!/bin/sh\ntest -e {place}/up || exit 1\nexec sh -c 'echo db is up; exec sleep 1000'\n"
    )
    (base / "db" / "dependencies").write_text("init\n")
    (base / "all" / "contents").write_text("db\n")
    manager = manage(imported(base))
    assert manager.settle("all")["state"] == "running"
    manager.await_line("db", "db is up")
    assert manager.ctl("stop", "--force", "init").returncode == 0
    assert not (place / "up").exists()


def test_services_of_dinit_run(manage: Manage, place: Path) -> None:
    base = place / "dinit.d"
    base.mkdir()
    (base / "boot").write_text("type = internal\ndepends-on = web\nwaits-for = setup\n")
    (base / "setup").write_text(
        f"type = scripted\ncommand = /usr/bin/touch {place}/up\nstop-command = /bin/rm {place}/up\n"
    )
    (base / "web").write_text(
        f'type = process\ncommand = /bin/sh -c "echo $MODE; echo >&4; exec 4>&-; exec sleep 1000"\nworking-dir = {place}\n'
        f"env-file = {place}/env\nready-notification = pipefd:4\nrestart = yes\nload-options = sub-vars\n"
        "depends-ms = setup\nrlimit-nofile = 64:128\nterm-signal = HUP\nlog-type = buffer\n"
    )
    (place / "env").write_text("MODE=quiet\n")
    os.environ["MODE"] = "quiet"
    try:
        cards = imported(base)
    finally:
        del os.environ["MODE"]
    manager = manage(cards)
    assert manager.settle("boot")["state"] == "running"
    manager.await_line("web", "quiet")
    assert (place / "up").exists()
    assert manager.ctl("stop", "--force", "web").returncode == 0
    assert manager.show("web")["last_exit"] == "signal HUP"


@needs_root
def test_a_script_of_openrc_runs_without_openrc(manage: Manage, place: Path) -> None:
    script(
        place / "init.d" / "cached",
        f"""#!/sbin/openrc-run
description="A cache"
command=/bin/sh
command_args="-c 'trap \\"echo reloaded\\" HUP; echo up \\$SIZE; while :; do sleep 0.05; done'"
command_background=true
pidfile=/run/cached.pid
extra_started_commands="reload"
: ${{SIZE:=64}}
start_stop_daemon_args="--env SIZE=$SIZE"
depend() {{
	use net
}}
start_pre() {{
	checkpath -d -m 0750 -o nobody:nogroup {place}/made || return 1
	checkpath -fm 0600 {place}/made/file
	ebegin "size $SIZE"
	eend $?
}}
stop_post() {{
	rm -r {place}/made
}}
reload() {{
	start-stop-daemon --signal HUP --pidfile $pidfile
}}
""",
    )
    (place / "conf.d").mkdir()
    (place / "conf.d" / "cached").write_text('SIZE="128"\n')
    manager = manage(imported(place / "init.d"))
    manager.await_line("cached", "up 128")
    made = (place / "made").stat()
    assert (made.st_mode & 0o777, made.st_uid) == (0o750, 65534)
    assert ((place / "made/file").stat().st_mode & 0o777) == 0o600
    assert manager.ctl("reload", "cached").returncode == 0
    manager.await_line("cached", "reloaded")
    assert manager.ctl("stop", "cached").returncode == 0
    assert not (place / "made").exists()


@needs_root
def test_debians_own_script_for_redis_starts_and_stops_it(manage: Manage, place: Path) -> None:
    need("/etc/init.d/redis-server", "redis-server", "start-stop-daemon")
    port = free_port()
    conf = place / "redis.conf"
    conf.write_text(
        f"port {port}\nbind 127.0.0.1\ndaemonize yes\npidfile {place}/redis/redis-server.pid\n"
        f'save ""\ndir {place}\nlogfile ""\n'
    )
    text = Path("/etc/init.d/redis-server").read_text()
    text = text.replace("/etc/redis/redis.conf", str(conf)).replace("/run/redis", f"{place}/redis")
    text = text.replace("redis:redis", "nobody:nogroup").replace("/etc/default/", f"{place}/")
    script(place / "init.d" / "redis-server", text)
    manager = manage(imported(place / "init.d"))
    found = manager.settle("redis-server")
    assert found["state"] == "running", manager.lines("redis-server")
    assert found["description"] == "redis-server - Persistent key-value db"
    manager.until("redis-server", lambda _: _answers(port))
    assert manager.ctl("stop", "redis-server").returncode == 0
    assert not _answers(port)


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@needs_root
def test_a_service_of_compose_runs_in_the_files_of_its_image(manage: Manage, place: Path) -> None:
    need("/bin/busybox")
    (place / "token").write_text("secret\n")
    (place / "compose.yaml").write_text(
        """services:
  web:
    image: busybox
    entrypoint: ["/bin/busybox", "sh", "-c"]
    command: ["/bin/busybox cat /etc/hosts /run/secrets/token; echo $$WHO in $$PWD; exec /bin/busybox sleep 1000"]
    working_dir: /tmp
    environment: {WHO: "me: really"}
    tmpfs: /tmp
    secrets: [token]
    restart: always
    read_only: true
    depends_on: [db]
    healthcheck: {test: ["CMD", "/bin/busybox", "true"], interval: 5s}
  db:
    image: busybox
    command: /bin/busybox sleep 1000
secrets:
  token: {file: ./token}
"""
    )
    root = place / "root"
    for name in ("bin", "etc", "run/secrets", "tmp", "proc", "dev", "sys"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("etc/hosts", "run/secrets/token"):
        (root / name).touch()
    cards = imported(place / "compose.yaml")
    skipped = manage({label: f"{text}" for label, text in cards.items()})
    assert "directory_not_empty" in str(skipped.settle("web")["cause"]["detail"])
    manager = manage({label: text.replace("/var/lib/arje/roots/busybox", str(root)) for label, text in cards.items()})
    assert manager.settle("web")["state"] == "running", manager.show("web")["failure"]
    for text in ("127.0.0.1 localhost web db", "secret", "me: really in /tmp"):
        manager.await_line("web", text)


def test_a_procfile_runs(manage: Manage, place: Path) -> None:
    (place / "Procfile").write_text('web: echo on $PORT from $ORIGIN; exec sleep 1000\nclock: /bin/sleep "1000"\n')
    (place / ".env").write_text("ORIGIN=here\n")
    manager = manage(imported(place / "Procfile"))
    manager.await_line("web", "on 5000 from here")
    assert manager.settle("clock")["command"][0] == "/bin/sleep"


@pytest.mark.parametrize(
    "package", ["/etc/init.d", "/usr/lib/python3/dist-packages/supervisor/tests/fixtures", "/etc/sv"]
)
def test_what_debian_ships_here_is_read(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    need(package)
    monkeypatch.setenv("FOO", "1")
    monkeypatch.setenv("CMDNAME", "sleep")
    report = report_of(Path(package))
    wrong = [problem for problem in report["problems"] if "has no value here" not in problem["message"]]
    assert wrong == []
    if any(Path(package).iterdir()):
        assert report["findings"]
