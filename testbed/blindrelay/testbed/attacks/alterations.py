"""What can be done to a stream of messages: each alteration takes one stream and gives another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import grpc

from blindrelay.testbed.attacks.relay import EndedError, Messages, Passage
from blindrelay.v1.exchange_pb2 import ExchangeRequest, ExchangeResponse

Alteration = Callable[[Passage, Messages], Messages]

MessageT = TypeVar("MessageT", ExchangeRequest, ExchangeResponse)

_UNKNOWN_FIELD: Final = b"\x7a"
"""The tag of a length-delimited field 15, which no message of ours has."""


def flipped(data: bytes, place: int) -> bytes:
    """The bytes with one bit changed."""
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def at(number: int, change: Callable[[bytes], list[bytes]]) -> Alteration:
    """The message of that number, from 0, becomes others."""

    async def altered(_: Passage, messages: Messages) -> Messages:
        count = 0
        async for message in messages:
            for other in change(message) if count == number else [message]:
                yield other
            count += 1

    return altered


def on_record(number: int, change: Callable[[bytes], bytes]) -> Alteration:
    """The record in the message of that number, from 0, is changed, whichever way it goes."""

    def changed(message: bytes) -> list[bytes]:
        # Both kinds of message carry their record in a field of their own; a request's is the second.
        request = ExchangeRequest.FromString(message)
        if request.sealed:
            request.sealed = change(request.sealed)
            return [request.SerializeToString()]
        return [sealed(change(ExchangeResponse.FromString(message).sealed))]

    return at(number, changed)


def flip(number: int, place: int) -> Alteration:
    """One bit of a record."""
    return on_record(number, lambda record: flipped(record, place))


def flip_secret(place: int) -> Alteration:
    """One bit of the encapsulated secret."""

    def changed(message: bytes) -> list[bytes]:
        request = ExchangeRequest.FromString(message)
        request.encapsulated_secret = flipped(request.encapsulated_secret, place)
        return [request.SerializeToString()]

    return at(0, changed)


def drop(number: int) -> Alteration:
    return at(number, lambda message: [])


def repeat(number: int) -> Alteration:
    return at(number, lambda message: [message, message])


def swap(number: int) -> Alteration:
    """The message of that number after the next one."""

    async def altered(_: Passage, messages: Messages) -> Messages:
        held, count = b"", 0
        async for message in messages:
            if count == number:
                held = message
            else:
                yield message
            if count == number + 1:
                yield held
            count += 1

    return altered


def cut_after(number: int, end: EndedError | None = None) -> Alteration:
    """So many messages, and then the end: OK, or what is given. With 0, when the first one has come."""

    async def altered(_: Passage, messages: Messages) -> Messages:
        count = 0
        async for message in messages:
            if count < number:
                yield message
                count += 1
            if count == number:
                break
        if end is not None:
            raise end

    return altered


async def all_but_the_last(_: Passage, messages: Messages) -> Messages:
    """The last message is kept back, and the stream ends with OK."""
    held: bytes | None = None
    async for message in messages:
        if held is not None:
            yield held
        held = message


def append(message: bytes) -> Alteration:
    """One message more, when all have passed."""

    async def altered(_: Passage, messages: Messages) -> Messages:
        async for passing in messages:
            yield passing
        yield message

    return altered


def replace_all(message: bytes) -> Alteration:
    """Another message for the first, and none besides."""

    async def altered(_: Passage, messages: Messages) -> Messages:
        await anext(messages)
        yield message

    return altered


def swollen(size: int) -> Alteration:
    """So many bytes more in the first message, in a field that nobody knows."""
    length, varint = size, bytearray()
    while length > 127:
        varint.append(length & 127 | 128)
        length >>= 7
    varint.append(length)
    return at(0, lambda message: [message + _UNKNOWN_FIELD + bytes(varint) + bytes(size)])


def stall_after(number: int) -> Alteration:
    """So many messages, and then nothing, for ever."""

    async def altered(_: Passage, messages: Messages) -> Messages:
        for _number in range(number):
            yield await anext(messages)
        await for_ever()

    return altered


def sealed(record: bytes) -> bytes:
    """A response's message with this for its record."""
    return ExchangeResponse(sealed=record).SerializeToString()


async def for_ever() -> NoReturn:
    await asyncio.Event().wait()
    raise EndedError(grpc.StatusCode.INTERNAL)
