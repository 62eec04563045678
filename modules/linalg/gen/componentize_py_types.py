"""What componentize-py calls its types of `option` and `result`."""

from roadstead.types import Err, Ok, Result, Some

__all__ = ["Err", "Ok", "Result", "Some"]
