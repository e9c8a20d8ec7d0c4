"""Paper: the man pages, the card reference and the pictures, made from the models, the verb table and the state table.

``python -m paper`` (``make paper``) writes all of it below docs/; ``python -m paper --check`` tells what is no longer true.
The screenshot is of a real run, and is made only when asked for: ``python -m paper screen``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent


def outputs() -> dict[str, Callable[[], str]]:
    """Return every file that is made from code, and what makes it."""
    from paper import markdown, pages, states

    return {
        "docs/man/arje.8": pages.arje,
        "docs/man/arjectl.1": pages.arjectl,
        "docs/man/arje-run.1": pages.arje_run,
        "docs/man/arje-login.1": pages.arje_login,
        "docs/man/card.5": pages.card,
        "docs/card.md": markdown.card,
        "docs/arjectl.md": markdown.arjectl,
        "docs/pictures/states.svg": states.svg,
        "docs/states.md": states.page,
    }


def outdated() -> list[str]:
    """Return the files that are not what they would be if made now."""
    return [
        name for name, make in outputs().items() if not (ROOT / name).exists() or (ROOT / name).read_text() != make()
    ]
