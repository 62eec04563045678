"""What can be wrong with a message or a value, and where in it."""

from __future__ import annotations

from typing import TypeVar

F = TypeVar("F", bound="FieldError")


class FieldError(Exception):
    """Something is wrong at `path`, like `items[3].label`; empty for the message itself."""

    def __init__(self, description: str, path: str = "") -> None:
        super().__init__(description)
        self.description = description
        self.path = path

    def within(self: F, name: str) -> F:
        """The same, seen from the message whose field or element `name` holds it."""
        dot = "" if not self.path or self.path.startswith("[") else "."
        self.path = f"{name}{dot}{self.path}"
        return self

    def __str__(self) -> str:
        return f"{self.path}: {self.description}" if self.path else self.description


class BadInput(FieldError, ValueError):
    """Bytes are not the message that they should be."""


class BadValue(FieldError, TypeError):
    """A Python value is not of the WIT type that it should be."""
