"""Calls of the pages to the ledger's admin service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import grpc

from blindrelay.admin.v1.admin_pb2_grpc import AdminServiceStub
from blindrelay.ledger.admin_token import ACTOR_KEY

CALL_SECONDS: Final = 30.0
"""Seconds for one call. A statement of a large month takes some."""

Metadata = tuple[tuple[str, str], ...]
"""The metadata of a gRPC call."""

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class AdminCalls:
    """The admin service, for operators or for customers.

    Args:
        channel: to the service.
        authorization: the metadata that shows the admin token.
        actor: who acts, for the audit log: "page" or "customer".
    """

    def __init__(self, channel: grpc.aio.Channel, authorization: Metadata, actor: str) -> None:
        self.actor = actor
        self.stub: AdminServiceStub = AdminServiceStub(channel)
        self._metadata = (*authorization, (ACTOR_KEY, actor))

    async def ask(
        self, method: grpc.UnaryUnaryMultiCallable[_Request, _Response], request: _Request
    ) -> _Response:
        """The response of a method of the stub. Raises grpc.aio.AioRpcError."""
        call: Any = method(request, metadata=self._metadata, timeout=CALL_SECONDS)
        response: _Response = await call
        return response

    async def stream(
        self, method: grpc.UnaryStreamMultiCallable[_Request, _Response], request: _Request
    ) -> AsyncIterator[_Response]:
        """The responses of a method of the stub. Raises grpc.aio.AioRpcError."""
        call: Any = method(request, metadata=self._metadata, timeout=CALL_SECONDS)
        async for response in call:
            yield response
