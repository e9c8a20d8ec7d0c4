"""The man pages. What a table in the code says is taken from there; the rest is written here."""

from __future__ import annotations

import argparse
from typing import Final

from arje import paths
from arje.card.specifiers import MEANINGS
from arje.ctl.everywhere import GLOBALS
from arje.ctl.exitcodes import meaning
from arje.ctl.verb import GROUPS, KINDS, Option
from arje.ctl.verbs import VERBS
from arje.init import kernel_line, run, run_limits
from arje.init import main as manager
from paper.fields import ANCESTORS, tables
from paper.roff import Page

_EXAMPLE: Final = """description = "Front end"
requires = ["db"]

[payload]
exec = "/usr/bin/python3"
argv = ["-m", "http.server", "8080"]

[soma]
namespaces = ["mount", "pid", "ipc"]
run_as = "nobody"
no_new_privs = true

[supervision]
readiness = "tcp:127.0.0.1:8080"
restart = "on-failure"
"""


def card() -> str:
    """Return card(5)."""
    page = Page("card", 5, "a service of arje, and the body that it runs in")
    page.section("DESCRIPTION")
    page.text(
        "A card is a file that describes one service for arje(8): what runs (`payload`), what surrounds it (`soma`), "
        "and how it is kept (`supervision`). It is TOML; the file's name without `.toml` is the label. `arje check "
        "FILE` tells every problem of a card with file, line, field and remedy, and `arjectl schema` prints a JSON "
        "schema for editors.",
        "A unit of length is written `200ms`, `5s`, `2m`, `1h` or `1d`, a plain number is seconds. A size is written "
        "`64K`, `256M` or `2G`, a plain number is bytes.",
    )
    page.code(_EXAMPLE)
    page.section("FILES")
    page.text("Of several cards with one name that in the later directory counts:")
    for title, directories in (("of the system's manager", paths.SYSTEM_CARDS), ("of a user's own", _user_cards())):
        page.item(title, " ".join(f"`{directory}`" for directory in directories))
    page.item(
        "NAME.card.d/*.toml", "Drop-ins: what they say goes over the card of that name, in the order of their names."
    )
    page.item("NAME@.toml", "A template: `NAME@x` is the card with `%i` as `x`; see `copies` and `instances`.")
    page.item("NAME.toml that is empty, or a link to /dev/null", "The card is masked: nothing starts the service.")
    for table in tables():
        place = "FIELDS OF THE CARD ITSELF" if table.name == "Card" else f"[{table.places[0]}]"
        page.section(place)
        if table.name != "Card":
            also = f" Also: {', '.join(f'`{each}`' for each in table.places[1:])}." if table.places[1:] else ""
            page.text(f"Table {table.name}.{also} {table.about}")
        for row in table.rows:
            default = f"; default: {row.default}" if row.default else ""
            page.item(row.name, f"{row.kind}{default}", row.about)
    page.section("SPECIFIERS")
    page.text("In templates, and in cards with a table `variables`, texts may have:")
    for letter, about in MEANINGS.items():
        page.item(f"%{letter}", about)
    page.item("%{name}", "the variable of that name")
    page.item("%%", "a percent sign")
    page.section("NOTES")
    page.text(
        f"The fields {', '.join(f'`{name}`' for name in ANCESTORS)} are those of arje's ancestor, whose JSON cards "
        "are read as well; arje keeps and shows them, and does nothing else with them."
    )
    page.see(["arje(8)", "arjectl(1)", "arje-run(1)"])
    return str(page)


def _user_cards() -> tuple[str, ...]:
    return (
        "/usr/lib/arje/user-cards.d",
        "~/.local/share/arje/cards.d",
        "$XDG_RUNTIME_DIR/arje/cards.d",
        "/etc/arje/user-cards.d",
        "~/.config/arje/cards.d",
    )


def arjectl() -> str:
    """Return arjectl(1)."""
    page = Page("arjectl", 1, "look at the services of arje, and change them")
    page.section("SYNOPSIS")
    page.code("arjectl [OPTION...] [VERB [OPERAND...]]\narjectl SERVICE... VERB [OPTION...]")
    page.section("DESCRIPTION")
    page.text(
        "arjectl asks a manager, arje(8), over its socket. Without a verb it shows the table of services. Verbs that "
        "change something wait for it, print a line for each service that changed, and exit as the section EXIT "
        "STATUS says. Operands may be patterns (`web@*`), or `all`."
    )
    page.text("Without a terminal there are no glyphs and no colours; `NO_COLOR` takes the colours away on one.")
    page.section("OPTIONS OF EVERY VERB")
    _options(page, GLOBALS)
    page.section("VERBS")
    for group, title in GROUPS.items():
        verbs = {name: verb for name, verb in VERBS.items() if verb.group == group}
        if verbs:
            page.sub(title)
        for name, verb in verbs.items():
            words = " ".join([name, *(["[OPTION...]"] if verb.options else []), *map(str, verb.operands)])
            also = f" Also: {', '.join(f'`{alias}`' for alias in verb.aliases)}." if verb.aliases else ""
            page.item(words, f"{verb.help[:1].upper()}{verb.help[1:]}.{also}", f"Exits with {_codes(verb.codes)}.")
            for option in verb.options:
                page.lines += [".RS"]
                page.item(str(option), _about(option))
                page.lines += [".RE"]
    page.section("OPERANDS AND VALUES")
    page.text("What the words in capitals above stand for:")
    for kind in _kinds():
        page.item(kind, KINDS[kind])
    page.section("EXIT STATUS")
    for title, query in (("of verbs that only look", True), ("of verbs that change something", False)):
        page.sub(title)
        codes = sorted({code for verb in VERBS.values() if verb.query is query for code in verb.codes})
        for code in codes:
            page.item(str(code), meaning(code, query=query))
    page.text("130: interrupted by Ctrl-C.")
    page.section("ENVIRONMENT")
    page.item(paths.SOCKET_VARIABLE, "The socket that is asked when no option names one.")
    page.item(
        "XDG_RUNTIME_DIR", "The user's own manager is asked when its socket `arje/io.arje` is there, else the system's."
    )
    page.item("NO_COLOR", "When it is set and not empty, nothing is coloured.")
    page.section("FILES")
    page.item(str(paths.socket_of(paths.SYSTEM_RUNTIME)), "the socket of the system's manager")
    page.item("$XDG_RUNTIME_DIR/arje/io.arje", "that of a user's own; /tmp/arje-UID/io.arje without XDG_RUNTIME_DIR")
    page.see(["arje(8)", "card(5)", "arje-run(1)", "arje-login(1)"])
    return str(page)


def _codes(codes: tuple[int, ...]) -> str:
    *first, last = map(str, codes)
    return f"{', '.join(first)} or {last}" if first else last


def _kinds() -> list[str]:
    used = {operand.kind for verb in VERBS.values() for operand in verb.operands}
    used |= {option.kind for verb in VERBS.values() for option in verb.options} | {option.kind for option in GLOBALS}
    return [kind for kind in KINDS if kind in used and kind not in ("flag", "choice", "text")]


def _options(page: Page, options: tuple[Option, ...]) -> None:
    for option in options:
        page.item(str(option), _about(option))


def _about(option: Option) -> str:
    return f"{option.help[:1].upper()}{option.help[1:]}."


def _parser(page: Page, parser: argparse.ArgumentParser) -> None:
    """Tell the options of a parser of the standard library's, a part for each of its groups."""
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help is not argparse.SUPPRESS]
        if not actions:
            continue
        if group.title not in ("options", "positional arguments"):
            page.sub(str(group.title))
        for action in actions:
            name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
            word = f" {action.metavar}" if action.metavar and action.option_strings else ""
            about = " ".join(str(action.help).replace("%%", "%").split())
            page.item(f"{name}{word}", f"{about[:1].upper()}{about[1:]}.")


def arje() -> str:
    """Return arje(8)."""
    page = Page("arje", 8, "init and service supervisor whose isolation is verified and reported")
    page.section("SYNOPSIS")
    page.code(
        "arje [OPTION...]\narje run [OPTION...] -- COMMAND...\narje check FILE|DIR...\narje doctor [--json]\n"
        "arje replay FILE [--json]"
    )
    page.section("DESCRIPTION")
    page.text(
        "arje starts the services that cards describe (card(5)), keeps them, and ends them in order. What a card "
        "asks for is read back from the kernel; for every difference there is one typed reason with its remedy. It "
        "is the system's manager when root starts it without `--user`, a user's own otherwise, and process 1 of a "
        "container when it is the container's entry point. arjectl(1) is the hand on it.",
        "One manager at a time has a runtime directory: another one for the same directory says so and ends.",
    )
    page.section("OPTIONS")
    _parser(page, manager.parser())
    page.section("COMMANDS")
    page.item("run", "One command in a sandbox, its exit status passed on: arje-run(1).")
    page.item(
        "check FILE|DIR...", "Every problem of every card, with file, line, field and remedy. Exits with 1 for any."
    )
    page.item(
        "doctor [--json]", "What this host can isolate for whoever asks, without a manager; each no with its remedy."
    )
    page.item("replay FILE [--json]", "Play what `--record` has written, in virtual time, and tell what differs.")
    page.section("SIGNALS")
    page.item("TERM, INT", "Stop every service in order, and end. A second one kills what is left.")
    page.item("HUP", "Take the cards on disk, as `arjectl apply` does.")
    page.section("AS PROCESS 1")
    page.text(
        "As the first process of a machine arje mounts what is missing, sets the host up, starts the services, and "
        "ends the machine in order; whatever goes wrong is told on the console and ends in a shell there. As the "
        "first process of a container it does what the container lets it, and TERM ends the container. The kernel "
        "hands it the words of its command line that it does not know itself, a container's maker its arguments:",
    )
    for words, about in _kernel_words():
        page.item(words, f"{about[:1].upper()}{about[1:]}.")
    page.section("EXIT STATUS")
    for code, about in (
        ("0", "Stopped in order. `check`: no problem. `replay`: the same again."),
        (
            "1",
            "It could not do its work: another manager runs, a directory cannot be trusted; its last line says what.",
        ),
        ("2", "The command line is wrong. `replay`: no recording."),
        (
            "any",
            "That of a service with `supervision.ends_arje`, which ended for good: 128 and its number for a signal.",
        ),
    ):
        page.item(code, about)
    page.section("ENVIRONMENT")
    page.item("XDG_RUNTIME_DIR, XDG_STATE_HOME, XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_CACHE_HOME", "As in FILES.")
    page.section("FILES")
    for system, user, about in (
        (
            "/run/arje",
            "$XDG_RUNTIME_DIR/arje",
            "socket, lock and logs; the user's is /tmp/arje-UID without the variable",
        ),
        ("/var/lib/arje", "~/.local/state/arje", "what outlives the manager"),
        ("/var/cache/arje", "~/.cache/arje", "the cards as they were last read"),
        (" ".join(map(str, paths.SYSTEM_CARDS)), " ".join(_user_cards()), "cards, the later over the earlier"),
    ):
        page.item(f"{system}; {user}", f"{about[:1].upper()}{about[1:]}.")
    page.see(["arjectl(1)", "card(5)", "arje-run(1)", "arje-login(1)"])
    return str(page)


def _kernel_words() -> list[tuple[str, str]]:
    """Return the words of the kernel command line, as the table in kernel_line.py has them."""
    _, rule, rows = (kernel_line.__doc__ or "").partition("====\n")
    column = len(rule) and (kernel_line.__doc__ or "").split("\n==", 1)[1].index(" ") + 4
    found: list[list[str]] = []
    for line in rows.partition("\n====")[0].splitlines():
        name, about = line[:column].strip(), line[column:].strip()
        if about or not found:
            found.append([name, about])
        else:
            found[-1][0] += f" {name}"
    return [(name.replace("`", ""), about.replace("paths.SYSTEM_CARDS", "FILES")) for name, about in found]


def arje_run() -> str:
    """Return arje-run(1)."""
    page = Page("arje-run", 1, "run one command in a sandbox that is verified")
    page.section("SYNOPSIS")
    page.code("arje run [OPTION...] [--] COMMAND [ARGUMENT...]")
    page.section("DESCRIPTION")
    page.text(
        "arje run starts the command in a body that the options, or the `soma` of a card, describe; no manager is "
        "needed. What was asked for and not granted goes to standard error, a line each. Signals are passed on, and "
        "when the command has ended nothing of it is left."
    )
    page.section("OPTIONS")
    _parser(page, run.parser())
    page.section("EXIT STATUS")
    for code, about in (
        ("the command's", "128 and the number for a signal."),
        (str(run.USAGE), "The command line or the card is wrong, or it cannot work on any machine."),
        (str(run_limits.TIMED_OUT), "`--timeout` ended it."),
        (str(run.BROKEN), "The set-up failed."),
        (str(run.NOT_FOUND), "The command was not found."),
        (str(run.REFUSED), "Isolation that is required cannot be had."),
    ):
        page.item(code, about)
    page.section("EXAMPLES")
    page.code(
        "arje run --unshare mount,pid,ipc --private-tmp -- make\n"
        "arje run --plan --net none --ro-bind /usr -- /usr/bin/id\n"
        "arje run --timeout 5s --rlimit nofile=64 -- ./untrusted"
    )
    page.see(["arje(8)", "card(5)", "arjectl(1)"])
    return str(page)


def arje_login() -> str:
    """Return arje-login(1)."""
    page = Page("arje-login", 1, "keep a user's manager from the first login to the last")
    page.section("SYNOPSIS")
    page.code("arje-login PID")
    page.section("DESCRIPTION")
    page.text(
        "arje-login starts `arje --user` when none runs, sleeps until the process PID, a login's session, has ended, "
        "and stops the manager when that was the last login. A manager that somebody else has started is left alone. "
        "/etc/profile.d/arje.sh runs it for those who have a directory `~/.config/arje/cards.d`; the output of the "
        "manager is in `manager.log` in its runtime directory.",
        "It is for machines without `systemd --user`; there the unit does the same: `systemctl --user enable arje`.",
    )
    page.section("EXIT STATUS")
    page.item("0", "The session has ended, and the manager with it if it was the last.")
    page.item("1", "The runtime directory belongs to somebody else.")
    page.item("2", "The command line is wrong.")
    page.see(["arje(8)", "arjectl(1)"])
    return str(page)
