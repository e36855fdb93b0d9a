"""A relay that does what a hook tells it to. Without a hook it is honest.

It runs between real clients and real bridges. It has what a relay has: envelopes, the messages of both
directions, key directories and statuses. It has no key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from blindrelay.serving import Address, parse_address
from blindrelay.trust import IdentityKey
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import EXCHANGE, EXCHANGE_METHOD, KEY_DIRECTORY, KEY_DIRECTORY_METHOD, SERVICE
from blindrelay.v1.grpc_workarounds import StatusWatch
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import KeyDirectory, SignedKeyDirectory
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.picklable_error import PicklableError

Messages = AsyncIterator[bytes]
Context = grpc.aio.ServicerContext[Any, Any]
Call = grpc.aio.StreamStreamCall[Any, Any]

HONEST_DEADLINE: Final = 3_660.0
"""Seconds: what an honest relay gives the bridge for the class of an hour, the clients' default."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.so_reuseport", 0),
    # As an honest relay allows it.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


class EndedError(PicklableError):
    """The call towards the client ends with this status, forged or the bridge's own."""

    def __init__(self, code: grpc.StatusCode, details: str | None = "") -> None:
        super().__init__(details)
        self.code = code
        self.details = details or ""


class Hook:
    """What the relay does to an exchange: nothing, unless an attack says otherwise.

    Attributes:
        up, down: what becomes of the messages of a request and of a response.
        envelopes: the metadata values that the bridge gets for the client's envelope.
        directories: what clients get for the bridges' directories. Bytes are sent as they are.
        deadline: seconds of the call to the bridge. None means no deadline.
        compress_up, compress_down: whether messages are compressed on their way.
        loot: what the attacker could read, for the judgement.
    """

    def __init__(
        self,
        *,
        up: Callable[[Passage, Messages], Messages] | None = None,
        down: Callable[[Passage, Messages], Messages] | None = None,
        envelopes: Callable[[bytes], Sequence[bytes]] = lambda envelope: [envelope],
        directories: Callable[[list[SignedKeyDirectory]], Iterable[SignedKeyDirectory] | bytes] = list,
        deadline: float | None = HONEST_DEADLINE,
        compress_up: bool = False,
        compress_down: bool = False,
    ) -> None:
        self.up = up or _as_they_are
        self.down = down or _as_they_are
        self.envelopes = envelopes
        self.directories = directories
        self.deadline = deadline
        self.compress_up = compress_up
        self.compress_down = compress_down
        self.loot: list[bytes] = []

    async def prepare(self, relay: HostileRelay, identity: IdentityKey) -> None:
        """Runs before the first client connects. `identity` is the bridge's, for a thief of its key."""

    async def carry(self, passage: Passage) -> None:
        """Carries one exchange to its end. Raises EndedError for any end but OK."""
        await passage.forward()

    async def afterwards(self, relay: HostileRelay) -> None:
        """Runs when the client's exchange has ended."""


class Passage:
    """One exchange on its way.

    Attributes:
        number: counts the exchanges of this relay, from 0.
        envelope: as the client sent it.
    """

    def __init__(self, relay: HostileRelay, number: int, context: Context) -> None:
        self.relay = relay
        self.hook = relay.hook
        self.number = number
        self.context = context
        values = [value for key, value in context.invocation_metadata() or () if key == METADATA_KEY]
        self.envelope = values[0] if values and isinstance(values[0], bytes) else b""

    async def forward(self) -> None:
        """Passes messages both ways, through the hook, until the bridge or the hook ends it."""
        if self.hook.compress_down:
            self.context.set_compression(grpc.Compression.Gzip)
        await self.forward_to(self.call())

    async def forward_to(self, call: Call) -> None:
        """As forward, by way of this call."""
        upload = asyncio.create_task(self.upload(call))
        try:
            async for message in self.hook.down(self, self.responses(call)):
                await self.context.write(message)
        finally:
            upload.cancel()
            call.cancel()

    def call(self, replica: int | None = None) -> Call:
        """Opens the exchange at the replica that holds its key, or at another."""
        return self.relay.open(
            self.hook.envelopes(self.envelope), self.replica if replica is None else replica
        )

    @property
    def replica(self) -> int:
        """The index of the replica that holds the key, or 0 if no replica lists it."""
        return self.relay.replicas.get(Envelope.FromString(self.envelope).key_id, 0)

    async def upload(self, call: Call) -> None:
        """Passes the client's messages up, and their end."""
        try:
            async for message in self.hook.up(self, self.requests()):
                await call.write(message)
            await call.done_writing()
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            return  # responses() learns why

    async def requests(self) -> Messages:
        """The client's messages, to its half-close."""
        while isinstance(message := await self.context.read(), bytes):
            yield message

    async def responses(self, call: Call) -> Messages:
        """The bridge's messages. Raises EndedError if it does not end with OK."""
        watch = StatusWatch(call)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            code, details = await watch.status(error)
            known = OuterStatus.of(code, details)
            self.relay.bridge_said.append(known.details if known else f"{code.name.lower()}: {details}")
            raise EndedError(code, details) from None
        self.relay.bridge_said.append("ok")


class HostileRelay:
    """A gRPC server on loopback that carries exchanges as its hook does.

    Attributes:
        hook: may be replaced between exchanges.
        passages: how many exchanges clients have begun.
        replicas: the index of the bridge for each key_id that was listed.
        bridges: where the bridges listen.
        idle: set while no exchange is under way.
        bridge_said: how the bridges' calls ended: "ok", an outer status, or "CODE: WORDS" for any other.
    """

    def __init__(self, bridges: Sequence[str], hook: Hook) -> None:
        self.hook = hook
        self.passages = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._under_way = 0
        self.replicas: dict[bytes, int] = {}
        self.bridge_said: list[str] = []
        self.bridges = tuple(bridges)
        self._channels = [grpc.aio.insecure_channel(address, options=_OPTIONS) for address in bridges]
        self._address = Address("127.0.0.1", 0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Address]:
        """Serves for as long as the block runs."""
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers([self._handlers()])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield parse_address(f"127.0.0.1:{port}")
        finally:
            await server.stop(0)
            for channel in self._channels:
                await channel.close()

    def open(self, envelopes: Sequence[bytes], replica: int) -> Call:
        """Opens an exchange at a bridge, under any envelopes."""
        return self._channels[replica].stream_stream(EXCHANGE_METHOD)(
            timeout=self.hook.deadline,
            metadata=tuple((METADATA_KEY, envelope) for envelope in envelopes),
            compression=grpc.Compression.Gzip if self.hook.compress_up else None,
        )

    async def fetch(self) -> list[SignedKeyDirectory]:
        """The directories of the bridges, in order. It notes which keys each one lists."""
        directories = []
        for place, channel in enumerate(self._channels):
            fetch: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(KEY_DIRECTORY_METHOD)
            response = GetKeyDirectoryResponse.FromString(await fetch(b"", wait_for_ready=True, timeout=60))
            signed = response.directories[0]
            for config in KeyDirectory.FromString(signed.directory).configs:
                self.replicas[key_id(config)] = place
            directories.append(signed)
        return directories

    def _handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                EXCHANGE: grpc.stream_stream_rpc_method_handler(self._exchange),
                KEY_DIRECTORY: grpc.unary_unary_rpc_method_handler(self._directories),
            },
        )

    async def _exchange(self, _: object, context: Context) -> None:
        passage = Passage(self, self.passages, context)
        self.passages += 1
        self._under_way += 1
        self.idle.clear()
        try:
            await self.hook.carry(passage)
        except EndedError as end:
            if end.code is not grpc.StatusCode.OK:
                await context.abort(end.code, end.details)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.idle.set()

    async def _directories(self, _: bytes, context: Context) -> bytes:
        served = self.hook.directories(await self.fetch())
        if isinstance(served, bytes):
            return served
        return GetKeyDirectoryResponse(directories=served).SerializeToString()


async def _as_they_are(_: Passage, messages: Messages) -> Messages:
    async for message in messages:
        yield message
