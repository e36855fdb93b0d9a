"""A gRPC server with one unary method, and calls of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from blindrelay.serving import STREAMS_PER_CLIENT, Address, ConfigError, ServerTls, listen, server_options

ANY_PORT = Address("127.0.0.1", 0)


def echo_server() -> grpc.aio.Server:
    """A server that answers each message with itself."""

    async def echo(message: bytes, context: Any) -> bytes:
        return message

    server = grpc.aio.server(options=server_options(STREAMS_PER_CLIENT))
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"C": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", methods),))
    return server


@asynccontextmanager
async def listening(
    address: Address = ANY_PORT,
    tls: ServerTls | None = None,
    on_problem: Callable[[ConfigError], None] = lambda _: None,
) -> AsyncIterator[str]:
    """Runs the server during the block. Yields its address."""
    server = echo_server()
    try:
        bound = listen(server, address, tls, on_problem=on_problem)
        await server.start()
        yield str(bound)
    finally:
        await server.stop(0)


def echo(channel: grpc.aio.Channel) -> Any:
    """The method of the server, on a channel."""
    return channel.unary_unary("/a.B/C")


async def works(channel: grpc.aio.Channel) -> bool:
    """Whether a call succeeds on the channel, which is then closed. It fails only with UNAVAILABLE."""
    async with channel:
        try:
            return bool(await echo(channel)(b"x", timeout=20) == b"x")
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
