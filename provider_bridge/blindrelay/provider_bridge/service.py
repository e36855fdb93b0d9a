"""The bridge's gRPC service. It takes raw bytes, so that it chooses the status even of a decoding error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc

from blindrelay.provider_bridge.audit_log import Event, Outcome
from blindrelay.provider_bridge.errors import DelegationEndedError
from blindrelay.provider_bridge.exchange import Exchange, Runtime
from blindrelay.provider_bridge.exchange_opener import ExchangeOpener
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.provider_bridge.peers import Peers
from blindrelay.provider_bridge.quota import Quota
from blindrelay.serving import Admission, CallRefusedError, Context, first_message, guarded, write_in_time
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import EXCHANGE, KEY_DIRECTORY, SERVICE
from blindrelay.v1.limits import REPLAY_WINDOW
from blindrelay.v1.outer_status import OuterStatus

_OUTCOMES: Final = {OuterStatus.OVERLOADED: Outcome.NO_ROOM}
"""How a refused exchange is counted, if not as REFUSED."""


class ExchangeService:
    """Exchange and GetKeyDirectory, for callers that show a token where tokens are required."""

    def __init__(
        self,
        keys: EpochKeys,
        opener: ExchangeOpener,
        runtime: Runtime,
        admission: Admission,
        peers: Peers,
        exchanges: Quota,
    ) -> None:
        """`exchanges` counts the running ones by peer; `admission` knows whether new ones are accepted."""
        self._keys = keys
        self._opener = opener
        self._runtime = runtime
        self._admission = admission
        self._peers = peers
        self._exchanges = exchanges
        self._next_note = 0.0

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers both methods."""

        def on_fault() -> None:
            self._runtime.log.count(Outcome.FAULT)

        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            EXCHANGE: grpc.stream_stream_rpc_method_handler(guarded(self._exchange, on_fault)),
            KEY_DIRECTORY: grpc.stream_stream_rpc_method_handler(guarded(self._key_directory, on_fault)),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def _exchange(self, _: object, context: Context) -> None:
        with (
            self._peers.admitted(context) as peer,
            self._admission.admit(draining=True),
            self._one_more(peer),
            _absent_without_delegation(),
        ):
            try:
                claimed = await self._opener.open(context, peer)
            except CallRefusedError as refusal:
                self._runtime.log.count(_OUTCOMES.get(refusal.status, Outcome.REFUSED))
                self._note(refusal)
                raise
            refused = self._runtime.draining
            await Exchange(self._runtime, claimed, context, peer).run()
        if refused:
            # For the relay, after the sealed error: it asks for the directory and learns that there is none.
            raise CallRefusedError(OuterStatus.DRAINING)

    async def _key_directory(self, _: object, context: Context) -> None:
        with self._peers.admitted(context):
            await first_message(context)
            # Never refused for lack of room: a relay without a directory would give up the whole bridge.
            if self._admission.draining:
                raise CallRefusedError(OuterStatus.DRAINING)
            with _absent_without_delegation():
                response = GetKeyDirectoryResponse(directories=[self._keys.directory()])
            await write_in_time(context, response.SerializeToString())

    @contextmanager
    def _one_more(self, peer: bytes) -> Iterator[None]:
        """A place among the exchanges of a peer, for as long as the block runs."""
        if not self._exchanges.take(peer):
            raise CallRefusedError(OuterStatus.OVERLOADED)
        try:
            yield
        finally:
            self._exchanges.give_back(peer)

    def _note(self, refusal: CallRefusedError) -> None:
        """Notes that there is no room for claims, at most once per replay window."""
        now = self._runtime.clock.now()
        if refusal.status is OuterStatus.OVERLOADED and now >= self._next_note:
            self._next_note = now + REPLAY_WINDOW
            self._runtime.log.note(Event.CLAIMS_FULL)


@contextmanager
def _absent_without_delegation() -> Iterator[None]:
    """Reports the bridge as unavailable: clients would refuse what it signs."""
    try:
        yield
    except DelegationEndedError:
        raise CallRefusedError(OuterStatus.BRIDGE_UNAVAILABLE) from None
