"""The bridge's gRPC service: raw bytes in and out, so that not even a decoding error speaks for itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

from blindrelay.provider_bridge.epoch_keys import EpochKeys
from blindrelay.provider_bridge.events import Outcome
from blindrelay.provider_bridge.exchange import Exchange, Workplace
from blindrelay.provider_bridge.opening import Opening
from blindrelay.serving import Admission, CallRefusedError, Context, TokenFile, first_message, guarded
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import EXCHANGE, KEY_DIRECTORY, SERVICE
from blindrelay.v1.outer_status import OuterStatus


class ExchangeService:
    """Exchange and GetKeyDirectory, for callers that show a token where tokens are wanted."""

    def __init__(
        self,
        keys: EpochKeys,
        opening: Opening,
        workplace: Workplace,
        admission: Admission,
        tokens: TokenFile | None,
    ) -> None:
        self._keys = keys
        self._opening = opening
        self._workplace = workplace
        self._admission = admission
        self._tokens = tokens

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers both methods."""

        def on_fault() -> None:
            self._workplace.log.count(Outcome.FAULT)

        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            EXCHANGE: grpc.stream_stream_rpc_method_handler(guarded(self._exchange, on_fault)),
            KEY_DIRECTORY: grpc.stream_unary_rpc_method_handler(guarded(self._key_directory, on_fault)),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def _exchange(self, _: object, context: Context) -> None:
        self._check_token(context.invocation_metadata())
        with self._admission.admit():
            try:
                claimed = await self._opening.open(context)
            except CallRefusedError:
                self._workplace.log.count(Outcome.REFUSED)
                raise
            await Exchange(self._workplace, claimed, context).run()

    async def _key_directory(self, _: object, context: Context) -> bytes:
        self._check_token(context.invocation_metadata())
        await first_message(context)
        # Not for want of room: a relay that gets none takes the whole bridge for lost.
        if self._admission.draining:
            raise CallRefusedError(OuterStatus.DRAINING)
        return GetKeyDirectoryResponse(directories=[self._keys.directory()]).SerializeToString()

    def _check_token(self, metadata: Iterable[tuple[str, Any]] | None) -> None:
        if self._tokens is not None and not self._tokens.admits(metadata):
            raise CallRefusedError(OuterStatus.UNAUTHENTICATED)
