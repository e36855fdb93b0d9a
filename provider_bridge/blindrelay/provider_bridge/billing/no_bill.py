"""The bill of an exchange at a bridge that keeps none."""

from __future__ import annotations

from blindrelay.provider_bridge.errors import RequestError, SealedError
from blindrelay.provider_bridge.exchange_opener import ClaimedExchange
from blindrelay.provider_bridge.policy.request_policy import PlannedCall
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_UNSUPPORTED,
    BodyEnd,
    ExchangeError,
    Execution,
    Frame,
    ResponseTail,
)


class NoBill:
    """The bill of a bridge that keeps none."""

    held = 0

    def __init__(self, claimed: ClaimedExchange) -> None:
        self._head = claimed.first.head

    def withdraw(self, body: bytearray) -> None:
        pass

    async def agree(self, call: PlannedCall, body: bytearray) -> None:
        if self._head.price_table_hash or self._head.rounding:
            raise RequestError(ERROR_CODE_UNSUPPORTED, "this bridge keeps no bills")

    def started(self, response: ProviderResponse | None) -> None:
        pass

    def take(self, data: bytes) -> bytes:
        return data

    def rest(self) -> bytes:
        return b""

    def frame(self, frame: Frame) -> None:
        pass

    def check_room(self) -> None:
        pass

    def tail(self, body_end: BodyEnd.ValueType) -> ResponseTail:
        return ResponseTail(body_end=body_end)

    def failed(self, error: SealedError) -> ExchangeError:
        return error.as_message()

    def left(self, execution: Execution.ValueType) -> None:
        pass
