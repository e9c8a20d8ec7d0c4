"""The references below docs/ that are made from the models and from the table of verbs."""

from __future__ import annotations

import re
from typing import Final

from arje.card.specifiers import MEANINGS
from arje.ctl.everywhere import GLOBALS
from arje.ctl.exitcodes import meaning
from arje.ctl.verb import GROUPS, KINDS
from arje.ctl.verbs import VERBS
from paper.fields import tables

_MADE: Final = "<!-- Made by `make paper`: do not edit. -->"


def _cell(text: str) -> str:
    """Return text for a cell: its backquotes as Markdown has them, and no bar that would end it."""
    return re.sub(r"``(.+?)``", r"`\1`", text).replace("|", "\\|")


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-")


def card() -> str:
    """Return docs/card.md."""
    found = tables()
    titles = {table.name: "The card itself" if table.name == "Card" else f"[{table.places[0]}]" for table in found}
    lines = [_MADE, "# Every field of a card", ""]
    lines += [
        "A card is TOML; the file's name is the label. Lengths are `200ms`, `5s`, `2m`, `1h`, `1d` or a number of "
        "seconds; sizes `64K`, `256M`, `2G` or a number of bytes. `arje check FILE` tells what is wrong with one, "
        "`arjectl schema` is the same as a JSON schema, `man 5 card` on paper. What a card cannot have here is a "
        "degradation: [isolation](isolation.md).",
        "",
        " · ".join(f"[{title.strip('[]')}](#{_anchor(title)})" for title in titles.values()),
    ]
    for table in found:
        lines += ["", f"## {titles[table.name]}", ""]
        if table.places[1:]:
            lines += [f"Also: {', '.join(f'`{place}`' for place in table.places[1:])}.", ""]
        if table.about:
            lines += [re.sub(r"``(.+?)``", r"`\1`", table.about), ""]
        lines += ["| field | is | default | |", "|---|---|---|---|"]
        for row in table.rows:
            kind = _cell(row.kind)
            for name, title in titles.items():
                kind = re.sub(rf"\btable {name}\b", f"[table](#{_anchor(title)})", kind)
            default = f"`{_cell(row.default)}`" if row.default else ""
            lines.append(f"| `{row.name}` | {kind} | {default} | {_cell(row.about)} |")
    lines += ["", "## Specifiers", "", "In templates, and in cards with a table `variables`.", "", "| | |", "|---|---|"]
    lines += [f"| `%{letter}` | {_cell(about)} |" for letter, about in MEANINGS.items()]
    lines += ["| `%{name}` | the variable of that name |", "| `%%` | a percent sign |", ""]
    return "\n".join(lines)


def arjectl() -> str:
    """Return docs/arjectl.md."""
    lines = [
        _MADE,
        "# Every verb of arjectl",
        "",
        "`arjectl` alone is `arjectl status`. `arjectl VERB --help` tells the same.",
    ]
    for group, title in GROUPS.items():
        verbs = {name: verb for name, verb in VERBS.items() if verb.group == group}
        if verbs:
            lines += ["", f"## {title}", "", "| verb | also | | exits with |", "|---|---|---|---|"]
        for name, verb in verbs.items():
            words = _cell(" ".join([name, *map(str, verb.operands)]))
            options = "".join(f"<br>`{_cell(str(option))}` {_cell(option.help)}" for option in verb.options)
            also = ", ".join(f"`{alias}`" for alias in verb.aliases)
            codes = " ".join(map(str, verb.codes))
            lines.append(f"| `{words}` | {also} | {_cell(verb.help)}{options} | {codes} |")
    lines += ["", "## Options of every verb", "", "| | |", "|---|---|"]
    lines += [f"| `{_cell(str(option))}` | {_cell(option.help)} |" for option in GLOBALS]
    lines += ["", "## What the words in capitals stand for", "", "| | |", "|---|---|"]
    lines += [f"| {kind} | {_cell(about)} |" for kind, about in KINDS.items() if kind not in ("flag", "choice")]
    lines += [
        "",
        "## Exit codes",
        "",
        "| | of verbs that only look | of verbs that change something |",
        "|---|---|---|",
    ]
    of = {
        query: {code for verb in VERBS.values() if verb.query is query for code in verb.codes}
        for query in (True, False)
    }
    for code in sorted(of[True] | of[False]):
        looks, acts = (_cell(meaning(code, query=query)) if code in of[query] else "" for query in (True, False))
        lines.append(f"| {code} | {looks} | {acts} |")
    return "\n".join([*lines, ""])
