"""Bindings for native modules: typed Python of a WIT package, as componentize-py would make it.

`roadstead-bindings WIT -o DIR` is the command; `generate` is the same as a function, of a plan.
"""

from .generate import generate
from .plans import BindingsError, read_plan

__all__ = ["BindingsError", "generate", "read_plan"]
