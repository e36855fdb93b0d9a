"""What grpc.aio itself costs a forwarder: passes messages on both ways, and does nothing else.

    python -m bench.doubles.pass_through ADDRESS

It prints {"listening": …}. No token, no envelope, no limits, no record of what passed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc

from bench.doubles.process import serve_until_told
from blindrelay.serving import STREAMS_PER_CLIENT, server_options
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS, EXCHANGE, EXCHANGE_METHOD, SERVICE


async def _serve(behind: str) -> None:
    channel = grpc.aio.insecure_channel(behind, options=CHANNEL_OPTIONS)
    method: Any = channel.stream_stream(EXCHANGE_METHOD)

    async def forward(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        envelope = [(key, value) for key, value in context.invocation_metadata() or () if key == METADATA_KEY]
        call = method(metadata=envelope)
        upward = asyncio.create_task(_upward(context, call))
        try:
            async for message in call:
                await context.write(message)
        finally:
            upward.cancel()
            call.cancel()

    server = grpc.aio.server(options=server_options(STREAMS_PER_CLIENT))
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        EXCHANGE: grpc.stream_stream_rpc_method_handler(forward)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    await serve_until_told(server)


async def _upward(context: grpc.aio.ServicerContext[Any, Any], call: Any) -> None:
    while (message := await context.read()) is not grpc.aio.EOF:
        await call.write(message)
    await call.done_writing()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
