"""Roadstead from Python: `connect` to a host, and call its modules like Python objects.

    with roadstead.connect("localhost:7411") as host:
        linalg = host.module("linalg")
        print(linalg.solve(a, b))

Lists of numbers are numpy arrays where numpy is installed; a module's own errors are raised as
`Err`, everything else as a `CallError`. `roadstead.native` serves modules.
"""

from pkgutil import extend_path

from .client import AsyncHost, AsyncModule, Host, Module, Resource, Tls, connect, connect_async
from .errors import (
    AmbiguousModule,
    BadCall,
    CallCancelled,
    CallError,
    DeadlineExceeded,
    HostFault,
    LimitReached,
    ModuleFailed,
    NotAllowed,
    NotFound,
    Overloaded,
    Unavailable,
)
from .types import Err, Ok, Result, Some
from .wire import BadInput, BadValue

# Stubs that protoc makes of the host's own services are the package `roadstead.v1`, elsewhere.
__path__ = extend_path(__path__, __name__)

__all__ = [
    "AmbiguousModule",
    "AsyncHost",
    "AsyncModule",
    "BadCall",
    "BadInput",
    "BadValue",
    "CallCancelled",
    "CallError",
    "DeadlineExceeded",
    "Err",
    "Host",
    "HostFault",
    "LimitReached",
    "Module",
    "ModuleFailed",
    "NotAllowed",
    "NotFound",
    "Ok",
    "Overloaded",
    "Resource",
    "Result",
    "Some",
    "Tls",
    "Unavailable",
    "connect",
    "connect_async",
]
