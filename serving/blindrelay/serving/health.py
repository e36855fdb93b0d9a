"""The standard gRPC health service of relay and bridge: SERVING while exchanges can succeed.

It needs grpcio-health-checking, which the extras `relay` and `bridge` install.
"""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1.health import aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.serving.admission import Shares
from blindrelay.serving.errors import CallRefusedError
from blindrelay.serving.handlers import Context, first_message, guarded, write_in_time
from blindrelay.v1.grpc_profile import SERVICE
from blindrelay.v1.outer_status import OuterStatus

SERVICES = ("", SERVICE)

MAX_CHECKS: Final = 256
"""At once. Health calls need no token, and each may leave half a request in memory."""

MAX_WATCHES: Final = 32
"""At once. A watch lasts as long as its caller likes, and keeps its connection from being idle.

Callers at one network address may have at most half of both. So a load balancer at another address is served.
"""

REQUEST_SECONDS: Final = 5.0
"""Seconds for the request of a few bytes to arrive, and for a busy process to read it."""

RESPONSE_SECONDS: Final = 5.0
"""Seconds for the peer to read the response of a few bytes."""


class Health:
    """Tells load balancers whether exchanges can succeed. It needs no token."""

    def __init__(self) -> None:
        self._servicer = aio.HealthServicer()
        self._checks = Shares(MAX_CHECKS)
        self._watches = Shares(MAX_WATCHES)

    async def set(self, serving: bool) -> None:
        """Sets whether exchanges can succeed now."""
        status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        for service in SERVICES:
            await self._servicer.set(service, status)

    async def drain(self) -> None:
        """Sets NOT_SERVING permanently."""
        await self._servicer.enter_graceful_shutdown()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service. It takes raw bytes, so that gRPC words no error about them."""
        encode = HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.stream_stream_rpc_method_handler(guarded(self._check), None, encode),
                "Watch": grpc.stream_stream_rpc_method_handler(guarded(self._watch), None, encode),
            },
        )

    async def _check(self, _: object, context: Context) -> None:
        with self._checks.hold(_address(context)):
            response = await self._servicer.Check(await _read(context), context)
            await write_in_time(context, response, RESPONSE_SECONDS)

    async def _watch(self, _: object, context: Context) -> None:
        with self._watches.hold(_address(context)):
            await self._servicer.Watch(await _read(context), context)


def _address(context: Context) -> str:
    """The caller's network address, without the port."""
    return context.peer().rpartition(":")[0]


async def _read(context: Context) -> Any:
    try:
        return HealthCheckRequest.FromString(await first_message(context, REQUEST_SECONDS))
    except DecodeError:
        raise CallRefusedError(OuterStatus.MALFORMED) from None
