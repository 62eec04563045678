"""What componentize-py calls its support of asynchronous functions."""

from roadstead.native.streams import spawn

__all__ = ["spawn"]
