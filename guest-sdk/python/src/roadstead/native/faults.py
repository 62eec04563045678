"""What went wrong with a call, as a status: the module's code is never shown to callers."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass

import grpc

from ..status import Details
from ..wire.errors import BadInput
from .checkpoints import StaleAttempt
from .context import Cancelled
from .identity import NotSigned
from .turns import Overloaded

_LOG = logging.getLogger("roadstead.native")


class NotReady(Exception):
    """The module does not answer yet, or not any more."""


class Interrupted(Exception):
    """The call had begun and was not let end: it may have done something."""


class OutputLimit(Exception):
    """A message of the module is larger than messages may be."""

    def __init__(self, allowed: int, used: int) -> None:
        super().__init__(f"the output limit is {allowed} bytes, and a message has {used}")
        self.allowed, self.used = allowed, used


@dataclass(frozen=True, slots=True)
class Fault:
    """A status with its details."""

    code: grpc.StatusCode
    message: str
    details: Details

    def encode(self) -> bytes:
        """The bytes of `grpc-status-details-bin`."""
        return self.details.encode(self.code.value[0], self.message)


def fault_of(error: BaseException, method: str) -> Fault:
    """The status of an error. What is not foreseen is logged, and only its id is told."""
    codes = grpc.StatusCode
    match error:
        case BadInput():
            details = Details("BAD_INPUT", violations=((error.path, error.description),))
            return Fault(codes.INVALID_ARGUMENT, str(error), details)
        case NotSigned():
            return Fault(codes.UNAUTHENTICATED, str(error), Details("NOT_SIGNED"))
        case Overloaded():
            return Fault(codes.RESOURCE_EXHAUSTED, str(error), Details("OVERLOADED", retry_after=1.0))
        case NotReady():
            return Fault(codes.UNAVAILABLE, str(error), Details("NOT_READY", retry_after=1.0))
        case Interrupted() | StaleAttempt():
            # An attempt that is stale may have committed something of the call before it was.
            return Fault(codes.UNAVAILABLE, str(error), Details("INTERRUPTED"))
        case OutputLimit():
            facts = {"limit": "output", "allowed": str(error.allowed), "used": str(error.used)}
            return Fault(codes.RESOURCE_EXHAUSTED, str(error), Details("OUTPUT_LIMIT", facts))
        case Cancelled():
            return Fault(codes.CANCELLED, str(error), Details())
    id = secrets.token_hex(8)
    _LOG.error("%s failed (%s)", method, id, exc_info=error)
    details = Details("MODULE_FAULT", {"id": id})
    return Fault(codes.INTERNAL, f"the module failed; its log has the reason under {id}", details)
