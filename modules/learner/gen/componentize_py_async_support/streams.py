"""What componentize-py calls its streams."""

from roadstead.native.streams import (
    ByteStreamReader,
    ByteStreamWriter,
    StreamReader,
    StreamWriter,
)

__all__ = ["ByteStreamReader", "ByteStreamWriter", "StreamReader", "StreamWriter"]
