"""For authors of Python modules: from a `.wit` and a `.py` to a component.

`roadstead-componentize` is the command; `build` is the same as a function.
"""

from .build import BuildError, build
from .section import read_wit

__all__ = ["BuildError", "build", "read_wit"]
