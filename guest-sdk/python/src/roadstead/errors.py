"""Why a call failed, as exceptions. A module's own errors are not among them: they are `Err`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import grpc

from .status import METADATA_KEY, Details


class CallError(Exception):
    """A call that has no answer of the module: `reason` says why, as the contract names it."""

    def __init__(
        self,
        message: str,
        code: grpc.StatusCode,
        details: Details,
        trailers: Mapping[str, str | bytes],
    ) -> None:
        super().__init__(message or code.name)
        self.code = code
        self.details = details
        self.trailers = trailers

    @property
    def reason(self) -> str:
        """Like `FUEL_EXHAUSTED`; empty where nobody said one, like when a connection broke."""
        return self.details.reason

    @property
    def metadata(self) -> Mapping[str, str]:
        """What belongs to the reason, like the limit's name and value."""
        return self.details.metadata

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before the call is made again; None where that would not help."""
        return self.details.retry_after

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} ({self.reason})" if self.reason else text


class BadCall(CallError):
    """The request is not what the module's WIT says."""

    @property
    def violations(self) -> tuple[tuple[str, str], ...]:
        """The paths of fields, and what is wrong with each."""
        return self.details.violations


class LimitReached(CallError):
    """The call used up what the module may use: fuel, memory, input or output."""


class Overloaded(CallError):
    """The module has too much to do. It has not seen the call, so it can be made again."""


class DeadlineExceeded(CallError):
    """The deadline of the caller or of the module was over."""


class CallCancelled(CallError):
    """The caller cancelled."""


class Unavailable(CallError):
    """This host cannot answer now, and another may; or a connection broke."""


class NotFound(CallError):
    """No such module, version, function or handle."""


class AmbiguousModule(CallError):
    """Several modules could answer: name one."""


class NotAllowed(CallError):
    """The host does not know who calls, or the caller may not."""


class ModuleFailed(CallError):
    """The module trapped, or its code failed."""


class HostFault(CallError):
    """The host's own fault. Its log has the reason."""


_BY_REASON = {
    "OVERLOADED": Overloaded,
    "AMBIGUOUS_MODULE": AmbiguousModule,
    "GUEST_TRAP": ModuleFailed,
    "MODULE_FAULT": ModuleFailed,
    "HOST_FAULT": HostFault,
}
_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: BadCall,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitReached,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: CallCancelled,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNIMPLEMENTED: NotFound,
    grpc.StatusCode.UNAUTHENTICATED: NotAllowed,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
    grpc.StatusCode.ABORTED: ModuleFailed,
    grpc.StatusCode.INTERNAL: HostFault,
}


def error_of(error: Any) -> CallError:
    """What gRPC says, as one of these."""
    trailers = dict(_pairs(error.trailing_metadata()))
    raw = trailers.pop(METADATA_KEY, b"")
    details = Details.decode(raw) if isinstance(raw, bytes) else Details()
    code = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and not details.reason:
        # The client's own side ended the call.
        details = replace(details, reason="DEADLINE")
    kind = _BY_REASON.get(details.reason) or _BY_CODE.get(code, CallError)
    return kind(error.details() or "", code, details, trailers)


def _pairs(metadata: Any) -> Iterable[tuple[str, str | bytes]]:
    return ((str(key), value) for key, value in metadata or ())
