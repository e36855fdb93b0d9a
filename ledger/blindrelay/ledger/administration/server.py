"""The gRPC server of the admin service, on loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import grpc
from grpc_reflection.v1alpha import reflection

from blindrelay.ledger.administration.context import AdminContext
from blindrelay.ledger.administration.service import SERVICE, AdminService
from blindrelay.serving import STREAMS_PER_RELAY, server_options

MAX_RESPONSE: Final = 4_194_304
"""Bytes of a message: what a gRPC client accepts by default. A page of 1,000 accounts takes about 200 KiB."""


def admin_server(context: AdminContext, token: str, on_fault: Callable[[Exception], None]) -> grpc.aio.Server:
    """A server that is not bound yet. It has reflection, so that grpcurl and grpcui can call it."""
    options = dict(server_options(STREAMS_PER_RELAY)) | {"grpc.max_send_message_length": MAX_RESPONSE}
    server = grpc.aio.server(options=tuple(options.items()))
    server.add_generic_rpc_handlers((AdminService(context, token, on_fault).handler(),))
    reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server)
    return server
