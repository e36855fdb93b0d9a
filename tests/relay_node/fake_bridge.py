"""A bridge without keys: a gRPC server that speaks the outer half of the protocol."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import grpc

from blindrelay.relay_node import ReplicaConfig
from blindrelay.serving import STREAMS_PER_RELAY, Address, server_options
from blindrelay.testbed.ports import free_port
from blindrelay.v1.channel import Metadata
from blindrelay.v1.envelope import encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import EXCHANGE, KEY_DIRECTORY, SERVICE
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import Delegation, KeyConfig, KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import DEFAULT_MAX_UNITS, SUITE
from tests.patience import until


@dataclass
class Seen:
    """What the bridge saw of one exchange."""

    metadata: Metadata
    time_remaining: float | None
    messages: list[bytes] = field(default_factory=list)
    half_closed: bool = False
    cancelled: bool = False


Script = Callable[[Any, Seen], Awaitable[None]]


async def echo(context: Any, seen: Seen) -> None:
    """Answers each message with itself."""
    while (message := await context.read()) is not grpc.aio.EOF:
        seen.messages.append(message)
        await context.write(message)
    await context.read()  # for a cancelled call, this returns after the cancellation
    seen.half_closed = True


def abort(code: grpc.StatusCode, details: str = "") -> Script:
    """A script that reads one message and ends the call with a status."""

    async def script(context: Any, seen: Seen) -> None:
        await context.read()
        await context.abort(code, details)

    return script


class FakeBridge:
    """`script` plays each exchange. The other attributes say what its directory is like."""

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
        self.port = free_port()
        self.new_keys()

    def new_keys(self) -> None:
        """Becomes another process, with another replica_id and other keys."""
        self.replica_id = os.urandom(16)
        self.configs = [new_key()]

    def directory(self) -> SignedKeyDirectory:
        """A directory with signatures that a relay does not check."""
        now = int(time.time())
        directory = KeyDirectory(
            identity=self.identity,
            replica_id=self.replica_id,
            sequence=self.fetches,
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

    def directories(self) -> bytes:
        """The response to GetKeyDirectory."""
        return GetKeyDirectoryResponse(directories=[self.directory()]).SerializeToString()

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
        """Listens, always on the same port."""
        self._server = grpc.aio.server(options=server_options(STREAMS_PER_RELAY))
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            EXCHANGE: grpc.stream_stream_rpc_method_handler(self._exchange),
            KEY_DIRECTORY: grpc.unary_unary_rpc_method_handler(self._fetch),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        address = f"127.0.0.1:{self.port}"
        if self.credentials is None:
            self._server.add_insecure_port(address)
        else:
            self._server.add_secure_port(address, self.credentials)
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    @property
    def config(self) -> ReplicaConfig:
        return ReplicaConfig(Address("127.0.0.1", self.port))

    @property
    def pinned(self) -> ReplicaConfig:
        """Its configuration with its identity."""
        return replace(self.config, identities=frozenset({self.identity}))

    async def _exchange(self, _: Any, context: Any) -> None:
        seen = Seen(tuple(context.invocation_metadata()), context.time_remaining())
        self.seen.append(seen)
        try:
            await self.script(context, seen)
        except (asyncio.CancelledError, grpc.aio.InternalError):  # the latter while it writes
            seen.cancelled = True
            raise

    async def _fetch(self, _: bytes, context: Any) -> bytes:
        self.fetches += 1
        self.fetch_metadata = tuple(context.invocation_metadata())
        if self.refuse_fetch is not None:
            await context.abort(self.refuse_fetch, "not today, says 10.1.2.3")
        return self.directories() if self.answer_fetch is None else self.answer_fetch


def new_key() -> bytes:
    """A KeyConfig."""
    return KeyConfig(suite=SUITE, public_key=os.urandom(1_216)).SerializeToString()


async def cancelled(seen: Seen) -> None:
    """Waits until the exchange is cancelled at the bridge. It was not half-closed before."""
    await until(lambda: seen.cancelled)
    assert not seen.half_closed
