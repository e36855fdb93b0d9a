"""What a hostile relay does to the messages of a response. Bytes are all that it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc

from blindrelay.relay_node import ChannelFactory, ReplicaConfig
from blindrelay.v1.exchange_pb2 import ExchangeResponse

Messages = AsyncIterator[bytes]
Tamper = Callable[[Messages], Messages]
"""Takes the messages of a response as the bridge sends them, and gives those that the client gets."""


class Tampering:
    """How a relay tampers now, which may change from one exchange to the next. At first it does not."""

    def __init__(self) -> None:
        self.tamper: Tamper = as_they_are

    def opening(self, open_channel: ChannelFactory) -> ChannelFactory:
        """Opens channels to bridges whose responses are tampered with."""

        def open_tampered(replica: ReplicaConfig) -> grpc.aio.Channel:
            return cast(grpc.aio.Channel, _Channel(open_channel(replica), self))

        return open_tampered


class _Call:
    """A call to a bridge; all but the messages of its response is the call's own."""

    def __init__(self, call: Any, tamper: Tamper) -> None:
        self._call = call
        self._tamper = tamper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __aiter__(self) -> Messages:
        return self._tamper(aiter(self._call))


class _Channel:
    def __init__(self, channel: grpc.aio.Channel, tampering: Tampering) -> None:
        self._channel = channel
        self._tampering = tampering

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def stream_stream(self, *arguments: Any, **options: Any) -> Callable[..., _Call]:
        exchange = self._channel.stream_stream(*arguments, **options)
        return lambda **call_options: _Call(exchange(**call_options), self._tampering.tamper)


async def as_they_are(messages: Messages) -> Messages:
    """Every message, in order."""
    async for message in messages:
        yield message


async def nothing(messages: Messages) -> Messages:
    """No message: the response ends before it begins."""
    async for _ in messages:
        return
    yield b""


async def cut(messages: Messages) -> Messages:
    """The first two messages, and the end of the stream with status OK."""
    yield await anext(messages)
    yield await anext(messages)


async def swapped(messages: Messages) -> Messages:
    """The second and the third message in the other order."""
    yield await anext(messages)
    second, third = await anext(messages), await anext(messages)
    yield third
    yield second
    async for message in messages:
        yield message


async def dropped(messages: Messages) -> Messages:
    """All but the second message."""
    yield await anext(messages)
    await anext(messages)
    async for message in messages:
        yield message


async def repeated(messages: Messages) -> Messages:
    """The second message twice."""
    yield await anext(messages)
    second = await anext(messages)
    yield second
    yield second
    async for message in messages:
        yield message


async def altered(messages: Messages) -> Messages:
    """One bit of the second message, changed."""
    yield await anext(messages)
    response = ExchangeResponse.FromString(await anext(messages))
    response.sealed = response.sealed[:-1] + bytes([response.sealed[-1] ^ 1])
    yield response.SerializeToString()
    async for message in messages:
        yield message


def response_of(earlier: list[bytes]) -> Tamper:
    """The response of an earlier exchange."""

    async def replaced(messages: Messages) -> Messages:
        await anext(messages)
        for message in earlier:
            yield message

    return replaced
