"""An own codec of the protobuf wire format, straight between bytes and the values of WIT types.

It follows the WIT → protobuf contract, as a host does. Lists of numbers are numpy arrays where
numpy is installed, and nothing is done for each of their elements; `list<u8>` is a memoryview.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ..plan import Method, Plan
from ..types import Err
from . import bound, plain
from .decode import Decoder
from .encode import Encoder
from .errors import BadInput, BadValue, FieldError

try:
    from . import arrays
except ImportError:
    _lists: ModuleType = plain
else:
    _lists = arrays

__all__ = ["BadInput", "BadValue", "Codec", "FieldError"]

START, ITEM = "start", "item"


class Codec:
    """The messages of a module's methods, both ways: what a caller does and what a server does.

    `plain` gives lists and bytes, as componentize-py does, in place of arrays and views.
    """

    def __init__(
        self,
        plan: Plan,
        classes: Mapping[str, bound.Bound],
        handles: bound.Handles | None = None,
        *,
        plain_lists: bool = False,
    ) -> None:
        lists = plain if plain_lists else _lists
        self.plan = plan
        self.encoder = Encoder(plan, classes, handles)
        self.decoder = Decoder(plan, classes, handles, lists, views=not plain_lists)

    def encode_request(self, method: Method, arguments: list[Any]) -> bytes:
        """The request of a call. Where a stream is a parameter, it is not among the arguments."""
        return self.encoder.message(method.request, arguments)

    def decode_request(self, method: Method, data: bytes) -> list[Any]:
        """The arguments of a call."""
        arguments: list[Any] = self.decoder.message(method.request, data)
        return arguments

    def encode_start(self, method: Method, arguments: list[Any]) -> bytes:
        """The first message that a caller streams: the other arguments."""
        start, _ = self._input(method)
        return self.encoder.case(start, arguments)

    def encode_input(self, method: Method, item: Any) -> bytes:
        """One item that a caller streams."""
        _, case = self._input(method)
        return self.encoder.case(case, item)

    def decode_input(self, method: Method, data: bytes) -> tuple[bool, Any]:
        """One message that a caller streams: whether it is the start, and what it holds."""
        cases = self._input(method)
        case, value = self.decoder.case(cases, data)
        return case is cases[0], value

    def _input(self, method: Method) -> tuple[Any, Any]:
        assert method.input is not None
        start, item = self.plan.messages[method.input.message].fields
        return start, item

    def encode_response(self, method: Method, value: Any) -> bytes:
        """The response of a call that returned a value, or raised the Err that is given."""
        response = method.response
        if response.kind == "value":
            return self.encoder.members(response.fields, (value,))
        if response.kind == "result":
            ok, error = self.plan.messages[response.message].fields
            if is_err(value):
                return self.encoder.case(error, value.value)
            return self.encoder.case(ok, value)
        if value is not None:
            raise BadValue(f"must be None, not {type(value).__name__}")
        return b""

    def decode_response(self, method: Method, data: bytes) -> Any:
        """What a call returned. Raises Err where the function did."""
        response = method.response
        if response.kind == "value":
            return self.decoder.member(response.fields[0], data)
        if response.kind == "result":
            cases = self.plan.messages[response.message].fields
            case, value = self.decoder.case(cases, data)
            if case is not cases[0]:
                raise Err(value)
            return value
        self.decoder.check(data)
        return None

    def encode_output(self, method: Method, value: Any) -> bytes:
        """One item that a server streams, or the Err that ends the stream."""
        response = method.response
        if response.kind == "items":
            return self.encoder.members(response.fields, (value,))
        item, error = response.fields
        if is_err(value):
            return self.encoder.case(error, value.value)
        return self.encoder.case(item, value)

    def decode_output(self, method: Method, data: bytes) -> Any:
        """One item that a server streams. Raises Err where it is the error."""
        response = method.response
        if response.kind == "items":
            return self.decoder.member(response.fields[0], data)
        case, value = self.decoder.case(response.fields, data)
        if case is not response.fields[0]:
            raise Err(value)
        return value


def is_err(value: Any) -> bool:
    """Whether it is an `Err`, also one of bindings that were made by componentize-py."""
    return isinstance(value, Err) or type(value).__name__ == "Err"
