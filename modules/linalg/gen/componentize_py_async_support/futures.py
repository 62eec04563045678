"""What componentize-py calls its futures."""

from roadstead.native.streams import FutureReader, FutureWriter

__all__ = ["FutureReader", "FutureWriter"]
