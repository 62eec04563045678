"""Values at random of a plan's messages, as Python values and as protobuf's own messages."""

from __future__ import annotations

import math
import random
import struct
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from roadstead.plan import Member, Plan, Shape
from roadstead.types import Err, Ok, Some
from roadstead.wire import bound
from roadstead.wire.scalars import INTEGERS

_TEXTS = ["", "a", "Grüße", "\0", "👩‍🚀", "x" * 300]
_FLOATS = [0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 1e-45, 3.4e38]


class Messages:
    """Protobuf's own classes for the messages of a descriptor set."""

    def __init__(self, descriptors: bytes) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
            self._pool.Add(file)

    def new(self, name: str) -> Any:
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))()


class Maker:
    """Makes values, and puts them into protobuf's messages, by the plan alone."""

    def __init__(self, plan: Plan, classes: dict[str, bound.Bound], seed: int) -> None:
        self._plan, self._classes, self._random = plan, classes, random.Random(seed)

    def fields(self, name: str, message: Any) -> list[Any]:
        """Values for a message of parameters; they are put into `message` too."""
        return [self._member(member, message) for member in self._plan.messages[name].fields]

    def _member(self, member: Member, message: Any) -> Any:
        shape, name = member.shape, member.proto
        assert shape is not None
        if member.label == "singular":
            return self._put(shape, message, name, always=False)
        if member.label == "optional":
            if self._random.random() < 0.4:
                return None
            value = self._put(shape, message, name, always=True)
            return Some(value) if self._holds_option(shape) else value
        count = self._random.choice([0, 1, 2, 5, 40])
        if member.label == "map":
            return self._map(member, shape, message, count)
        values = []
        for _ in range(count):
            if shape.message:
                values.append(self._message(shape.message, getattr(message, name).add()))
            else:
                value, raw = self._plain(shape)
                getattr(message, name).append(raw)
                values.append(value)
        return values

    def _map(self, member: Member, shape: Shape, message: Any, count: int) -> Any:
        entries = {}
        for _ in range(count):
            key, raw = self._plain(Shape(scalar=member.key))
            field = getattr(message, member.proto)
            if shape.message:
                field[raw].Clear()
                entries[key] = self._message(shape.message, field[raw])
            else:
                entries[key], field[raw] = self._plain(shape)
        return entries

    def _put(self, shape: Shape, message: Any, name: str, *, always: bool) -> Any:
        if shape.message:
            inner = getattr(message, name)
            inner.SetInParent()
            return self._message(shape.message, inner)
        value, raw = self._plain(shape)
        setattr(message, name, raw)
        return value

    def _message(self, name: str, message: Any) -> Any:
        plan = self._plan.messages[name]
        message.SetInParent()
        if plan.kind in ("variant", "result"):
            case = self._random.choice(plan.fields)
            payload = None
            if case.shape is None:
                getattr(message, case.proto).SetInParent()
            else:
                payload = self._put(case.shape, message, case.proto, always=True)
            if plan.kind == "result":
                return Ok(payload) if case is plan.fields[0] else Err(payload)
            made = self._classes[name]
            assert isinstance(made, bound.Variant)
            cls = made.cases[case.name]
            return cls() if case.shape is None else cls(payload)
        values = [self._member(member, message) for member in plan.fields]
        if plan.kind == "wrapper":
            return values[0]
        if plan.kind == "tuple":
            return tuple(values)
        made = self._classes[name]
        if isinstance(made, bound.FlagSet):
            flags = made.cls(0)
            for member, is_set in zip(plan.fields, values):
                flags |= made.bits[member.name] if is_set else made.cls(0)
            return flags
        assert isinstance(made, bound.Record)
        return made.cls(*values)

    def _plain(self, shape: Shape) -> tuple[Any, Any]:
        pick = self._random
        if shape.is_bytes:
            data = pick.randbytes(pick.choice([0, 1, 200]))
            return data, data
        if shape.enum:
            number, case = pick.choice(self._plan.enums[shape.enum])
            made = self._classes[shape.enum]
            assert isinstance(made, bound.Enumeration)
            return made.members[case], number
        match shape.scalar:
            case "bool":
                value: Any = pick.random() < 0.5
            case "string":
                value = pick.choice(_TEXTS)
            case "char":
                value = pick.choice("aß\0👩")
            case "f32":
                value = struct.unpack("f", struct.pack("f", pick.choice(_FLOATS)))[0]
            case "f64":
                value = pick.choice([*_FLOATS, 1e300])
            case scalar:
                integer = INTEGERS[scalar or ""]
                value = pick.choice([integer.least, integer.most, 0, 1, 127, 100])
        return value, value

    def _holds_option(self, shape: Shape) -> bool:
        message = self._plan.messages[shape.message] if shape.message else None
        return bool(message and message.kind == "wrapper" and message.fields[0].label == "optional")


def same(left: Any, right: Any) -> bool:
    """Whether two values are the same: lists as arrays, NaN is NaN, and -0 is not 0."""
    if isinstance(left, (bytes, memoryview)):
        return bytes(left) == bytes(right)
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", float(right)) or left != left and right != right
    if isinstance(left, (list, tuple, np.ndarray)):
        return len(left) == len(right) and all(map(same, _list(left), _list(right)))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if hasattr(left, "__dataclass_fields__"):
        names = left.__dataclass_fields__
        return type(left) is type(right) and all(
            same(getattr(left, name), getattr(right, name)) for name in names
        )
    return bool(left == right)


def _list(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)
