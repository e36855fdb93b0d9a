"""A tunnel's message is held, and counted, from its first frame until the provider has taken it."""

from __future__ import annotations

import pytest

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.frame_filter import MessageFilter
from blindrelay.provider_bridge.quota import Quota
from blindrelay.provider_bridge.request_budget import SMALL_REQUEST, RequestBudget
from blindrelay.sealing import CONTINUATION, TEXT
from blindrelay.v1.inner_pb2 import ERROR_CODE_OVERLOADED, Frame


async def allow(_: bytearray) -> None:
    """Judges nothing."""


async def test_a_message_keeps_its_room_until_the_provider_has_taken_it() -> None:
    budget = RequestBudget(Quota(100))
    with budget.share(b"peer") as share, budget.share(b"peer") as other:
        gate = MessageFilter(allow, share, 2 * SMALL_REQUEST)
        for _ in range(3):
            assert await gate.passed(Frame(opcode=TEXT, data=bytes(SMALL_REQUEST))) == []
            gate.sent()
            assert await gate.passed(Frame(opcode=CONTINUATION, data=bytes(100), fin=True))
            assert budget.held == 100
            with pytest.raises(RequestError) as refused:
                other.add(SMALL_REQUEST + 1)
            assert refused.value.code == ERROR_CODE_OVERLOADED
            gate.sent()
            assert budget.held == 0
