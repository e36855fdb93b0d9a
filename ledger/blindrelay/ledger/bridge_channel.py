"""The gRPC call on which a bridge sends its receipts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from blindrelay.ledger.config import BridgeConfig
from blindrelay.serving import authorization, read_token
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS
from blindrelay.v1.settlement_pb2 import SettleRequest, SettleResponse

SETTLE_METHOD = "/blindrelay.v1.SettlementService/Settle"

SettleCall = grpc.aio.StreamStreamCall[SettleRequest, SettleResponse]


@asynccontextmanager
async def settlement_call(bridge: BridgeConfig) -> AsyncIterator[SettleCall]:
    """A call with the token under which the relays call the bridge. Raises ConfigError for unusable files."""
    async with _channel(bridge) as channel:
        method: grpc.aio.StreamStreamMultiCallable[SettleRequest, SettleResponse] = channel.stream_stream(
            SETTLE_METHOD, SettleRequest.SerializeToString, SettleResponse.FromString
        )
        metadata = () if bridge.token_file is None else (authorization(read_token(bridge.token_file)),)
        call = method(metadata=metadata)
        try:
            yield call
        finally:
            call.cancel()


def _channel(bridge: BridgeConfig) -> grpc.aio.Channel:
    if bridge.tls is None:
        return grpc.aio.insecure_channel(str(bridge.address), options=CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(str(bridge.address), bridge.tls.credentials(), options=CHANNEL_OPTIONS)
