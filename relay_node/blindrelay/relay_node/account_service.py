"""What clients ask about their own account, passed on to the ledger with a hash in place of their token."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import Final

import grpc

from blindrelay.relay_node.ledger import Ledger
from blindrelay.serving import (
    Admission,
    CallRefusedError,
    Context,
    Shares,
    first_message,
    guarded,
    write_in_time,
)
from blindrelay.serving.tokens import shown_digest
from blindrelay.v1.outer_status import OuterStatus

SERVICE: Final = "blindrelay.v1.AccountService"
METHODS: Final = ("GetPriceTable", "GetStatement")

MAX_CALLS: Final = 20
"""Concurrent calls of all accounts. A client that reads slowly holds one for long."""

MAX_CALLS_PER_TOKEN: Final = 2


class AccountService:
    """Passes messages on as bytes. The ledger checks the token."""

    def __init__(self, ledger: Ledger, admission: Admission, unread_seconds: float) -> None:
        self._ledger = ledger
        self._admission = admission
        self._unread_seconds = unread_seconds
        self._shares = Shares(MAX_CALLS, MAX_CALLS_PER_TOKEN)

    def handler(self, on_fault: Callable[[], None]) -> grpc.GenericRpcHandler:
        """The service, for a gRPC server."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                method: grpc.stream_stream_rpc_method_handler(guarded(partial(self._pass, method), on_fault))
                for method in METHODS
            },
        )

    async def _pass(self, method: str, _: object, context: Context) -> None:
        digest = shown_digest(context.invocation_metadata())
        if digest is None:
            raise CallRefusedError(OuterStatus.UNAUTHENTICATED)
        if self._admission.draining:
            raise CallRefusedError(OuterStatus.DRAINING)
        with self._shares.hold(digest):
            request = await first_message(context)
            async with aclosing(self._ledger.about_account(f"/{SERVICE}/{method}", request, digest)) as told:
                async for message in told:
                    await write_in_time(context, message, self._unread_seconds)
