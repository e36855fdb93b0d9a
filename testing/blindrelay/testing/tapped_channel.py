"""A relay's channel to a bridge, with a tap: what passes is shown to an observer.

The relay that ships has no such thing. `Relay` takes another function that opens its channels, and that is
all that is used here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar, Protocol, cast

import grpc

from blindrelay.relay_node import ChannelFactory, ReplicaConfig, open_channel

Metadata = Sequence[tuple[str, str | bytes]]


class Observer(Protocol):
    """Is told of one exchange as it passes."""

    def sent(self, message: bytes) -> None:
        """A message goes to the bridge."""

    def received(self, message: bytes) -> None:
        """A message comes from the bridge."""


Observing = Callable[[Metadata], Observer]
"""Called for each exchange with the metadata of its call."""


class TappedCall:
    """A call to a bridge whose messages are shown; all else is the call's own."""

    def __init__(self, call: Any, observer: Observer) -> None:
        self._call = call
        self._observer = observer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def write(self, message: bytes) -> None:
        self._observer.sent(message)
        await self._call.write(message)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for message in self._call:
            self._observer.received(message)
            yield message


class TappedChannel:
    """A channel to a bridge whose exchanges are shown; all else is the channel's own."""

    call_type: ClassVar[type[TappedCall]] = TappedCall

    def __init__(self, channel: grpc.aio.Channel, observing: Observing) -> None:
        self._channel = channel
        self._observing = observing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Callable[..., TappedCall]:
        exchange = self._channel.stream_stream(method, *arguments, **options)

        def call(*, metadata: Metadata = (), **more: Any) -> TappedCall:
            return self.call_type(exchange(metadata=tuple(metadata), **more), self._observing(metadata))

        return call


def tapped(observing: Observing) -> ChannelFactory:
    """Opens channels with a tap, for blindrelay.relay_node.Relay."""

    def open_tapped(replica: ReplicaConfig) -> grpc.aio.Channel:
        return cast(grpc.aio.Channel, TappedChannel(open_channel(replica), observing))

    return open_tapped
