"""A client made of the core and a bare gRPC channel, so that a test can send what no good client would."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.provider_bridge import Bridge
from blindrelay.sealing import ClientExchange, encapsulate
from blindrelay.trust import IdentityKey, VerifiedDirectory, verify_directory
from blindrelay.v1 import inner_pb2 as inner
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import ExchangeRequest, ExchangeResponse, GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS, EXCHANGE_METHOD, KEY_DIRECTORY_METHOD
from blindrelay.v1.inner_pb2 import (
    ErrorCode,
    ExchangeError,
    Execution,
    Header,
    RequestHead,
    ResponsePart,
    ResponseTail,
)
from tests.patience import until

Call = grpc.aio.StreamStreamCall[Any, Any]
CHAT = "https://api.openai.com/v1/chat/completions"


def request_head(url: str = CHAT, method: str = "POST", **fields: Any) -> RequestHead:
    """A head that a bridge accepts; `fields` replace what it says."""
    headers = fields.pop("headers", {b"content-type": b"application/json"} if method == "POST" else {})
    fields.setdefault("kind", inner.EXCHANGE_KIND_EXCHANGE)
    fields.setdefault("credential", inner.CREDENTIAL_INJECTED)
    fields.setdefault("deadline_class", inner.DEADLINE_CLASS_MINUTE)
    listed = [Header(name=name, value=value) for name, value in headers.items()]
    return RequestHead(method=method, url=url, headers=listed, **fields)


@dataclass
class SealedRequest:
    envelope: bytes
    messages: list[bytes]
    exchange: ClientExchange

    @property
    def metadata(self) -> tuple[tuple[str, bytes], ...]:
        return ((METADATA_KEY, self.envelope),)


@dataclass
class Response:
    """What a client has when the stream has ended. `pieces` is the body, record by record.

    `end_record` is the number of the record with the end, counted from 1. Padding may follow it.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    body_end: int = 0
    code: str = ""
    message: str = ""
    execution: str = ""
    records: int = 0
    end: ResponseTail | ExchangeError | None = None
    end_record: int = 0

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def failure(self) -> tuple[str, str]:
        """The code of its sealed error, and what that says of the execution."""
        return self.code, self.execution

    def take(self, part: ResponsePart) -> None:
        self.records += 1
        if part.HasField("head"):
            self.status = part.head.status
            self.headers = {each.name.decode(): each.value.decode("latin-1") for each in part.head.headers}
        if part.body:
            self.pieces.append(part.body)
        if part.HasField("tail"):
            self.body_end = part.tail.body_end
            self.end = part.tail
        if part.HasField("error"):
            self.end = part.error
            self.code = ErrorCode.Name(part.error.code).removeprefix("ERROR_CODE_")
            self.message = part.error.message
            self.execution = Execution.Name(part.error.execution).removeprefix("EXECUTION_")
        if self.end is not None and not self.end_record:
            self.end_record = self.records


@dataclass
class SealedCaller:
    address: str
    identity: bytes
    metadata: tuple[tuple[str, str], ...] = ()
    credentials: grpc.ChannelCredentials | None = None
    served: Any = None

    def __post_init__(self) -> None:
        options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", "localhost")]
        self.channel = (
            grpc.aio.insecure_channel(self.address, options=list(CHANNEL_OPTIONS))
            if self.credentials is None
            else grpc.aio.secure_channel(self.address, self.credentials, options=options)
        )
        self._exchange: Any = self.channel.stream_stream(EXCHANGE_METHOD)
        self._directory: Any = self.channel.unary_unary(KEY_DIRECTORY_METHOD)

    async def __aenter__(self) -> SealedCaller:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def directory(self) -> VerifiedDirectory:
        reply = await self._directory(b"", metadata=self.metadata)
        (signed,) = GetKeyDirectoryResponse.FromString(reply).directories
        return verify_directory(signed, self.identity, int(time.time()))

    async def envelope(self, **fields: Any) -> tuple[Envelope, bytes]:
        """A valid envelope with `fields` replaced, and the config of the key that it names."""
        key = (await self.directory()).keys[0]
        default: dict[str, Any] = {
            "version": 1,
            "exchange_id": os.urandom(16),
            "identity": self.identity,
            "key_id": key.key_id,
            "issued_at": int(time.time()) // 10 * 10,
            "max_units": 1_000_000,
        }
        return Envelope(**default | fields), key.config

    async def seal(
        self, head: RequestHead | None = None, body: bytes = b"{}", **envelope: Any
    ) -> SealedRequest:
        made, config = await self.envelope(**envelope)
        encoded = made.SerializeToString(deterministic=True)
        exchange = encapsulate(encoded, config)
        exchange.request.head(head or request_head())
        records = [*exchange.request.body(body), *exchange.request.end()]
        messages = [ExchangeRequest(sealed=sealed) for sealed in records]
        messages[0].encapsulated_secret = exchange.encapsulated_secret
        return SealedRequest(encoded, [message.SerializeToString() for message in messages], exchange)

    def start(self, request: SealedRequest) -> Call:
        """A call on which nothing has been sent yet."""
        call: Call = self._exchange(metadata=(*self.metadata, *request.metadata))
        return call

    async def begin(self, request: SealedRequest, count: int = 1) -> Call:
        """A call on which the first `count` messages have been sent."""
        call = self.start(request)
        for message in request.messages[:count]:
            await call.write(message)
        return call

    async def send(self, request: SealedRequest) -> Call:
        """A call on which the whole request has been sent."""
        call = await self.begin(request, len(request.messages))
        await call.done_writing()
        return call

    async def complete(self, request: SealedRequest) -> Response:
        return await collect(await self.send(request), request)

    async def written(self) -> None:
        """Waits until the bridge's last write has returned. After one that is cut off, no error is sent."""
        await until(lambda: not any(each._writing for each in self.served._runtime.running))

    async def exchange(self, head: RequestHead | None = None, body: bytes = b"{}") -> Response:
        return await self.complete(await self.seal(head, body))


@asynccontextmanager
async def calling(bridge: Bridge, identity: IdentityKey) -> AsyncIterator[SealedCaller]:
    async with bridge.running() as address:
        caller = SealedCaller(str(address), identity.public_key, served=bridge)
        yield caller
        await caller.channel.close()


async def parts(call: Call, request: SealedRequest) -> AsyncIterator[ResponsePart]:
    """The parts of a response as they come; raises as the core does if the response is not whole."""
    while (message := await call.read()) is not grpc.aio.EOF:
        assert isinstance(message, bytes)
        part = request.exchange.response.open(ExchangeResponse.FromString(message).sealed)
        if request.exchange.response.finished:
            await call.done_writing()  # an upload that was has its response already goes no further
        yield part
    request.exchange.response.close()
    assert await call.code() is grpc.StatusCode.OK


async def collect(call: Call, request: SealedRequest) -> Response:
    response = Response()
    async for part in parts(call, request):
        response.take(part)
    return response


def health(caller: SealedCaller, method: str = "Check") -> Any:
    kind: Any = caller.channel.unary_unary if method == "Check" else caller.channel.unary_stream
    return kind(
        f"/grpc.health.v1.Health/{method}",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )


async def outer_status(call: Call) -> tuple[grpc.StatusCode, str | None]:
    """The status of a call that ends without a single record."""
    try:
        assert await call.read() is grpc.aio.EOF
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()
    return await call.code(), await call.details()


def with_sealed(request: SealedRequest, index: int, sealed: bytes) -> SealedRequest:
    return with_message(request, index, sealed=sealed)


def with_message(request: SealedRequest, index: int, **fields: bytes) -> SealedRequest:
    message = ExchangeRequest.FromString(request.messages[index])
    for name, value in fields.items():
        setattr(message, name, value)
    messages = list(request.messages)
    messages[index] = message.SerializeToString()
    return replace(request, messages=messages)


def flipped(record: bytes) -> bytes:
    return record[:-1] + bytes([record[-1] ^ 1])
