"""A hostile bridge that shares an honest relay with its victim, and lists the victim's keys as its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc

from blindrelay.relay_node import AuditLog, Relay, RelayConfig, ReplicaConfig
from blindrelay.serving import Address, authorization, issue_token, parse_address
from blindrelay.testbed.attacks.relay import Context, Hook, HostileRelay, Passage
from blindrelay.trust import IdentityKey
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import EXCHANGE, EXCHANGE_METHOD, KEY_DIRECTORY, KEY_DIRECTORY_METHOD, SERVICE

_SECONDS: Final = 60.0


class Neighbour(Hook):
    """Sends clients through an honest relay whose first replica is the attacker's bridge.

    Every exchange that the relay gives that bridge is loot.
    """

    def __init__(self) -> None:
        super().__init__(directories=lambda served: served[:1])
        self._stack = AsyncExitStack()
        self._identity = IdentityKey.generate().public_key

    async def prepare(self, relay: HostileRelay, identity: IdentityKey) -> None:
        """Starts the attacker's bridge, and the honest relay before it and the victim's."""
        self._victims = relay
        bridge = await self._stack.enter_async_context(self._bridge())
        replicas = [ReplicaConfig(bridge, identities=frozenset({self._identity}))]
        victims = frozenset({identity.public_key})
        replicas += [ReplicaConfig(parse_address(one), identities=victims) for one in relay.bridges]
        tokens = (
            Path(self._stack.enter_context(TemporaryDirectory(prefix="blindrelay-neighbour-"))) / "tokens"
        )
        self._token = authorization(issue_token(tokens, "victim", datetime.now(UTC)))
        config = RelayConfig(Address("127.0.0.1", 0), tokens, tuple(replicas))
        honest = Relay(config, AuditLog(lambda _: None))
        address = await self._stack.enter_async_context(honest.running())
        self._channel = await self._stack.enter_async_context(grpc.aio.insecure_channel(str(address)))
        fetch: Any = self._channel.unary_unary(KEY_DIRECTORY_METHOD)
        await fetch(b"", metadata=(self._token,), timeout=_SECONDS)

    async def carry(self, passage: Passage) -> None:
        """As the honest relay does."""
        metadata = (self._token, (METADATA_KEY, passage.envelope))
        call: Any = self._channel.stream_stream(EXCHANGE_METHOD)(metadata=metadata, timeout=_SECONDS)
        await passage.forward_to(call)

    async def afterwards(self, relay: HostileRelay) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def _bridge(self) -> AsyncIterator[Address]:
        server = grpc.aio.server()
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            EXCHANGE: grpc.stream_stream_rpc_method_handler(self._keep),
            KEY_DIRECTORY: grpc.unary_unary_rpc_method_handler(self._list),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield Address("127.0.0.1", port)
        finally:
            await server.stop(0)

    async def _list(self, _: bytes, context: Context) -> bytes:
        signed = (await self._victims.fetch())[0]
        return GetKeyDirectoryResponse(directories=[signed]).SerializeToString()

    async def _keep(self, _: object, context: Context) -> None:
        self.loot.append(await context.read())
        await context.abort(grpc.StatusCode.UNAVAILABLE, "bridge_unavailable")
