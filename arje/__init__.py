"""arje: an init and service supervisor that says what isolation each service really got.

``arje.run``, ``arje.output`` and ``arje.spawn`` are those of :mod:`arje.sandbox`, which is imported when they are used.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from arje.sandbox import PIPE as PIPE
    from arje.sandbox import output as output
    from arje.sandbox import run as run
    from arje.sandbox import spawn as spawn

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in ("PIPE", "output", "run", "spawn"):
        raise AttributeError(f"module 'arje' has no attribute {name!r}")
    from arje import sandbox

    return getattr(sandbox, name)
