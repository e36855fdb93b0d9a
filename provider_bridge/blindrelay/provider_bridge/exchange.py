"""One exchange, from its claim to its last record.

The request is judged as soon as its head is there, held until it is whole, and only then sent to the
provider; the response is passed on as it comes. A tunnel is dialled at once. Every failure after the claim
is a sealed error.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import grpc

from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.content_coding import decode_body
from blindrelay.provider_bridge.errors import RequestError, SealedError
from blindrelay.provider_bridge.events import EventLog, Outcome
from blindrelay.provider_bridge.exchange_opener import ClaimedExchange
from blindrelay.provider_bridge.frame_filter import MessageFilter, NoFilter
from blindrelay.provider_bridge.policy.request_policy import PlannedCall, plan_call
from blindrelay.provider_bridge.providers import Provider
from blindrelay.provider_bridge.request_body import discard_rest, read_body
from blindrelay.provider_bridge.request_budget import RequestBudget, Share
from blindrelay.provider_bridge.response_stream import send_response
from blindrelay.provider_bridge.stateless.checker import Checker
from blindrelay.provider_bridge.tunnel import FrameFilter, Tunnel
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse, ProviderTransport
from blindrelay.serving import CallRefusedError, Context
from blindrelay.v1.exchange_messages import response_message
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_DEADLINE,
    ERROR_CODE_DRAINING,
    ERROR_CODE_INTERNAL,
    ERROR_CODE_NOT_ALLOWED,
    EXECUTION_NOT_STARTED,
    EXECUTION_STARTED,
    EXECUTION_UNKNOWN,
    Execution,
)
from blindrelay.v1.outer_status import OuterStatus

FAREWELL_SECONDS: Final = 10.0
"""For an error's record to leave, when the exchange's own time may be over."""

_OUTER_STATUS: Final = {
    ERROR_CODE_DEADLINE: OuterStatus.DEADLINE,
    ERROR_CODE_DRAINING: OuterStatus.DRAINING,
}


@dataclass
class Runtime:
    """What all exchanges of one process share."""

    providers: tuple[Provider, ...]
    transport: ProviderTransport
    clock: Clock
    log: EventLog
    budget: RequestBudget
    max_request: int
    checker: Checker
    running: set[Exchange] = field(default_factory=set)
    draining: bool = False
    """Whether new exchanges are refused, by a sealed error: their clients may go to another process."""

    def give_up(self) -> None:
        """Ends every running exchange with a sealed error: the process is going."""
        for exchange in list(self.running):
            exchange.give_up()


class Exchange:
    """One claimed exchange. It ends with a whole response, a sealed error, or the client's going away."""

    def __init__(self, runtime: Runtime, claimed: ClaimedExchange, context: Context, peer: bytes) -> None:
        self._runtime = runtime
        self._claimed = claimed
        self._context = context
        self._peer = peer
        self._execution: Execution.ValueType = EXECUTION_NOT_STARTED
        self._limit = asyncio.timeout(None)
        self._open_tunnel: Tunnel | None = None
        self._given_up = False
        self._writing = False

    async def run(self) -> None:
        """Serves the exchange. Raises CallRefusedError if not even an error can be sealed any more."""
        try:
            async with self._limit:
                self._runtime.running.add(self)
                try:
                    await self._serve()
                finally:
                    self._runtime.running.discard(self)
            self._runtime.log.count(Outcome.COMPLETED)
        except SealedError as error:
            await self._fail(error)
        except TimeoutError:
            await self._fail(self._out_of_time())
        except asyncio.CancelledError:
            # A client that has it all may be gone before the last write returns.
            whole = self._claimed.response.ended
            self._runtime.log.count(Outcome.COMPLETED if whole else Outcome.CANCELLED)
            raise
        except (grpc.aio.InternalError, grpc.aio.UsageError):
            # gRPC could not read or write: the client is gone, and this task is about to be cancelled.
            self._runtime.log.count(Outcome.CANCELLED)
            raise
        except Exception as fault:
            self._runtime.log.fault(fault)
            await self._fail(SealedError(ERROR_CODE_INTERNAL, "the bridge has a fault", self._execution))
        finally:
            if self._open_tunnel is not None:
                self._open_tunnel.drop()

    def give_up(self) -> None:
        """Ends the exchange now, with a sealed error that says why."""
        if not self._limit.expired():
            self._given_up = True
            self._limit.reschedule(0)

    async def _serve(self) -> None:
        if self._runtime.draining:
            raise SealedError(ERROR_CODE_DRAINING, "the bridge is shutting down", EXECUTION_NOT_STARTED)
        call = plan_call(self._claimed.first.head, self._runtime.providers)
        self._end_after(call.deadline)
        with self._runtime.budget.share(self._peer) as share:
            if call.allowed.tunnel:
                await self._tunnel(call, share)
                return
            body = await self._body(call, share)
            await self._call(call, body, share)

    def _end_after(self, seconds: int) -> None:
        """The deadline class counts from the envelope's issued_at, whatever the way took."""
        remaining = self._claimed.issued_at + seconds - self._runtime.clock.now()
        if remaining <= 0:
            raise self._out_of_time()
        self._limit.reschedule(asyncio.get_running_loop().time() + remaining)

    async def _body(self, call: PlannedCall, share: Share) -> bytearray:
        """The whole body as it goes to the provider, once it has been judged."""
        limit = self._runtime.max_request
        body = await read_body(self._claimed, self._context, share, limit)
        if call.coding is not None:
            body = await decode_body(body, call.coding, share, limit)
        if body and call.bodiless:
            raise RequestError(ERROR_CODE_NOT_ALLOWED, f"a {call.method} request has no body here")
        if call.check is not None:
            await self._runtime.checker.check(call.check, body)
        return body

    async def _call(self, call: PlannedCall, body: bytearray, share: Share) -> None:
        self._execution = EXECUTION_UNKNOWN
        async with aclosing(await self._runtime.transport.call(call, body)) as response:
            self._execution = EXECUTION_STARTED
            # The provider has it all; the response may take hours.
            body.clear()
            share.release()
            await send_response(response, self._claimed.response, self._send)

    async def _tunnel(self, call: PlannedCall, share: Share) -> None:
        self._execution = EXECUTION_UNKNOWN
        async with aclosing(await self._runtime.transport.dial(call)) as provider:
            self._execution = EXECUTION_STARTED
            if isinstance(provider, ProviderResponse):
                await send_response(provider, self._claimed.response, self._send)
            else:
                gate = self._gate(call, share)
                self._open_tunnel = Tunnel(self._claimed, self._context, provider, gate, self._send)
                await self._open_tunnel.run()
        await self._hear_out()

    def _gate(self, call: PlannedCall, share: Share) -> FrameFilter:
        if call.check is None:
            return NoFilter()
        judge = partial(self._runtime.checker.check, call.check)
        return MessageFilter(judge, share, self._runtime.max_request)

    async def _send(self, records: list[bytes]) -> None:
        self._writing = True
        for record in records:
            await self._context.write(response_message(record))
        self._writing = False

    async def _fail(self, error: SealedError) -> None:
        self._runtime.log.count_error(error)
        if self._writing:
            # The client takes nothing more, and a record that half left cannot be followed by another.
            raise CallRefusedError(_OUTER_STATUS.get(error.code, OuterStatus.INTERNAL))
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._send(self._claimed.response.seal(error=error.as_message()))
        except TimeoutError:
            raise CallRefusedError(OuterStatus.DEADLINE) from None
        await self._hear_out()

    async def _hear_out(self) -> None:
        """One task reads from gRPC at a time; in a tunnel it is the tunnel's."""
        if self._open_tunnel is not None:
            await self._open_tunnel.leave()
        else:
            await discard_rest(self._claimed, self._context)

    def _out_of_time(self) -> SealedError:
        if self._given_up:
            return SealedError(ERROR_CODE_DRAINING, "the bridge is shutting down", self._execution)
        return SealedError(ERROR_CODE_DEADLINE, "the exchange's time is used up", self._execution)
