"""The fixtures of every test here."""

from harness import serve

__all__ = ["serve"]
