"""From Python values to a message's bytes, by the plan.

What implicit presence lets out is left out, numbers are packed, fields stand in the order of their
numbers: the same value always makes the same bytes. Large values are copied once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..plan import Member, Message, Plan, Shape
from ..types import Err, Ok, Some
from . import bound, scalars
from .errors import BadValue, FieldError
from .plain import encode_varint
from .reader import BYTES, MAX_DEPTH, TOO_DEEP, VARINT
from .writer import (
    Parts,
    Write,
    as_list,
    element,
    extend,
    named,
    packed,
    packer,
    prepared,
)

try:
    from . import arrays as lists
except ImportError:
    from . import plain as lists  # type: ignore[no-redef]


class Encoder:
    """Encodes the messages of a plan. How, is worked out on first use."""

    def __init__(
        self,
        plan: Plan,
        classes: Mapping[str, bound.Bound],
        handles: bound.Handles | None,
    ) -> None:
        self.plan = plan
        self._classes = classes
        self._handles = handles
        self._messages: dict[str, Write] = {}

    def message(self, name: str, value: Any) -> bytes:
        """The bytes of a message; for `fields`, of a sequence of values."""
        return self._joined(self._message(name), value)

    def members(self, members: tuple[Member, ...], values: Any) -> bytes:
        """The bytes of a message that has these fields."""
        return self._joined(self._fields(members), values)

    def case(self, member: Member, value: Any) -> bytes:
        """The bytes of a message that is a oneof with this case."""
        return self._joined(self._case(member), value)

    def _joined(self, write: Write, value: Any) -> bytes:
        parts: Parts = []
        write(value, parts, 0)
        return b"".join(parts)

    def _message(self, name: str) -> Write:
        known = self._messages.get(name)
        if known is None:
            known = self._messages[name] = self._compile(self.plan.messages[name])
        return known

    def _compile(self, message: Message) -> Write:
        match message.kind:
            case "fields":
                return self._fields(message.fields)
            case "tuple":
                return self._tuple(message)
            case "record":
                return self._record(message)
            case "flags":
                return self._flags(message)
            case "variant":
                return self._variant(message)
            case "result":
                return self._result(message)
            case "wrapper":
                fields = self._fields(message.fields)
                return lambda value, out, depth: fields((value,), out, depth)
        return self._handle(message, owned=True)

    def _fields(self, members: tuple[Member, ...]) -> Write:
        """A sequence of values, one for each field."""
        order = sorted(range(len(members)), key=lambda at: members[at].number)
        writers = [(at, members[at].proto, self._member(members[at])) for at in order]

        def fields(values: Any, out: Parts, depth: int) -> int:
            size = 0
            for at, name, write in writers:
                try:
                    size += write(values[at], out, depth)
                except FieldError as error:
                    raise error.within(name) from None
            return size

        return fields

    def _tuple(self, message: Message) -> Write:
        fields, length = self._fields(message.fields), len(message.fields)

        def write(value: Any, out: Parts, depth: int) -> int:
            if not isinstance(value, tuple) or len(value) != length:
                raise BadValue(f"must be a tuple of {length}")
            return fields(value, out, depth)

        return write

    def _record(self, message: Message) -> Write:
        fields = self._fields(message.fields)
        made = self._classes[message.name]
        assert isinstance(made, bound.Record)
        attributes, name = made.attributes, made.cls.__name__

        def record(value: Any, out: Parts, depth: int) -> int:
            try:
                values = [getattr(value, attribute) for attribute in attributes]
            except AttributeError:
                raise BadValue(f"must be a {name}, not {type(value).__name__}") from None
            return fields(values, out, depth)

        return record

    def _flags(self, message: Message) -> Write:
        fields = self._fields(message.fields)
        made = self._classes[message.name]
        assert isinstance(made, bound.FlagSet)
        cls, bits = made.cls, [made.bits[field.name] for field in message.fields]

        def flags(value: Any, out: Parts, depth: int) -> int:
            if not isinstance(value, cls):
                raise BadValue(f"must be a {cls.__name__}, not {type(value).__name__}")
            return fields([bit in value for bit in bits], out, depth)

        return flags

    def _variant(self, message: Message) -> Write:
        made = self._classes[message.name]
        assert isinstance(made, bound.Variant)
        cases = {made.cases[case.name]: self._case(case) for case in message.fields}

        def variant(value: Any, out: Parts, depth: int) -> int:
            write = cases.get(type(value))
            if write is None:
                names = ", ".join(cls.__name__ for cls in cases)
                raise BadValue(f"must be one of {names}, not {type(value).__name__}")
            return write(getattr(value, "value", None), out, depth)

        return variant

    def _result(self, message: Message) -> Write:
        ok, error = (self._case(case) for case in message.fields)

        def result(value: Any, out: Parts, depth: int) -> int:
            # componentize-py's own classes are told by their names.
            kind = type(value).__name__
            if isinstance(value, Ok) or kind == "Ok":
                return ok(value.value, out, depth)
            if isinstance(value, Err) or kind == "Err":
                return error(value.value, out, depth)
            raise BadValue(f"must be Ok or Err, not {kind}")

        return result

    def _handle(self, message: Message, owned: bool) -> Write:
        tag = encode_varint(message.number << 3 | BYTES)

        def handle(value: Any, out: Parts, depth: int) -> int:
            if self._handles is None:
                raise BadValue("handles are not known here")
            id = self._handles.id_of(message.resource, value, owned)
            return extend(out, tag + encode_varint(len(id)), id)

        return handle

    def _case(self, member: Member) -> Write:
        """One case of a oneof, which is written also where it is the default."""
        if member.shape is None:
            empty = encode_varint(member.number << 3 | BYTES) + b"\0"
            return lambda value, out, depth: extend(out, empty)
        return named(member.proto, self._always(member.number, member.shape))

    def _member(self, member: Member) -> Write:
        shape = member.shape
        assert shape is not None
        match member.label:
            case "repeated":
                return self._repeated(member.number, shape)
            case "map":
                return self._map(member, shape)
            case "optional":
                return self._optional(self._always(member.number, shape), self._holds_option(shape))
        return self._singular(member.number, shape)

    def _optional(self, write: Write, nested: bool) -> Write:
        def optional(value: Any, out: Parts, depth: int) -> int:
            if value is None:
                return 0
            if nested:
                if not isinstance(value, Some) and type(value).__name__ != "Some":
                    raise BadValue(f"must be None or Some, not {type(value).__name__}")
                value = value.value
            return write(value, out, depth)

        return optional

    def _holds_option(self, shape: Shape) -> bool:
        message = self.plan.messages[shape.message] if shape.message else None
        return bool(
            message and message.kind == "wrapper" and message.fields[0].label == "optional"
        )

    def _singular(self, number: int, shape: Shape) -> Write:
        """A field that is left out where it holds what readers take for one that is not there."""
        if shape.message or shape.enum:
            return self._always(number, shape)
        if shape.is_bytes or shape.scalar in ("string", "char"):
            prepare = prepared(shape)
            tag = encode_varint(number << 3 | BYTES)

            def text(value: Any, out: Parts, depth: int) -> int:
                encoded = prepare(value)
                size = len(encoded)
                return extend(out, tag + encode_varint(size), encoded) if size else 0

            return text
        convert, pack = scalars.writer(shape.scalar or ""), packer(number, shape.scalar or "")

        def scalar(value: Any, out: Parts, depth: int) -> int:
            bits = convert(value)
            return extend(out, pack(bits)) if bits else 0

        return scalar

    def _always(self, number: int, shape: Shape) -> Write:
        """A value with its tag, also where it is the default."""
        tag = encode_varint(number << 3 | BYTES)
        if shape.message:
            return self._nested(tag, shape)
        if shape.enum:
            cases = self._enum(shape.enum)
            prefix = encode_varint(number << 3 | VARINT)
            return lambda value, out, depth: extend(out, prefix + encode_varint(cases(value)))
        if shape.is_bytes or shape.scalar in ("string", "char"):
            prepare = prepared(shape)

            def text(value: Any, out: Parts, depth: int) -> int:
                encoded = prepare(value)
                return extend(out, tag + encode_varint(len(encoded)), encoded)

            return text
        convert, pack = scalars.writer(shape.scalar or ""), packer(number, shape.scalar or "")
        return lambda value, out, depth: extend(out, pack(convert(value)))

    def _nested(self, tag: bytes, shape: Shape) -> Write:
        name = shape.message
        assert name is not None
        message = self.plan.messages[name]
        handle = self._handle(message, shape.owned) if message.kind == "handle" else None

        def nested(value: Any, out: Parts, depth: int) -> int:
            if depth == MAX_DEPTH:
                raise BadValue(TOO_DEEP)
            write = handle or self._message(name)
            at = len(out)
            out.append(b"")
            size = write(value, out, depth + 1)
            out[at] = header = tag + encode_varint(size)
            return len(header) + size

        return nested

    def _enum(self, name: str) -> Callable[[Any], int]:
        made = self._classes[name]
        assert isinstance(made, bound.Enumeration)
        numbers = {made.members[case]: number for number, case in self.plan.enums[name]}

        def number(value: Any) -> int:
            try:
                return numbers[value]
            except (KeyError, TypeError):
                known = ", ".join(map(str, numbers))
                raise BadValue(f"must be one of {known}, not {value!r}") from None

        return number

    def _repeated(self, number: int, shape: Shape) -> Write:
        tag = encode_varint(number << 3 | BYTES)
        scalar = shape.scalar
        if scalar is not None and scalars.wire_type(scalar) != BYTES:
            return lambda value, out, depth: packed(tag, lists.write(scalar, value), out)
        if shape.enum:
            cases = self._enum(shape.enum)

            def enums(values: Any, out: Parts, depth: int) -> int:
                numbers = [element(at, cases, value) for at, value in enumerate(as_list(values))]
                return packed(tag, b"".join(map(encode_varint, numbers)), out)

            return enums
        write = self._always(number, shape)

        def repeated(values: Any, out: Parts, depth: int) -> int:
            size = 0
            for at, value in enumerate(as_list(values)):
                try:
                    size += write(value, out, depth)
                except FieldError as error:
                    raise error.within(f"[{at}]") from None
            return size

        return repeated

    def _map(self, member: Member, shape: Shape) -> Write:
        tag = encode_varint(member.number << 3 | BYTES)
        write_key = self._always(1, Shape(scalar=member.key))
        write_value = self._always(2, shape)

        def entries(values: Any, out: Parts, depth: int) -> int:
            if not isinstance(values, Mapping):
                raise BadValue(f"must be a mapping, not {type(values).__name__}")
            size = 0
            for key, value in values.items():
                at = len(out)
                out.append(b"")
                try:
                    length = write_key(key, out, depth) + write_value(value, out, depth)
                except FieldError as error:
                    raise error.within(f"[{key!r}]") from None
                out[at] = header = tag + encode_varint(length)
                size += len(header) + length
            return size

        return entries
