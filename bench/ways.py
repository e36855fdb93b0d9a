"""Ways from a client to a response: each sends one request and gives the response's pieces as they come."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

import grpc
import httpx2
import openai

from bench.doubles.orders import Order
from bench.work import Work
from blindrelay.client import ConnectionConfig, SealedTransport
from blindrelay.v1.channel import ExchangeChannel
from blindrelay.v1.envelope import encode_envelope, envelope_metadata
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import ExchangeRequest, GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS, KEY_DIRECTORY_METHOD, authorization, client_deadline
from blindrelay.v1.limits import (
    DEFAULT_MAX_UNITS,
    ENCAPSULATED_SECRET_SIZE,
    EXCHANGE_ID_SIZE,
    MAX_BODY_PIECE,
    TIME_STEP,
    VERSION,
)

EXCHANGES_PER_CLIENT: Final = 60
"""A client of ours has 64 exchanges at once on its connection; here none shall wait for another."""

OFFICIAL_URL: Final = "https://api.openai.com/v1"

_UNLIMITED: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
_SECONDS: Final = 600.0
_LEASE_SECONDS: Final = 60
_OK: Final = 200
_TOO_MANY: Final = 429
_SHOWN: Final = 200
"""Bytes of an error's body that are shown."""


class RefusedError(Exception):
    """The relay said that it has no room."""


T = TypeVar("T")


class Spread(Generic[T]):
    """Several clients as one: each exchange goes by the first that has room, so few exchanges keep to few."""

    def __init__(self, clients: Sequence[T], room: int = EXCHANGES_PER_CLIENT) -> None:
        self.clients = clients
        self._room = room
        self._running = [0] * len(clients)

    @contextmanager
    def one(self) -> Iterator[T]:
        """One of them, for an exchange."""
        place = next((n for n, running in enumerate(self._running) if running < self._room), 0)
        self._running[place] += 1
        try:
            yield self.clients[place]
        finally:
            self._running[place] -= 1


class Way(Protocol):
    """How requests are sent."""

    port: int
    """Where this process's connections lead."""

    def send(self, work: Work, body: bytes) -> AsyncIterator[bytes]:
        """Sends `body`, which asks for `work`, and yields the response in pieces. Raises what goes wrong."""

    async def aclose(self) -> None:
        """Closes the connections."""


class HttpWay:
    """By httpx2, which the official SDKs send through: to the provider, to a gateway, or sealed."""

    def __init__(self, url: str, port: int, clients: list[httpx2.AsyncClient]) -> None:
        self._url = f"{url}/chat/completions"
        self.port = port
        self._clients = Spread(clients)

    async def send(self, work: Work, body: bytes) -> AsyncIterator[bytes]:
        headers = {"content-type": "application/json", "authorization": "Bearer none"}
        with self._clients.one() as client:
            async with client.stream("POST", self._url, content=body, headers=headers) as response:
                if response.status_code == _TOO_MANY:
                    raise RefusedError
                if response.status_code != _OK:
                    said = (await response.aread())[:_SHOWN].decode("utf-8", "replace")
                    raise RuntimeError(f"HTTP {response.status_code} {said}")
                async for piece in response.aiter_raw():
                    yield piece

    async def aclose(self) -> None:
        for client in self._clients.clients:
            await client.aclose()


class SdkWay:
    """By the openai SDK: what it makes of a response is what its user waits for."""

    def __init__(self, url: str, port: int, client: httpx2.AsyncClient) -> None:
        self.port = port
        self._client = client
        self._sdk = openai.AsyncOpenAI(
            api_key="none", base_url=url, http_client=client, max_retries=0, timeout=_SECONDS
        )

    async def send(self, work: Work, body: bytes) -> AsyncIterator[bytes]:
        messages: Any = [{"role": "user", "content": "x" * work.prompt_bytes}]
        if not work.pieces:
            answer = await self._sdk.chat.completions.create(model=work.model, messages=messages)
            yield (answer.choices[0].message.content or "").encode()
            return
        stream = await self._sdk.chat.completions.create(model=work.model, messages=messages, stream=True)
        async for chunk in stream:
            yield (chunk.choices[0].delta.content or "").encode()

    async def aclose(self) -> None:
        await self._client.aclose()


class RawWay:
    """By bare gRPC: bytes that nobody opens, as large as those of a sealed exchange, for a forwarder to pass.

    `given` has "address", "token", and the sink's "identity" and "key_id" (hexadecimal), at which forwarders
    other than ours do not look. It may have "per_connection", exchanges at once on one connection, and
    "lease": then a lease is shown in place of the token.
    """

    def __init__(self, given: dict[str, str], concurrency: int) -> None:
        address, room = given["address"], int(given.get("per_connection", EXCHANGES_PER_CLIENT))
        self.port = int(address.rpartition(":")[2])
        self._channels = [
            grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
            for _ in range(1 + concurrency // room)
        ]
        # As the client does: a request of one message leaves in one step.
        self._methods: Spread[Any] = Spread([ExchangeChannel(channel) for channel in self._channels], room)
        self._token = given["token"]
        self._address = address if "lease" in given else ""
        self._authorization = authorization(self._token)
        self._renew_at = 0.0
        self._identity, self._key_id = (bytes.fromhex(given[name]) for name in ("identity", "key_id"))

    async def send(self, work: Work, body: bytes) -> AsyncIterator[bytes]:
        first, *more = _messages(work)
        with self._methods.one() as method:
            self._renew()
            metadata = (self._authorization, *envelope_metadata(self._envelope(), self._key_id))
            call = method.exchange(metadata, client_deadline(0), None if more else first)
            try:
                if more:
                    for message in (first, *more):
                        await call.write(message)
                    await call.done_writing()
                async for answer in call:
                    yield answer
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise RefusedError from None
                raise RuntimeError(f"{error.code().name}: {error.details()}") from None
            finally:
                call.cancel()

    def _renew(self) -> None:
        """Fetches a lease, if one is wanted and the last one is old."""
        if self._address and time.monotonic() >= self._renew_at:
            with grpc.insecure_channel(self._address) as channel:
                fetch: Any = channel.unary_unary(KEY_DIRECTORY_METHOD)
                response = fetch(b"", metadata=(authorization(self._token),), timeout=_LEASE_SECONDS)
            self._authorization = authorization(GetKeyDirectoryResponse.FromString(response).lease)
            self._renew_at = time.monotonic() + _LEASE_SECONDS

    def _envelope(self) -> bytes:
        now = int(time.time()) // TIME_STEP * TIME_STEP
        return encode_envelope(
            Envelope(
                version=VERSION,
                exchange_id=os.urandom(EXCHANGE_ID_SIZE),
                identity=self._identity,
                key_id=self._key_id,
                issued_at=now,
                max_units=DEFAULT_MAX_UNITS,
            )
        )

    async def aclose(self) -> None:
        for channel in self._channels:
            await channel.close()


def open_way(kind: str, given: dict[str, str], concurrency: int) -> Way:
    """A way by its name: "http", "sealed", "unsealed", "sdk", "sealed sdk" or "raw".

    `given` has "url" for those in clear, "connection" for the sealed ones, and for "raw" what RawWay
    wants. Raises KeyError.
    """
    if kind == "raw":
        return RawWay(given, concurrency)
    if kind in ("http", "sdk"):
        port = urlsplit(given["url"]).port or 443
        plain = httpx2.AsyncClient(limits=_UNLIMITED, timeout=_SECONDS, trust_env=False)
        return SdkWay(given["url"], port, plain) if kind == "sdk" else HttpWay(given["url"], port, [plain])
    if kind == "unsealed":
        from bench.doubles.unsealed import take_sealing_out_of_the_client

        take_sealing_out_of_the_client()
    connection = ConnectionConfig.from_string(given["connection"])
    url = given.get("url", OFFICIAL_URL)
    if kind == "sealed sdk":
        return SdkWay(url, connection.port, SealedTransport(connection).async_httpx2_client(timeout=_SECONDS))
    if kind not in ("sealed", "unsealed"):
        raise KeyError(kind)
    # Each with a connection of its own, as so many clients would have; one process holds them.
    count = 1 + concurrency // EXCHANGES_PER_CLIENT
    clients = [SealedTransport(connection).async_httpx2_client(timeout=_SECONDS) for _ in range(count)]
    return HttpWay(url, connection.port, clients)


def _messages(work: Work) -> list[bytes]:
    """The request as messages: full ones of 64 KiB, the sink's order at the end of the first."""
    full, rest = divmod(work.prompt_bytes, MAX_BODY_PIECE)
    sizes = [MAX_BODY_PIECE] * full + ([rest] if rest or not full else [])
    order = Order(work.pieces or 1, work.piece_bytes, work.first_seconds, work.pieces_per_second).encode()
    first = ExchangeRequest(
        encapsulated_secret=bytes(ENCAPSULATED_SECRET_SIZE),
        sealed=bytes(max(0, sizes[0] - len(order))) + order,
    )
    rest_of_them = [ExchangeRequest(sealed=bytes(size)).SerializeToString() for size in sizes[1:]]
    return [first.SerializeToString(), *rest_of_them]
