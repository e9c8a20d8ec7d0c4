"""The verbs by which the supervisor is told what to do, heard once each: as they come from outside.

Verbs call one another, and so do the lives that they begin: what follows from a verb is no input. A context variable tells
the two apart, as trio gives each task a copy of the context of whoever started it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

#: Called with the verb's name, its arguments and its keyword arguments, before anything has happened.
Ear = Callable[[str, tuple[Any, ...], dict[str, Any]], None]
Method = TypeVar("Method", bound=Callable[..., Any])

_INSIDE: Final[ContextVar[bool]] = ContextVar("inside a verb", default=False)


@contextmanager
def inside() -> Iterator[None]:
    """Let what follows, and the tasks that begin there, be no input, whoever began it."""
    token = _INSIDE.set(True)
    try:
        yield
    finally:
        _INSIDE.reset(token)


def verb(method: Method) -> Method:
    """Let a method of the supervisor, or of something that has it as ``_supervisor``, be heard when it is the outermost.

    Of what belongs to one service (it has a ``_label``) that is the first argument that is heard.
    """

    def hear(self: Any, args: tuple[Any, ...], more: dict[str, Any]) -> bool:
        """Let the verb be heard; return whether anybody listens, and it is no part of another one."""
        supervisor = getattr(self, "_supervisor", self)
        if supervisor.ear is None or _INSIDE.get():
            return False
        label = getattr(self, "_label", None)
        supervisor.ear(method.__name__, args if label is None else (label, *args), more)
        return True

    @functools.wraps(method)
    def called(self: Any, *args: Any, **more: Any) -> Any:
        if not hear(self, args, more):
            return method(self, *args, **more)
        with inside():
            return method(self, *args, **more)

    @functools.wraps(method)
    async def awaited(self: Any, *args: Any, **more: Any) -> Any:
        if not hear(self, args, more):
            return await method(self, *args, **more)
        with inside():
            return await method(self, *args, **more)

    return awaited if inspect.iscoroutinefunction(method) else called  # type: ignore[return-value] # it is called as before
