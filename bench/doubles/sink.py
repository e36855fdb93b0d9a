"""Stands where a bridge stands, behind a forwarder, and opens nothing: answers as the first message asks.

    python -m bench.doubles.sink

It prints {"listening": …, "identity": …, "key_id": …} (hexadecimal). It serves a signed directory as a bridge
does, so that our relay routes to it, and takes any number of streams on one connection.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import grpc

from bench.doubles.orders import Order
from bench.doubles.process import serve_until_told
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.provider_bridge.keys.signatory import HeldIdentity
from blindrelay.serving import server_options
from blindrelay.trust import IdentityKey
from blindrelay.v1.exchange_pb2 import ExchangeResponse, GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import EXCHANGE, KEY_DIRECTORY, SERVICE
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import KeyDirectory

_STREAMS = 20_000
_EPOCH = 3_600

Context = grpc.aio.ServicerContext[Any, Any]


class Sink:
    """Keys that nobody uses, and responses made of random bytes."""

    def __init__(self) -> None:
        self.identity = IdentityKey.generate()
        self._keys = EpochKeys(HeldIdentity(self.identity, b""), Clock(), epoch=_EPOCH)
        self._messages: dict[int, bytes] = {}

    @property
    def key_id(self) -> bytes:
        """Of the key that the directory lists first."""
        return key_id(KeyDirectory.FromString(self._keys.directory().directory).configs[0])

    async def exchange(self, _: object, context: Context) -> None:
        first = await context.read()
        order = Order.at_end_of(first)
        while await context.read() is not grpc.aio.EOF:
            pass
        await self._response(order, context)

    async def _response(self, order: Order, context: Context) -> None:
        message = self._message(order.record_bytes)
        loop = asyncio.get_running_loop()
        began = loop.time() + order.first_seconds
        for number in range(order.records):
            pace = number / order.records_per_second if order.records_per_second else 0.0
            if (wait := began + pace - loop.time()) > 0 and (order.records_per_second or not number):
                await asyncio.sleep(wait)
            await context.write(message)

    async def directories(self, _: bytes, context: Context) -> bytes:
        return GetKeyDirectoryResponse(directories=[self._keys.directory()]).SerializeToString()

    def _message(self, size: int) -> bytes:
        if size not in self._messages:
            self._messages[size] = ExchangeResponse(sealed=os.urandom(size)).SerializeToString()
        return self._messages[size]

    def handler(self) -> grpc.GenericRpcHandler:
        """Both methods, with raw bytes."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            EXCHANGE: grpc.stream_stream_rpc_method_handler(self.exchange),
            KEY_DIRECTORY: grpc.unary_unary_rpc_method_handler(self.directories),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)


async def _serve() -> None:
    sink, server = Sink(), grpc.aio.server(options=server_options(_STREAMS))
    server.add_generic_rpc_handlers((sink.handler(),))
    await serve_until_told(server, identity=sink.identity.public_key.hex(), key_id=sink.key_id.hex())


if __name__ == "__main__":
    asyncio.run(_serve())
