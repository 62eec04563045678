"""From a message's bytes to Python values, by the plan.

Every message is read in one walk that keeps places in the input; values are made once it is known
which occurrences count. Unknown fields are ignored, the last of several occurrences counts, the
parts of a message are read as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from ..plan import Member, Message, Plan, Shape
from ..types import Err, Ok, Some
from . import bound, plain, scalars, skim
from .errors import BadInput
from .keep import Make, Spans, keeper, made_at, nothing, one_char, same
from .reader import BYTES, MAX_DEPTH, TOO_DEEP, VARINT, fields

_MUST_BE_SET = "must be set"
_NO_CASE = "one of its cases must be set, to one that is known"


class Decoder:
    """Decodes the messages of a plan. What it makes of a message is worked out on first use."""

    def __init__(
        self,
        plan: Plan,
        classes: Mapping[str, bound.Bound],
        handles: bound.Handles | None,
        lists: ModuleType,
        views: bool,
    ) -> None:
        self.plan = plan
        self._classes = classes
        self._handles = handles
        self._lists = lists
        self._views = views
        self._messages: dict[str, Callable[[bytes, Spans, int], Any]] = {}

    def message(self, name: str, data: bytes) -> Any:
        """The value that a whole message stands for; of `fields`, a list of values."""
        return self._message(name)(data, [(0, len(data))], 0)

    def member(self, member: Member, data: bytes) -> Any:
        """The value of a message that has this one field."""
        return self._slots((member,))(data, [(0, len(data))], 0)[0]

    def case(self, members: tuple[Member, ...], data: bytes) -> tuple[Member, Any]:
        """The case of a message that is one oneof, and its payload."""
        return self._oneof(members)(data, [(0, len(data))], 0)

    def check(self, data: bytes) -> None:
        """A message without fields: only its form is checked."""
        skim.unknown(data, [(0, len(data))])

    def _message(self, name: str) -> Callable[[bytes, Spans, int], Any]:
        known = self._messages.get(name)
        if known is None:
            known = self._messages[name] = self._compile(self.plan.messages[name])
        return known

    def _compile(self, message: Message) -> Callable[[bytes, Spans, int], Any]:
        match message.kind:
            case "fields":
                return self._slots(message.fields)
            case "tuple":
                slots = self._slots(message.fields)
                return lambda data, spans, depth: tuple(slots(data, spans, depth))
            case "record":
                return self._record(message)
            case "flags":
                return self._flags(message)
            case "variant":
                return self._variant(message)
            case "result":
                return self._result(message)
            case "wrapper":
                slots = self._slots(message.fields)
                return lambda data, spans, depth: slots(data, spans, depth)[0]
        return self._handle(message, owned=True)

    def _record(self, message: Message) -> Callable[[bytes, Spans, int], Any]:
        slots = self._slots(message.fields)
        made = self._classes[message.name]
        assert isinstance(made, bound.Record)
        cls = made.cls
        return lambda data, spans, depth: cls(*slots(data, spans, depth))

    def _flags(self, message: Message) -> Callable[[bytes, Spans, int], Any]:
        slots = self._slots(message.fields)
        made = self._classes[message.name]
        assert isinstance(made, bound.FlagSet)
        none, bits = made.cls(0), [made.bits[field.name] for field in message.fields]

        def flags(data: bytes, spans: Spans, depth: int) -> Any:
            value = none
            for bit, is_set in zip(bits, slots(data, spans, depth)):
                if is_set:
                    value |= bit
            return value

        return flags

    def _variant(self, message: Message) -> Callable[[bytes, Spans, int], Any]:
        oneof = self._oneof(message.fields)
        made = self._classes.get(message.name)
        cases = made.cases if isinstance(made, bound.Variant) else {}

        def variant(data: bytes, spans: Spans, depth: int) -> Any:
            case, payload = oneof(data, spans, depth)
            cls = cases[case.name]
            return cls() if case.shape is None else cls(payload)

        return variant

    def _result(self, message: Message) -> Callable[[bytes, Spans, int], Any]:
        oneof = self._oneof(message.fields)
        ok = message.fields[0]

        def result(data: bytes, spans: Spans, depth: int) -> Any:
            case, payload = oneof(data, spans, depth)
            return Ok(payload) if case is ok else Err(payload)

        return result

    def _handle(self, message: Message, owned: bool) -> Callable[[bytes, Spans, int], Any]:
        def handle(data: bytes, spans: Spans, depth: int) -> Any:
            id = b""
            for begin, end in spans:
                for number, kind, value, at in fields(data, begin, end):
                    if number == message.number and kind == BYTES:
                        id = data[value:at]
            if self._handles is None:
                raise BadInput("handles are not known here")
            return self._handles.object_of(message.resource, id, owned)

        return handle

    def _slots(self, members: tuple[Member, ...]) -> Callable[[bytes, Spans, int], list[Any]]:
        """What was read of every field, in the order of the plan."""
        by_number = {member.number: at for at, member in enumerate(members)}
        absorbers = [self._absorber(member) for member in members]
        finishers = [self._finisher(member) for member in members]

        def slots(data: bytes, spans: Spans, depth: int) -> list[Any]:
            found: list[Any] = [None] * len(members)
            for begin, end in spans:
                for number, kind, value, at in fields(data, begin, end):
                    position = by_number.get(number)
                    if position is None:
                        continue
                    try:
                        found[position] = absorbers[position](
                            data, found[position], (kind, value, at), depth
                        )
                    except BadInput as error:
                        raise error.within(members[position].proto) from None
            for position, finish in enumerate(finishers):
                try:
                    found[position] = finish(data, found[position], depth)
                except BadInput as error:
                    raise error.within(members[position].proto) from None
            return found

        return slots

    def _oneof(
        self, members: tuple[Member, ...]
    ) -> Callable[[bytes, Spans, int], tuple[Member, Any]]:
        """The case that counts, the last one, with all that was read of it since another stood."""
        by_number = {member.number: member for member in members}
        keepers = {member.number: keeper(member.shape) for member in members}
        makers = {
            member.number: self._maker(member.shape) if member.shape else nothing
            for member in members
        }

        def oneof(data: bytes, spans: Spans, depth: int) -> tuple[Member, Any]:
            chosen: Member | None = None
            slot: Any = None
            try:
                for begin, end in spans:
                    for number, kind, value, at in fields(data, begin, end):
                        case = by_number.get(number)
                        if case is None:
                            continue
                        old, slot_before = chosen, slot
                        new = keepers[number](data, slot if case is old else None, kind, value, at)
                        if new is None:
                            continue
                        if old is not None and case is not old:
                            skim.discarded(self.plan, old.shape, data, slot_before, depth)
                        chosen, slot = case, new
                if chosen is None:
                    raise BadInput(_NO_CASE)
                return chosen, makers[chosen.number](data, slot, depth)
            except BadInput as error:
                raise error.within(chosen.proto) if chosen else error

        return oneof

    def _absorber(self, member: Member) -> Callable[[bytes, Any, tuple[int, int, int], int], Any]:
        """Takes one more occurrence of a field to what is known of it."""
        shape = member.shape
        assert shape is not None
        if member.label == "repeated":
            return self._list_absorber(shape)
        if member.label == "map":
            return self._map_absorber(member, shape)
        keep = keeper(shape)

        def absorb(data: bytes, slot: Any, raw: tuple[int, int, int], depth: int) -> Any:
            kept = keep(data, slot, *raw)
            return slot if kept is None else kept

        return absorb

    def _list_absorber(self, shape: Shape) -> Callable[[bytes, Any, tuple[int, int, int], int], Any]:
        scalar = shape.scalar
        if scalar is not None and scalars.wire_type(scalar) != BYTES:
            return self._number_absorber(scalar)
        keep, make = keeper(shape), self._maker(shape)
        is_packed = shape.enum is not None

        def absorb(data: bytes, slot: Any, raw: tuple[int, int, int], depth: int) -> Any:
            values = [] if slot is None else slot
            kind, begin, end = raw
            occurrences = [raw]
            if is_packed and kind == BYTES:
                found = plain.read("u64", data, begin, end, 0)
                occurrences = [(VARINT, value, 0) for value in found]
            for occurrence in occurrences:
                try:
                    kept = keep(data, None, *occurrence)
                    if kept is not None:
                        values.append(make(data, kept, depth))
                except BadInput as error:
                    raise error.within(f"[{len(values)}]") from None
            return values

        return absorb

    def _number_absorber(
        self, scalar: str
    ) -> Callable[[bytes, Any, tuple[int, int, int], int], Any]:
        read, wire_type, convert = self._lists.read, scalars.wire_type(scalar), scalars.reader(scalar)

        def absorb(data: bytes, slot: Any, raw: tuple[int, int, int], depth: int) -> Any:
            # The parts of the list, and how long they are together.
            kept: tuple[list[Any], int] = slot or ([], 0)
            parts, length = kept
            kind, begin, end = raw
            if kind == BYTES:
                part = read(scalar, data, begin, end, length)
                parts.append(part)
                return parts, length + len(part)
            if kind != wire_type:
                return parts, length
            try:
                value = convert(begin)
            except BadInput as error:
                raise error.within(f"[{length}]") from None
            if parts and isinstance(parts[-1], list):
                parts[-1].append(value)
            else:
                parts.append([value])
            return parts, length + 1

        return absorb

    def _map_absorber(
        self, member: Member, shape: Shape
    ) -> Callable[[bytes, Any, tuple[int, int, int], int], Any]:
        assert member.key is not None
        key = Member(1, "key", "key", "singular", None, Shape(scalar=member.key))
        keys = self._slots((key,))
        keep = keeper(shape)

        def absorb(data: bytes, slot: Any, raw: tuple[int, int, int], depth: int) -> Any:
            entries: dict[Any, Any] = {} if slot is None else slot
            kind, begin, end = raw
            if kind == BYTES:
                (found,) = keys(data, [(begin, end)], depth)
                value = None
                for number, kind, begin, at in fields(data, begin, end):
                    if number == 2:
                        kept = keep(data, value, kind, begin, at)
                        value = value if kept is None else kept
                entries[found] = value
            return entries

        return absorb

    def _finisher(self, member: Member) -> Make:
        """The value of a whole field, its presence checked."""
        shape = member.shape
        assert shape is not None
        if member.label == "repeated":
            return self._list_finisher(shape)
        make = self._maker(shape)
        if member.label == "map":
            return lambda data, slot, depth: {
                key: made_at(key, make, data, value, depth) for key, value in (slot or {}).items()
            }
        if member.label == "optional":
            wrap: Callable[[Any], Any] = Some if self._holds_option(shape) else same
            return lambda data, slot, depth: (
                None if slot is None else wrap(make(data, slot, depth))
            )
        return self._required(shape, make)

    def _required(self, shape: Shape, make: Make) -> Make:
        flags = shape.message and self.plan.messages[shape.message].kind == "flags"
        if not shape.message or flags:
            return make

        def required(data: bytes, slot: Any, depth: int) -> Any:
            if slot is None:
                raise BadInput(_MUST_BE_SET)
            return make(data, slot, depth)

        return required

    def _list_finisher(self, shape: Shape) -> Make:
        scalar, join = shape.scalar, self._lists.join
        if scalar is not None and scalars.wire_type(scalar) != BYTES:
            return lambda data, slot, depth: join(scalar, slot[0] if slot else [])
        return lambda data, slot, depth: [] if slot is None else slot

    def _holds_option(self, shape: Shape) -> bool:
        message = self.plan.messages[shape.message] if shape.message else None
        return bool(
            message and message.kind == "wrapper" and message.fields[0].label == "optional"
        )

    def _maker(self, shape: Shape) -> Make:
        """Makes a value of what was kept; of nothing, protobuf's default."""
        if shape.message:
            return self._message_maker(shape)
        if shape.enum:
            return self._enum_maker(shape.enum)
        if shape.is_bytes:
            if self._views:
                return lambda data, slot, depth: memoryview(data)[slice(*slot or (0, 0))]
            return lambda data, slot, depth: data[slice(*slot or (0, 0))]
        if shape.scalar == "char":
            return one_char
        if shape.scalar == "string":
            return lambda data, slot, depth: slot or ""
        convert = scalars.reader(shape.scalar or "")
        return lambda data, slot, depth: convert(slot or 0)

    def _message_maker(self, shape: Shape) -> Make:
        name = shape.message
        assert name is not None
        message = self.plan.messages[name]
        if message.kind == "handle":
            return self._handle(message, shape.owned)

        def make(data: bytes, slot: Any, depth: int) -> Any:
            if depth == MAX_DEPTH:
                raise BadInput(TOO_DEEP)
            return self._message(name)(data, slot or [], depth + 1)

        return make

    def _enum_maker(self, name: str) -> Make:
        made = self._classes[name]
        assert isinstance(made, bound.Enumeration)
        members = {number: made.members[case] for number, case in self.plan.enums[name]}

        def enumerated(data: bytes, slot: Any, depth: int) -> Any:
            number = (slot or 0) & 0xFFFF_FFFF
            try:
                return members[number]
            except KeyError:
                number -= (number >> 31) << 32
                text = f"{number} is none of its values" if number else _MUST_BE_SET
                raise BadInput(text) from None

        return enumerated
