"""One call of a client: who asks, and the parameters by name, checked when they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


class InvalidParameter(Exception):
    """A parameter is missing, of the wrong type, or not known; ``args[0]`` is its name."""


_MOST: Final = 10_000  # labels of one call
A_YEAR: Final = 366 * 86_400_000  # in milliseconds
_FOREVER: Final = 10**11  # seconds since the epoch: the year 5138
#: The parameters of Call.picks.
PICKS: Final = ("lines", "since", "until", "stream", "grep", "life")
#: Of a method that starts or stops something: false asks for it and waits for nothing (server.py).
WAIT: Final = ("wait",)
_LONGEST: Final = 256  # characters of a pattern: a label has 64 at most


@dataclass(frozen=True, slots=True)
class Call:
    """One call: who asks (for causes), and the parameters by name, checked on reading. A null one is a missing one."""

    who: str
    parameters: dict[str, Any]

    def _value(self, name: str, default: Any) -> Any:
        value = self.parameters.get(name)
        return default if value is None else value

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string. Raises InvalidParameter."""
        value = self._value(name, default)
        if not isinstance(value, str):
            raise InvalidParameter(name)
        return value

    def number(self, name: str, default: int, most: int = 10**6) -> int:
        """Return an integer from 0 to a million, or to ``most``. Raises InvalidParameter."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise InvalidParameter(name)
        return value

    def moment(self, name: str) -> float | None:
        """Return a time of the wall clock in seconds, None when it is missing. Raises InvalidParameter."""
        value = self._value(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _FOREVER:
            raise InvalidParameter(name)
        return float(value)

    def picks(self, lines: int) -> dict[str, Any]:
        """Return which lines of a log are wanted (supervisor/logread.py, Query). Raises InvalidParameter."""
        stream = self.text("stream", "")
        if stream not in ("", "stdout", "stderr"):
            raise InvalidParameter("stream")
        return {
            "lines": self.number("lines", lines),
            "since": self.moment("since"),
            "until": self.moment("until"),
            "stream": stream,
            "grep": self.text("grep", ""),
            "life": self.flag("life"),
        }

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean, ``default`` when it is missing. Raises InvalidParameter."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise InvalidParameter(name)
        return value

    def texts(self, name: str) -> dict[str, str]:
        """Return an object of strings. Raises InvalidParameter."""
        value = self._value(name, None)
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise InvalidParameter(name)
        return value

    def thing(self, name: str) -> Any:
        """Return whatever stands there, None when it is missing."""
        return self._value(name, None)

    def labels(self) -> list[str]:
        """Return the list of labels and patterns, empty when it is missing. Raises InvalidParameter, also for a flood."""
        value = self._value("labels", [])
        if not isinstance(value, list) or len(value) > _MOST:
            raise InvalidParameter("labels")
        if not all(isinstance(label, str) and len(label) <= _LONGEST for label in value):
            raise InvalidParameter("labels")
        return value

    def words(self, name: str) -> list[str]:
        """Return a list of strings, empty when it is missing. Raises InvalidParameter."""
        value = self._value(name, [])
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise InvalidParameter(name)
        return value

    def some_labels(self) -> list[str]:
        """Return at least one label: nobody stops everything by leaving a word out. Raises InvalidParameter."""
        if not (labels := self.labels()):
            raise InvalidParameter("labels")
        return labels
