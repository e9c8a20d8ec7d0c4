"""Which words of a command line are followed by a value: what tells a verb from one."""

from __future__ import annotations

from arje.ctl.everywhere import GLOBALS
from arje.ctl.verbs import VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


def _valued() -> frozenset[str]:
    """The options that take a value; one that is a flag to another verb is a flag until the verb is known."""
    options = [option for verb in VERBS.values() for option in verb.options]
    flags = {name for option in options if option.kind == "flag" for name in option.names}
    return frozenset(
        name for option in (*GLOBALS, *options) if option.kind != "flag" for name in option.names if name not in flags
    )


VALUED: Final = _valued()
