"""One exchange, from its claim to its last record.

The head is checked as soon as it has opened. The request's body is collected until it is complete, decoded
and checked; each step hands it back here. Only then does it go to the provider, on one way down to the
socket. The response is passed on as it arrives. A tunnel is opened at once. Every failure after the claim is
a sealed error.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import grpc

from blindrelay.provider_bridge.aggregate.router import Router
from blindrelay.provider_bridge.audit_log import AuditLog, Outcome
from blindrelay.provider_bridge.billing.bill import new_bill
from blindrelay.provider_bridge.billing.billing import Billing
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.content_coding import decode_body
from blindrelay.provider_bridge.errors import SealedError, not_allowed
from blindrelay.provider_bridge.exchange_opener import ClaimedExchange
from blindrelay.provider_bridge.frame_filter import frame_filter
from blindrelay.provider_bridge.pacer import CellSource, Pacer, coming
from blindrelay.provider_bridge.policy.request_policy import PlannedCall
from blindrelay.provider_bridge.policy.shaping import expects_events, shape_of
from blindrelay.provider_bridge.request_body import Look, discard_request, read_body
from blindrelay.provider_bridge.request_budget import RequestBudget, Share
from blindrelay.provider_bridge.response_stream import send_response
from blindrelay.provider_bridge.stateless.checker import Checker
from blindrelay.provider_bridge.stateless.long_strings import LongStrings
from blindrelay.provider_bridge.tunnel import Tunnel
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse
from blindrelay.sealing import CellShape
from blindrelay.serving import CallRefusedError, Context
from blindrelay.v1.exchange_messages import response_message
from blindrelay.v1.grid import Grid
from blindrelay.v1.http_headers import Header
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_DEADLINE,
    ERROR_CODE_DRAINING,
    ERROR_CODE_INTERNAL,
    EXCHANGE_KIND_EXCHANGE,
    EXECUTION_NOT_STARTED,
    EXECUTION_STARTED,
    EXECUTION_UNKNOWN,
    ExchangeError,
    Execution,
    ResponsePart,
)
from blindrelay.v1.outer_status import OuterStatus

FAREWELL_SECONDS: Final = 10.0
"""Seconds for an error's record to be sent; the exchange's own time may be over."""

_REFUSED_SECONDS: Final = 600
"""The time for a request whose head is refused: twice W, since it counts from issued_at."""

_OUTER_STATUS: Final = {
    ERROR_CODE_DEADLINE: OuterStatus.DEADLINE,
    ERROR_CODE_DRAINING: OuterStatus.DRAINING,
}


@dataclass
class Runtime:
    """What all exchanges of one process share."""

    router: Router
    clock: Clock
    log: AuditLog
    budget: RequestBudget
    max_request: int
    checker: Checker
    billing: Billing | None = None
    running: set[Exchange] = field(default_factory=set)
    draining: bool = False
    """Whether new exchanges are refused, by a sealed error: their clients may go to another process."""

    def give_up(self) -> None:
        """Ends every running exchange with a sealed error: the process is about to end."""
        for exchange in list(self.running):
            exchange.give_up()


class Exchange:
    """One claimed exchange. It ends with a whole response, a sealed error, or the client's going away."""

    def __init__(self, runtime: Runtime, claimed: ClaimedExchange, context: Context, peer: bytes) -> None:
        self._runtime = runtime
        self._claimed = claimed
        self._context = context
        self._peer = peer
        self._bill = new_bill(runtime.billing, claimed, peer)
        self._execution: Execution.ValueType = EXECUTION_NOT_STARTED
        self._timeout = asyncio.timeout(None)
        self._open_tunnel: Tunnel | None = None
        self._grid: Grid | None = None
        self._pacer: Pacer | None = None
        self._given_up = False
        self._writing = False

    async def run(self) -> None:
        """Serves the exchange. Raises CallRefusedError if not even a sealed error can be sent."""
        try:
            async with self._timeout:
                self._runtime.running.add(self)
                try:
                    await self._serve()
                finally:
                    self._runtime.running.discard(self)
            self._runtime.log.count(Outcome.COMPLETED)
        except SealedError as error:
            await self._fail(error)
        except TimeoutError:
            if not self._ended:
                await self._fail(self._out_of_time())
                return
            self._runtime.log.count(Outcome.COMPLETED)
            if self._pacer is not None and not self._writing:
                await self._pacer.send_end()
            # Only padding is missing, and the bridge is about to end.
            raise CallRefusedError(OuterStatus.DRAINING) from None
        except asyncio.CancelledError:
            # A client that has the whole response may leave before the last write returns.
            completed = self._ended
            self._runtime.log.count(Outcome.COMPLETED if completed else Outcome.CANCELLED)
            raise
        except (grpc.aio.InternalError, grpc.aio.UsageError):
            # gRPC could not read or write: the client is gone, and this task is about to be cancelled.
            self._runtime.log.count(Outcome.CANCELLED)
            raise
        except Exception as fault:
            self._runtime.log.fault(fault)
            await self._fail(SealedError(ERROR_CODE_INTERNAL, "the bridge has a fault", self._execution))
        finally:
            self._bill.left(self._execution)
            if self._open_tunnel is not None:
                self._open_tunnel.drop()

    def give_up(self) -> None:
        """Ends the exchange now, with a sealed error that says why."""
        if not self._timeout.expired():
            self._given_up = True
            self._timeout.reschedule(0)

    async def _serve(self) -> None:
        # Proxies time out without the response's headers, and a model may think for long.
        await self._context.send_initial_metadata(())
        if self._runtime.draining:
            raise SealedError(ERROR_CODE_DRAINING, "the bridge is shutting down", EXECUTION_NOT_STARTED)
        with self._runtime.budget.share(self._peer) as share:
            call = await self._plan(share)
            self._end_after(call.deadline)
            body = bytearray() if call.allowed.tunnel else await self._body(call, share)
            if not call.checked_later:
                await self._bill.agree(call, body)
            if call.allowed.tunnel:
                await self._tunnel(call, share)
            else:
                await self._call(call, body, share)

    async def _plan(self, share: Share) -> PlannedCall:
        """The call. A refusal comes when a response would begin, in the same shape."""
        head = self._claimed.first.head
        try:
            return self._runtime.router.plan(head)
        except SealedError:
            if head.kind == EXCHANGE_KIND_EXCHANGE and (shape := shape_of(head)) is not None:
                self._end_after(_REFUSED_SECONDS)
                headers = [(item.name, item.value) for item in head.headers]
                await self._received(shape, head.url.encode(), headers, share)
            raise

    def _end_after(self, seconds: int) -> None:
        """The deadline class counts from the envelope's issued_at, however long the call was on its way."""
        remaining = self._claimed.issued_at + seconds - self._runtime.clock.now()
        if remaining <= 0:
            raise self._out_of_time()
        self._timeout.reschedule(asyncio.get_running_loop().time() + remaining)

    async def _body(self, call: PlannedCall, share: Share) -> bytearray:
        """The body as it goes to the provider, once it has been checked."""
        strings = LongStrings() if call.checked_as_it_comes else None
        look = None if strings is None else strings.look
        body = await self._received(call.shape, call.url.target, call.headers, share, look)
        if call.coding is not None:
            body = await decode_body(body, call.coding, share, self._runtime.max_request)
        if body and call.bodiless:
            raise not_allowed(f"a {call.method} request must not have a body here")
        if call.check is not None:
            await self._runtime.checker.check(call.check, body, strings)
        return body

    async def _received(
        self, shape: CellShape | None, target: bytes, headers: list[Header], share: Share, look: Look = None
    ) -> bytearray:
        """The body as it came. With it the request is accepted, and the clock of a shaped response starts."""
        body = await read_body(self._claimed, self._context, share, self._runtime.max_request, look)
        if shape is not None and expects_events(target, headers, body):
            self._pacer = Pacer(self._claimed.response.in_cells(shape), self._send)
        elif shape is not None:
            self._grid = Grid(shape.grid)
            self._claimed.response.shape(shape)
        return body

    async def _call(self, call: PlannedCall, body: bytearray, share: Share) -> None:
        def started(response: ProviderResponse | None) -> ProviderResponse | None:
            if response is not None and self._execution != EXECUTION_STARTED:
                self._execution = EXECUTION_STARTED
                self._bill.started(response)
                # The provider has the whole body, and the response may take hours.
                body.clear()
                share.release()
            return response

        self._execution = EXECUTION_UNKNOWN
        made = self._runtime.router.call(call, body, self._bill)
        if self._pacer is not None:
            async with coming(made) as arrived:
                await self._pacer.run(CellSource(lambda: started(arrived())).fill)
            await self._finish(self._pacer)
            return
        async with aclosing(await made) as response:
            started(response)
            if call.shape is None or not response.is_event_stream:
                await send_response(response, self._claimed.response, self._send, self._grid)
                return
            self._pacer = Pacer(self._claimed.response.in_cells(call.shape), self._send)
            await self._pacer.run(CellSource(lambda: response).fill)
        await self._finish(self._pacer)

    async def _finish(self, pacer: Pacer) -> None:
        """Sends the rest of the cells: the response has ended, so its time is not limited any more."""
        self._timeout.reschedule(None)
        await pacer.finish()

    async def _tunnel(self, call: PlannedCall, share: Share) -> None:
        self._execution = EXECUTION_UNKNOWN
        async with aclosing(await self._runtime.router.dial(call)) as provider:
            self._execution = EXECUTION_STARTED
            self._bill.started(provider if isinstance(provider, ProviderResponse) else None)
            if isinstance(provider, ProviderResponse):
                await send_response(provider, self._claimed.response, self._send)
            else:
                check = None if call.check is None else partial(self._runtime.checker.check, call.check)
                frames, send = frame_filter(check, share, self._runtime.max_request), self._send
                self._open_tunnel = Tunnel(self._claimed, self._context, provider, frames, send, self._bill)
                await self._open_tunnel.open()
                if call.shape is not None:
                    self._pacer = Pacer(self._claimed.response.tunnel_in_cells(call.shape), send)
                await self._open_tunnel.run(self._pacer)
        await self._discard_request()

    @property
    def _ended(self) -> bool:
        """Whether the response has its end, which is sealed or waits for its cell."""
        return self._claimed.response.ended if self._pacer is None else self._pacer.cells.ended

    async def _send(self, records: list[bytes]) -> None:
        self._writing = True
        for record in records:
            await self._context.write(response_message(record))
        self._writing = False

    async def _fail(self, error: SealedError) -> None:
        self._runtime.log.count_error(error)
        message = self._bill.failed(error)
        if self._writing:
            # The client stopped reading, and no record can follow one that was half written.
            raise CallRefusedError(_OUTER_STATUS.get(error.code, OuterStatus.INTERNAL))
        try:
            await self._send_error(message)
        except TimeoutError:
            raise CallRefusedError(OuterStatus.DEADLINE) from None
        await self._discard_request()

    async def _send_error(self, error: ExchangeError) -> None:
        if self._pacer is not None:
            self._pacer.cells.add(ResponsePart(error=error))
            await self._pacer.finish()
            return
        if self._grid is not None:
            await self._grid.wait()
        async with asyncio.timeout(FAREWELL_SECONDS):
            await self._send(self._claimed.response.seal(error=error))

    async def _discard_request(self) -> None:
        """Only one task may read from gRPC at a time; in a tunnel it is the tunnel's."""
        if self._open_tunnel is not None:
            await self._open_tunnel.leave()
        else:
            await discard_request(self._claimed, self._context)

    def _out_of_time(self) -> SealedError:
        if self._given_up:
            return SealedError(ERROR_CODE_DRAINING, "the bridge is shutting down", self._execution)
        return SealedError(ERROR_CODE_DEADLINE, "the exchange's time is used up", self._execution)
