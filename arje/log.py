"""arje's own log: structlog to stderr; coloured on a terminal, logfmt lines otherwise."""

from __future__ import annotations

import sys
from typing import Any

import structlog


def set_up() -> None:
    """Configure structlog for this process. Times are UTC, ISO 8601."""
    on_terminal = sys.stderr.isatty()
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if on_terminal
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def logger() -> Any:
    """Return the logger."""
    return structlog.get_logger()
