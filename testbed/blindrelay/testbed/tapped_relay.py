"""The real relay, with a tap on its channels to the bridges: what it forwards is written down.

    python -m blindrelay.testbed.tapped_relay FILE KEEP serve --config relay.toml [--json]

Everything after FILE (see tap.py) and KEEP (bytes of each message) is as with blindrelay-relay, and so is the
relay: only its channels are other ones. The relay that ships has no such thing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import grpc

from blindrelay.relay_node import Relay, ReplicaConfig, open_channel, read_relay_config
from blindrelay.serving import Address, Announce, command_parser, run_command
from blindrelay.testbed.tap import Direction, Tap

Metadata = Sequence[tuple[str, str | bytes]]


class TappedCall:
    """A call to a bridge whose messages are noted as they pass; all else is the call's own."""

    def __init__(self, call: Any, tap: Tap, exchange: int) -> None:
        self._call = call
        self._tap = tap
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def write(self, message: bytes) -> None:
        self._tap.passed(self._exchange, Direction.UP, message)
        await self._call.write(message)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for message in self._call:
            self._tap.passed(self._exchange, Direction.DOWN, message)
            yield message


class TappedChannel:
    """A channel to a bridge whose exchanges are tapped; all else is the channel's own."""

    def __init__(self, channel: grpc.aio.Channel, tap: Tap) -> None:
        self._channel = channel
        self._tap = tap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Callable[..., TappedCall]:
        exchange = self._channel.stream_stream(method, *arguments, **options)

        def call(*, metadata: Metadata = (), **more: Any) -> TappedCall:
            number = self._opened(metadata)
            return TappedCall(exchange(metadata=tuple(metadata), **more), self._tap, number)

        return call

    def _opened(self, metadata: Metadata) -> int:
        return self._tap.opened({key: _text(value) for key, value in metadata})


def main() -> int:
    """Runs the command; returns its exit code."""
    file, keep, *arguments = sys.argv[1:]
    tap = Tap(Path(file), int(keep))

    def tapped(replica: ReplicaConfig) -> grpc.aio.Channel:
        return cast(grpc.aio.Channel, TappedChannel(open_channel(replica), tap))

    def serve(arguments: argparse.Namespace, announce: Announce) -> None:
        def on_ready(address: Address) -> None:
            announce(f"The tapped relay listens on {address}.", listening=str(address))

        async def run() -> None:
            await Relay(read_relay_config(arguments.config), open_channel=tapped).serve(on_ready)

        asyncio.run(run())

    parser, _ = command_parser("tapped-relay", "Forward sealed exchanges, and show them.", serve)
    return run_command(parser, arguments)


def _text(value: str | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else value


if __name__ == "__main__":
    sys.exit(main())
