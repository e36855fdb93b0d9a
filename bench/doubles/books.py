"""Stands where a ledger stands: gives a lease for any token, and takes every line. It settles nothing.

    python -m bench.doubles.books

It prints {"listening": …}. What a ledger does with an exchange's two lines does not change what they cost the
relay.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import grpc

from bench.doubles.process import serve_until_told
from blindrelay.serving import server_options
from blindrelay.serving.leases import base64url, sign_lease
from blindrelay.v1.ledger_pb2 import (
    Allowance,
    GetLeaseRequest,
    GetLeaseResponse,
    ReportRequest,
    ReportResponse,
)

_ACCOUNT = base64url(bytes(12))
_KEY = os.urandom(32)
_LIMITS = {"concurrent": 20_000, "units": 1_000_000, "rate": "1000000/1000000"}
_SECONDS = 3_600
_ALLOWED = 20_000
_BEAT_SECONDS = 3


async def _lease(request: GetLeaseRequest, _: object) -> GetLeaseResponse:
    now = int(time.time())
    names = {"sub": _ACCOUNT, "jti": base64url(os.urandom(12)), "aud": base64url(request.node)}
    lease = sign_lease({**names, "iat": now, "exp": now + _SECONDS, **_LIMITS}, _KEY)
    allowance = Allowance(account=_ACCOUNT, exchanges=_ALLOWED)
    return GetLeaseResponse(lease=lease, lease_seconds=_SECONDS, allowance=allowance)


async def _report(_: object, context: Any) -> None:
    """Each batch is answered as a ledger does: an acknowledgement, and the account's new allowance."""
    await context.write(_response(lease_keys=[_KEY]))
    beating = asyncio.create_task(_beat(context))
    try:
        while (request := await context.read()) is not grpc.aio.EOF:
            if lines := request.lines.lines:
                last = request.lines.first_sequence + len(lines) - 1
                allowance = Allowance(account=_ACCOUNT, sequence=last, exchanges=_ALLOWED)
                await context.write(_response(acknowledged=last, allowances=[allowance]))
    finally:
        beating.cancel()


async def _beat(context: Any) -> None:
    """A relay to which its ledger says nothing for ten seconds starts no exchange."""
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        await context.write(_response())


def _response(**news: Any) -> ReportResponse:
    return ReportResponse(sent_at=int(1_000 * time.monotonic()), **news)


async def _serve() -> None:
    server = grpc.aio.server(options=server_options(1_000))
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "GetLease": grpc.unary_unary_rpc_method_handler(
            _lease, GetLeaseRequest.FromString, GetLeaseResponse.SerializeToString
        ),
        "Report": grpc.stream_stream_rpc_method_handler(
            _report, ReportRequest.FromString, ReportResponse.SerializeToString
        ),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("blindrelay.v1.LedgerService", handlers),)
    )
    await serve_until_told(server)


if __name__ == "__main__":
    asyncio.run(_serve())
