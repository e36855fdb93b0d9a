"""Changes messages field by field, so that what is signed or sealed then reaches the code behind the seal."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from .tape import Tape

MessageT = TypeVar("MessageT", bound=Message)

_WIDTH = {FieldDescriptor.CPPTYPE_UINT32: 32, FieldDescriptor.CPPTYPE_UINT64: 64}


def altered(tape: Tape, message: Message) -> bytes:
    """The encoding of the message with changed fields, followed by bytes of the tape.

    These may be anything: unknown fields, repeated fields, half a field.
    """
    return altered_message(tape, message).SerializeToString(deterministic=True) + tape.chunk()


def altered_message(tape: Tape, message: MessageT) -> MessageT:
    """A copy in which the fields are changed that two bytes of the tape name, lowest bit first."""
    copy = type(message)()
    copy.CopyFrom(message)
    named = tape.short()
    for place, field in enumerate(copy.DESCRIPTOR.fields):
        if named >> place & 1:
            _alter(tape, copy, field)
    return copy


def _alter(tape: Tape, message: Message, field: Any) -> None:
    if field.is_repeated:
        _alter_list(tape, getattr(message, field.name), field)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        part = getattr(message, field.name)
        part.CopyFrom(altered_message(tape, part))
    else:
        setattr(message, field.name, _value(tape, field, getattr(message, field.name)))


def _alter_list(tape: Tape, values: Any, field: Any) -> None:
    if tape.flag():
        del values[tape.byte() % (len(values) + 1) :]
    for _ in range(tape.byte() % 10):
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            item = values.add()
            item.CopyFrom(altered_message(tape, values[0]))
        else:
            values.append(_value(tape, field, values[0] if values else b""))


def _value(tape: Tape, field: Any, present: Any) -> Any:
    if field.cpp_type in _WIDTH:
        return tape.near(present) % (1 << _WIDTH[field.cpp_type])
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return edited(tape, present)
        return edited(tape, present.encode()).decode("utf-8", "replace")
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return tape.flag()
    return tape.byte()


def edited(tape: Tape, data: bytes) -> bytes:
    """The bytes unchanged, cut, extended, replaced, or with one byte changed."""
    match tape.byte() % 5:
        case 0:
            return tape.chunk()
        case 1 if data:
            place = tape.short() % len(data)
            return data[:place] + bytes([data[place] ^ tape.byte()]) + data[place + 1 :]
        case 2:
            return data[: tape.short() % (len(data) + 1)]
        case 3:
            return data + tape.chunk()
    return data
