"""The real relay with a tap that notes sizes, times and ends.

    python -m blindrelay.testbed.trace.traced_relay FILE serve --config relay.toml [--json]

It writes one line of JSON for each message to FILE (see Seen). The other arguments are those of
blindrelay-relay.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, NamedTuple, TextIO, cast

import grpc

from blindrelay.relay_node import ReplicaConfig, open_channel
from blindrelay.testbed.tapped_relay import serve_with
from blindrelay.testing.tapped_channel import Metadata, TappedCall, TappedChannel
from blindrelay.v1.envelope import envelope_from_metadata


class Seen(NamedTuple):
    """One message that was forwarded, or the end of an exchange.

    Attributes:
        exchange: its id, in hex.
        at: seconds of the machine's monotonic clock.
        what: up to the bridge, down to the client, or the end: the bridge has ended its side.
        size: bytes of the gRPC message.
    """

    exchange: str
    at: float
    what: Literal["up", "down", "end"]
    size: int = 0


class TracedExchange:
    """Notes one exchange."""

    def __init__(self, file: TextIO, metadata: Metadata) -> None:
        self._file = file
        self._id = envelope_from_metadata(metadata)[1].exchange_id.hex()

    def sent(self, message: bytes) -> None:
        """Notes a message to the bridge."""
        self._write(Seen(self._id, time.monotonic(), "up", len(message)))

    def received(self, message: bytes) -> None:
        """Notes a message from the bridge."""
        self._write(Seen(self._id, time.monotonic(), "down", len(message)))

    def ended(self) -> None:
        """Notes that no more messages come from the bridge."""
        self._write(Seen(self._id, time.monotonic(), "end"))

    def _write(self, seen: Seen) -> None:
        self._file.write(json.dumps(seen) + "\n")
        self._file.flush()


class _TracedCall(TappedCall):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for message in super().__aiter__():
                yield message
        finally:
            cast(TracedExchange, self._observer).ended()


class _TracedChannel(TappedChannel):
    call_type = _TracedCall


def main() -> int:
    """Runs the command; returns its exit code."""
    path, *arguments = sys.argv[1:]
    with Path(path).open("a", encoding="ascii") as file:

        def open_traced(replica: ReplicaConfig) -> grpc.aio.Channel:
            traced = _TracedChannel(open_channel(replica), lambda metadata: TracedExchange(file, metadata))
            return cast(grpc.aio.Channel, traced)

        return serve_with(open_traced, arguments)


if __name__ == "__main__":
    sys.exit(main())
