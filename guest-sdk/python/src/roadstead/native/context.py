"""What a method may know of its call: who calls, until when, and whether anybody still waits."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from ..wire.reader import BYTES, VARINT, fields


# Fields of `roadstead.v1.NativeCall`: subject, namespace, module, method, call and traceparent.
_TEXTS = (1, 2, 3, 4, 6, 7)
_PATH, _ISSUED = 5, 8


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What the host says of a call, which no client can say in its place."""

    subject: str
    namespace: str
    # The module that was called, as name@version.
    module: str
    # The modules that the call came through, outermost first.
    path: tuple[str, ...]
    call: str
    traceparent: str
    # Of the method, as /package.Service/Method.
    method: str
    issued_unix_ms: int

    @staticmethod
    def decode(data: bytes) -> Caller:
        """From `roadstead.v1.NativeCall`."""
        texts, path, issued = dict.fromkeys(_TEXTS, ""), [], 0
        # In one pass, as every call has one.
        for at, kind, begin, end in fields(data, 0, len(data)):
            if kind == BYTES:
                text = data[begin:end].decode()
                if at == _PATH:
                    path.append(text)
                else:
                    texts[at] = text
            elif kind == VARINT and at == _ISSUED:
                issued = begin
        subject, namespace, module, method, call, traceparent = (texts[at] for at in _TEXTS)
        return Caller(
            subject, namespace, module, tuple(path), call, traceparent, method, issued
        )


@dataclass(slots=True)
class Call:
    """One call, from its beginning to its end."""

    method: str
    # None where the module does not ask for signed calls.
    caller: Caller | None = None
    # By the monotonic clock; None: for as long as it takes.
    deadline: float | None = None
    loop: asyncio.AbstractEventLoop | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def cancelled(self) -> bool:
        """Whether the caller cancelled, or its deadline is over."""
        return self._cancelled.is_set() or self.remaining() == 0.0

    def remaining(self) -> float | None:
        """Seconds until the deadline; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def check(self) -> None:
        """Raises Cancelled where nobody waits any more. Long methods call it now and then."""
        if self.cancelled:
            raise Cancelled("nobody waits for the answer")

    def cancel(self) -> None:
        """Tells the method, and ends what it spawned."""
        self._cancelled.set()
        for task in list(self.tasks):
            task.cancel()


CURRENT: ContextVar[Call | None] = ContextVar("roadstead_call", default=None)


def call() -> Call:
    """The call that runs. Outside of one there is a call without caller and deadline."""
    return CURRENT.get() or Call("")


