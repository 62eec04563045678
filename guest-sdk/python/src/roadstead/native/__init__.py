"""Native modules: a class against a WIT, served by gRPC as a host expects it.

`serve(MyClass)` is all that a module needs. The class derives from a base class that
`roadstead-bindings` generates; its methods may be plain, asynchronous, or give streams.
"""

from .actor import Actor, Lifecycle
from .checkpoints import Checkpoints, StaleAttempt
from .context import Call, Caller, Cancelled, call
from .options import Options, OptionsError
from .progress import progress
from .server import Server, serve
from .service import ModuleError, concurrent

__all__ = [
    "Actor",
    "Call",
    "Caller",
    "Cancelled",
    "Checkpoints",
    "Lifecycle",
    "ModuleError",
    "Options",
    "OptionsError",
    "Server",
    "StaleAttempt",
    "call",
    "concurrent",
    "progress",
    "serve",
]
