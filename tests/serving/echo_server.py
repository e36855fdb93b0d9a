"""Small gRPC servers, and calls of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from blindrelay.serving import STREAMS_PER_CLIENT, Address, ConfigError, ServerTls, listen, server_options
from tests.patience import PATIENCE

ANY_PORT = Address("127.0.0.1", 0)
UNARY, STREAM = "/test.Service/Unary", "/test.Service/Stream"

Handler = Callable[[Any, Any], Awaitable[Any]]


async def echo(message: bytes, _: Any) -> bytes:
    return message


def server_of(handler: Handler = echo, options: Any = ()) -> grpc.aio.Server:
    """A server with the handler as both kinds of method."""
    server = grpc.aio.server(options=options or server_options(STREAMS_PER_CLIENT))
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Unary": grpc.unary_unary_rpc_method_handler(handler),
        "Stream": grpc.stream_stream_rpc_method_handler(handler),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", methods),))
    return server


@asynccontextmanager
async def listening(
    address: Address = ANY_PORT,
    tls: ServerTls | None = None,
    on_problem: Callable[[ConfigError], None] = lambda _: None,
    handler: Handler = echo,
    options: Any = (),
) -> AsyncIterator[str]:
    """Runs a server on listen() during the block. Yields its address."""
    server = server_of(handler, options)
    try:
        bound = listen(server, address, tls, on_problem=on_problem)
        await server.start()
        yield str(bound)
    finally:
        await server.stop(0)


def unary(channel: grpc.aio.Channel) -> Any:
    return channel.unary_unary(UNARY)


async def works(channel: grpc.aio.Channel) -> bool:
    """Whether a call succeeds on the channel, which is then closed. It fails only with UNAVAILABLE."""
    async with channel:
        try:
            return bool(await unary(channel)(b"x", timeout=PATIENCE) == b"x")
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
