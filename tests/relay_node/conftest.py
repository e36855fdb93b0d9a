"""A bridge that holds no key, a relay in this process, a client that seals nothing: bytes are enough."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from blindrelay.relay_node import AuditLog, Relay, RelayConfig, ReplicaConfig
from blindrelay.serving import STREAMS_PER_RELAY, Address, authorization, issue_token, server_options
from blindrelay.v1.envelope import METADATA_KEY, encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS, EXCHANGE_METHOD, KEY_DIRECTORY_METHOD
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import Delegation, KeyConfig, KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import DEFAULT_MAX_UNITS, SUITE

Metadata = tuple[tuple[str, str | bytes], ...]
Script = Callable[[Any, "Seen"], Awaitable[None]]


@dataclass
class Seen:
    """What the bridge saw of one exchange."""

    metadata: Metadata
    time_remaining: float | None
    messages: list[bytes] = field(default_factory=list)
    half_closed: bool = False
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


async def echo(context: Any, seen: Seen) -> None:
    """Answers each message with itself, as it comes."""
    while (message := await context.read()) is not grpc.aio.EOF:
        seen.messages.append(message)
        await context.write(message)
    # gRPC shows a cancelled call as ended for a moment; a second read comes after the news.
    await context.read()
    seen.half_closed = True


class FakeBridge:
    """A gRPC server that speaks the protocol's outer half; `script` plays the exchange."""

    def __init__(self) -> None:
        self.identity = os.urandom(32)
        self.script: Script = echo
        self.seen: list[Seen] = []
        self.fetches = 0
        self.fetch_metadata: Metadata = ()
        self.lifetime = 7_200
        self.refuse_fetch: grpc.StatusCode | None = None
        self.answer_fetch: bytes | None = None
        self.credentials: grpc.ServerCredentials | None = None
        self.port = 0
        self.new_keys()

    def new_keys(self) -> None:
        """Becomes another process: another replica_id, other keys."""
        self.replica_id = os.urandom(16)
        self.configs = [KeyConfig(suite=SUITE, public_key=os.urandom(1_216)).SerializeToString()]
        self.sequence = 0

    def directory(self) -> SignedKeyDirectory:
        """A directory whose signatures nobody here checks."""
        now = int(time.time())
        directory = KeyDirectory(
            identity=self.identity,
            replica_id=self.replica_id,
            sequence=self.sequence,
            issued_at=now,
            expires_at=now + self.lifetime,
            configs=self.configs,
        )
        delegation = Delegation(identity=self.identity, signing_key=b"s" * 32, not_before=1, not_after=2)
        return SignedKeyDirectory(
            directory=directory.SerializeToString(),
            signature=b"\x01" * 64,
            delegation=delegation.SerializeToString(),
            delegation_signature=b"\x02" * 64,
        )

    def envelope(self, **changes: Any) -> bytes:
        """A valid envelope for the bridge's newest key."""
        values: dict[str, Any] = {
            "version": 1,
            "exchange_id": os.urandom(16),
            "identity": self.identity,
            "key_id": key_id(self.configs[-1]),
            "issued_at": int(time.time()) // 10 * 10,
            "max_units": DEFAULT_MAX_UNITS,
        }
        return encode_envelope(Envelope(**values | changes))

    async def start(self) -> None:
        """Listens on the port that it had before, or on any free one."""
        self._server = grpc.aio.server(options=server_options(STREAMS_PER_RELAY))
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Exchange": grpc.stream_stream_rpc_method_handler(self._exchange),
            "GetKeyDirectory": grpc.unary_unary_rpc_method_handler(self._fetch),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("blindrelay.v1.ExchangeService", methods),)
        )
        address = f"127.0.0.1:{self.port}"
        if self.credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, self.credentials)
        await self._server.start()

    async def stop(self, grace: float | None = None) -> None:
        await self._server.stop(grace)

    @property
    def config(self) -> ReplicaConfig:
        return ReplicaConfig(Address("127.0.0.1", self.port))

    async def _exchange(self, _: Any, context: Any) -> None:
        seen = Seen(tuple(context.invocation_metadata()), context.time_remaining())
        self.seen.append(seen)
        try:
            await self.script(context, seen)
        except (asyncio.CancelledError, grpc.aio.InternalError):  # the latter if it was just sending
            seen.cancelled.set()
            raise
        finally:
            seen.ended.set()

    async def _fetch(self, _: bytes, context: Any) -> bytes:
        self.fetches += 1
        self.fetch_metadata = tuple(context.invocation_metadata())
        if self.refuse_fetch is not None:
            await context.abort(self.refuse_fetch, "not today, says 10.1.2.3")
        if self.answer_fetch is not None:
            return self.answer_fetch
        self.sequence += 1
        return GetKeyDirectoryResponse(directories=[self.directory()]).SerializeToString()


class Client:
    """Opens calls on a relay with raw bytes."""

    def __init__(self, address: str, token: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self.token = token
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        self._exchange: Any = self.channel.stream_stream(EXCHANGE_METHOD)
        self._directories: Any = self.channel.unary_unary(KEY_DIRECTORY_METHOD)

    def call(self, *envelopes: bytes, extra: Metadata = (), timeout: float | None = 30) -> Any:
        """An open exchange with these envelopes, of which there should be one."""
        carried = [(METADATA_KEY, envelope) for envelope in envelopes]
        return self._exchange(metadata=[authorization(self.token), *carried, *extra], timeout=timeout)

    async def exchange(
        self, *envelopes: bytes, messages: Iterable[bytes] = (b"hello",), timeout: float = 30
    ) -> list[bytes]:
        """A whole exchange; returns the response's messages. Raises AioRpcError."""
        call = self.call(*envelopes, timeout=timeout)
        sending = asyncio.create_task(_send(call, messages))
        # A write that fails because the relay has refused would hide what the relay said.
        call.add_done_callback(lambda _: sending.cancel())
        try:
            return [message async for message in call]
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)
            raise grpc.aio.AioRpcError(await call.code(), details=await call.details()) from None
        finally:
            sending.cancel()

    async def directories(self) -> list[SignedKeyDirectory]:
        """What GetKeyDirectory answers. Raises AioRpcError."""
        encoded = await self._directories(b"", metadata=[authorization(self.token)], timeout=30)
        return list(GetKeyDirectoryResponse.FromString(encoded).directories)


async def _send(call: Any, messages: Iterable[bytes]) -> None:
    with contextlib.suppress(grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        for message in messages:
            await call.write(message)
        await call.done_writing()


class HeardLog(AuditLog):
    """A log that keeps its lines, and what it was told of each exchange."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.outcomes: list[str] = []
        super().__init__(self.lines.append)

    def exchange(self, outcome: str, request_bytes: int, response_bytes: int) -> None:
        self.outcomes.append(outcome)
        super().exchange(outcome, request_bytes, response_bytes)

    async def keep_reporting(self) -> None:
        """A test says when a minute is over."""


@dataclass
class RunningRelay:
    """A relay in this process, with a client of it and what it wrote down."""

    relay: Relay
    address: Address
    client: Client
    log: HeardLog
    tokens: Path

    @property
    def lines(self) -> list[str]:
        """What it wrote down until now, and would write on the next minute."""
        self.log.report()
        return self.log.lines

    def events(self) -> list[str]:
        """The events until now, but for the counts."""
        events = [json.loads(line)["event"] for line in self.lines]
        return [event for event in events if event != "exchanges"]

    def outcomes(self) -> list[str]:
        """How each exchange ended, which no line says."""
        return self.log.outcomes


StartRelay = Callable[..., Awaitable[RunningRelay]]


@pytest.fixture
async def bridge() -> AsyncIterator[FakeBridge]:
    bridge = FakeBridge()
    await bridge.start()
    yield bridge
    await bridge.stop()


@pytest.fixture
async def second_bridge() -> AsyncIterator[FakeBridge]:
    bridge = FakeBridge()
    await bridge.start()
    yield bridge
    await bridge.stop()


@dataclass(frozen=True)
class RelayTls:
    """A relay's own certificate: its table in relay.toml, and what a client trusts it by."""

    table: str
    credentials: grpc.ChannelCredentials


@pytest.fixture
def relay_tls(tmp_path: Path) -> RelayTls:
    """For 127.0.0.1, with its files in tmp_path, where relay.toml is."""
    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "relay.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "relay.key")
    (tmp_path / "relay.key").chmod(0o600)
    table = '[tls]\ncertificate = "relay.pem"\nkey = "relay.key"\n'
    return RelayTls(table, grpc.ssl_channel_credentials(ca.cert_pem.bytes()))


@pytest.fixture
async def start_relay(tmp_path: Path) -> AsyncIterator[StartRelay]:
    """Starts relays in front of the given bridges; keyword arguments change the RelayConfig."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*replicas: ReplicaConfig, **changes: Any) -> RunningRelay:
            tokens = tmp_path / "tokens"
            token = issue_token(tokens, f"client-{os.urandom(4).hex()}", datetime.now(UTC))
            channels = {"open_channel": changes.pop("open_channel")} if "open_channel" in changes else {}
            config = replace(RelayConfig(Address("127.0.0.1", 0), tokens, replicas), **changes)
            log = HeardLog()
            relay = Relay(config, log, **channels)
            address = await stack.enter_async_context(relay.running())
            client = Client(str(address), token)
            stack.push_async_callback(client.channel.close)
            return RunningRelay(relay, address, client, log, tokens)

        yield start


@pytest.fixture
async def relay(bridge: FakeBridge, start_relay: StartRelay) -> RunningRelay:
    return await start_relay(bridge.config)


@pytest.fixture
def new_client() -> type[Client]:
    return Client


@pytest.fixture
def new_bridge() -> type[FakeBridge]:
    return FakeBridge


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits, at most 20 s, until a condition holds."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - the conditions have no events
                await asyncio.sleep(0.01)

    return wait
