"""A scripted bridge in this process. Clients call it without a relay."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx2

from blindrelay.client import SealedTransport
from blindrelay.client.portal import Portal
from blindrelay.sealing import BridgeExchange, SealingKey, decapsulate
from blindrelay.trust import DirectorySigner, IdentityKey, format_identity
from blindrelay.v1 import inner_pb2 as inner
from blindrelay.v1.envelope import envelope_from_metadata
from blindrelay.v1.exchange_pb2 import ExchangeRequest, ExchangeResponse, GetKeyDirectoryResponse
from blindrelay.v1.keys_pb2 import KeyDirectory, SignedKeyDirectory
from blindrelay.v1.outer_status import OuterStatus

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass
class Received:
    """A request as the bridge received it."""

    head: inner.RequestHead
    body: bytes
    metadata: dict[str, Any]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return {header.name: header.value for header in self.head.headers}


@dataclass
class Responder:
    """Sends a scripted response."""

    exchange: BridgeExchange
    context: Context

    async def raw(self, record: bytes) -> None:
        await self.context.write(ExchangeResponse(sealed=record).SerializeToString())

    async def send(self, **parts: Any) -> None:
        for record in self.exchange.response.seal(**parts):
            await self.raw(record)


Response = Callable[[Received, Responder], Awaitable[None]]
Step = dict[str, Any] | threading.Event | float

TAIL = inner.ResponseTail(body_end=inner.BodyEnd.BODY_END_CHUNKED)


def head(content_type: bytes = b"application/json") -> inner.ResponseHead:
    return inner.ResponseHead(status=200, headers=[inner.Header(name=b"content-type", value=content_type)])


def answering(*steps: Step, **parts: Any) -> Response:
    """Sends the parts of each step, and nothing more; it waits for events, or some seconds, between them."""

    async def answer(_: Received, respond: Responder) -> None:
        for step in (*steps, parts):
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, threading.Event):
                await until(step)
            elif step:
                await respond.send(**step)

    return answer


async def until(event: threading.Event) -> None:
    """Waits for an event that another thread sets."""
    while not event.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def responding(status: int, body: bytes = b"", /, **headers: str) -> Response:
    """Sends a whole response; the names of headers have _ for -."""
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    fields = [inner.Header(name=name, value=value) for name, value in named.items()]
    tail = TAIL if body else inner.ResponseTail(body_end=inner.BodyEnd.BODY_END_NONE)
    return answering(head=inner.ResponseHead(status=status, headers=fields), body=body, tail=tail)


def failing(code: inner.ErrorCode.ValueType, message: str, *steps: dict[str, Any]) -> Response:
    """Sends a sealed error of the bridge, after these steps."""
    return answering(*steps, error=inner.ExchangeError(code=code, message=message))


whole = responding(200, b"{}", content_type="application/json")
stalling = answering({"head": head(), "body": b"x"}, threading.Event())
never = answering(threading.Event())


@dataclass
class ScriptedBridge:
    """A real gRPC server with a real identity; `response` decides what comes back."""

    answer: Response = whole
    port: int = 0
    token: str | None = "brt_test"
    clock_offset: int = 0
    received: list[Received] = field(default_factory=list)
    cancelled: list[bool] = field(default_factory=list)
    directory_requests: int = 0
    calls: int = 0
    starts: int = -1
    uptime: int = 0  # seconds that its process seems to have run when it signs a directory
    refuse: OuterStatus | None = None
    refuse_directories: OuterStatus | None = None
    stop_reading_after: int | None = None
    substitute: Callable[[GetKeyDirectoryResponse], Any] = lambda response: None
    next_identity_hash: bytes = b""
    price_table_hash: bytes = b""
    lease: str = ""  # what it gives with its directories, and wants to see for exchanges
    lease_seconds: int = 300

    def __post_init__(self) -> None:
        self.identity = IdentityKey.generate()
        self.portal = Portal()
        self.restart_keys()
        self.start()

    def restart_keys(self) -> None:
        """New keys and a new replica, as after a restart."""
        now = int(time.time()) // 10 * 10
        self.signer = DirectorySigner.generate()
        self.replica_id = SealingKey.generate(10, 20).key_id
        self.sequence = 0
        self.starts += 1
        self.began = int(time.time()) + self.starts
        self.key = SealingKey.generate(now - 7_200, now + 7_200)

    def start(self) -> None:
        self.port = self.portal.call(self._start())

    def stop(self) -> None:
        self.portal.call(self.server.stop(0))

    def close(self) -> None:
        self.stop()
        self.portal.close()

    @property
    def connection(self) -> str:
        pin = format_identity(self.identity.public_key)
        return f"blindrelay://{self.token}@127.0.0.1:{self.port}?bridge={pin}&tls=off"

    def client(self, options: str = "") -> httpx2.Client:
        """A new client, as in a new process."""
        return SealedTransport(self.connection + options).httpx2_client()

    def directory(self) -> SignedKeyDirectory:
        self.sequence += 1
        # Restarts appear to be a second apart, without waiting.
        now, announced = int(time.time()) + self.clock_offset + self.starts, self.next_identity_hash
        directory = KeyDirectory(
            identity=self.identity.public_key,
            replica_id=self.replica_id,
            sequence=self.sequence,
            started_at=self.began + self.clock_offset - self.uptime,
            issued_at=now,
            expires_at=now + 3_600,
            configs=[self.key.config],
            next_identity_hash=announced,
            price_table_hash=self.price_table_hash,
        )
        delegation = self.identity.delegate(self.signer.public_key, now - 60, now + 86_400, announced)
        return self.signer.sign(directory, delegation)

    async def _start(self) -> int:
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers(self._handlers())
        port = self.add_port(self.server)
        await self.server.start()
        return port

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Exchange": grpc.stream_stream_rpc_method_handler(self._exchange),
            "GetKeyDirectory": grpc.unary_unary_rpc_method_handler(self._get_key_directory),
        }
        return [grpc.method_handlers_generic_handler("blindrelay.v1.ExchangeService", handlers)]

    def add_port(self, server: grpc.aio.Server) -> int:
        """The port that it listens on, without TLS."""
        return server.add_insecure_port(f"127.0.0.1:{self.port}")

    async def _get_key_directory(self, _: bytes, context: Context) -> bytes:
        self.directory_requests += 1
        await self._authenticate(context)
        if self.refuse_directories is not None:
            await context.abort(*self.refuse_directories.value)
        response = GetKeyDirectoryResponse(directories=[self.directory()])
        response.lease, response.lease_seconds = self.lease, self.lease_seconds
        if (pause := self.substitute(response)) is not None:
            await pause
        return response.SerializeToString()

    async def _authenticate(self, context: Context, shown: str | None = None) -> None:
        wanted = ("authorization", f"Bearer {shown or self.token}")
        if wanted not in tuple(context.invocation_metadata() or ()):
            await context.abort(*(OuterStatus.LEASE_UNKNOWN if shown else OuterStatus.UNAUTHENTICATED).value)

    async def _exchange(self, _: AsyncIterator[bytes], context: Context) -> None:
        self.calls += 1
        cancelled = self.cancelled  # a test that has ended has a list of its own
        await self._authenticate(context, self.lease)
        try:
            await self._serve(context)
        except (asyncio.CancelledError, grpc.aio.InternalError):  # the latter if it was just sending
            cancelled.append(True)
            raise

    async def _serve(self, context: Context) -> None:
        if self.refuse is not None:
            await context.abort(*self.refuse.value)
        encoded, envelope = envelope_from_metadata(context.invocation_metadata())
        message = ExchangeRequest.FromString(await context.read())
        if envelope.key_id != self.key.key_id:
            await context.abort(*OuterStatus.KEY_UNKNOWN.value)
        exchange = decapsulate(encoded, message.encapsulated_secret, self.key)
        received = Received(inner.RequestHead(), b"", dict(context.invocation_metadata() or ()))
        for count in itertools.count(1):
            part = exchange.request.open(message.sealed)
            received.head.MergeFrom(part.head)
            received.body += part.body
            is_tunnel = received.head.kind == inner.ExchangeKind.EXCHANGE_KIND_TUNNEL
            if exchange.request.finished or is_tunnel or count == self.stop_reading_after:
                break
            message = ExchangeRequest.FromString(await context.read())
        self.received.append(received)
        await self.answer(received, Responder(exchange, context))
