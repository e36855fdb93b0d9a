"""The relay's gRPC service: who may call, what is checked, and which replica gets the call."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from blindrelay.relay_node.audit_log import AuditLog
from blindrelay.relay_node.config import RelayConfig
from blindrelay.relay_node.forwarding import Tally, forward
from blindrelay.relay_node.gate import Gate
from blindrelay.relay_node.outcomes import outcome_told
from blindrelay.relay_node.replica import Replica
from blindrelay.relay_node.routing import Routing
from blindrelay.relay_node.sharing import Sharing
from blindrelay.relay_node.statuses import replica_changed
from blindrelay.serving import (
    Admission,
    CallRefusedError,
    Context,
    Share,
    first_message,
    guarded,
    write_in_time,
)
from blindrelay.v1.envelope import EnvelopeError, envelope_from_metadata
from blindrelay.v1.grpc_profile import EXCHANGE, KEY_DIRECTORY, SERVICE, forwarded_deadline
from blindrelay.v1.limits import RECORD_SECONDS
from blindrelay.v1.outer_status import OuterStatus


class RelayService:
    """Handles the two methods. The gate decides who may call."""

    def __init__(
        self,
        config: RelayConfig,
        gate: Gate,
        admission: Admission,
        routing: Routing,
        audit_log: AuditLog,
    ) -> None:
        self._gate = gate
        self._admission = admission
        self._routing = routing
        self._audit_log = audit_log
        self._sharing = Sharing(config)
        self._unread_seconds = config.unread_seconds

    def handler(self, on_fault: Callable[[], None]) -> grpc.GenericRpcHandler:
        """The service, for a gRPC server."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                # Without serializers, messages pass as the same bytes. Both methods are streaming here, so
                # that every message is read and written while the call is counted.
                EXCHANGE: grpc.stream_stream_rpc_method_handler(guarded(self._exchange, on_fault)),
                KEY_DIRECTORY: grpc.stream_stream_rpc_method_handler(guarded(self._directories, on_fault)),
            },
        )

    async def _exchange(self, _: object, context: Context) -> None:
        tally = Tally()

        def ended(outcome: str) -> None:
            self._audit_log.exchange(outcome, tally.request_bytes, tally.response_bytes)

        with outcome_told(ended):
            await self._forward(context, tally)

    async def _forward(self, context: Context, tally: Tally) -> None:
        with self._gate.exchange(context) as entrant:
            try:
                encoded, envelope = envelope_from_metadata(context.invocation_metadata())
            except EnvelopeError:
                raise CallRefusedError(OuterStatus.MALFORMED) from None
            with self._admission.admit(), self._sharing.exchange(entrant.holder, context):
                # Before any refusal: proxies may lose the status of a call that is still being sent.
                # In a list, so that forward() can take it and no frame here keeps it.
                first = [await first_message(context, RECORD_SECONDS)]
                replica = await self._routing.find(envelope.identity, envelope.key_id)
                async with entrant.starting(encoded, envelope, tally):
                    del envelope  # there may be thousands of streams, each open for hours
                    with (
                        self._sharing.forwarded(replica.pinned),
                        replica.requests.share_of(entrant.holder) as share,
                    ):
                        status = await self._carry(context, replica, encoded, first, share, tally)
                    if status is not None:
                        if replica_changed(status):
                            replica.doubt()
                        raise CallRefusedError(status)

    async def _carry(
        self,
        context: Context,
        replica: Replica,
        envelope: bytes,
        first: list[bytes],
        share: Share,
        tally: Tally,
    ) -> OuterStatus | None:
        # Proxies limit the time until the response's headers, and a provider may think for long.
        await context.send_initial_metadata(())
        call = replica.call(envelope, forwarded_deadline(context.time_remaining()))
        return await forward(first.pop(), context, call, share, self._unread_seconds, tally)

    async def _directories(self, _: object, context: Context) -> None:
        async with self._gate.fetch(context) as (holder, lease):
            with self._sharing.fetch(holder, context):
                await first_message(context)
                if self._admission.draining:
                    raise CallRefusedError(OuterStatus.DRAINING)
                # Encoded messages of one kind may be joined: the lease is one more field.
                response = await self._routing.directories() + lease
                await write_in_time(context, response, self._unread_seconds)
