"""The bridge's event loop goes on while the largest body is judged."""

from __future__ import annotations

from contextlib import suppress

import pytest

from bench.body_checks import LARGEST, SHAPES, longest_pause, shape_check
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.stateless.checker import Checker

from ..conftest import provider_at


@pytest.mark.parametrize("shape", ["long numbers", "messages"])
async def test_event_loop_goes_on_while_a_body_is_judged(shape: str) -> None:
    """32 MiB of shapes that take long. The bound is for a busy machine; `bench body-checks` measures all."""
    path, make = SHAPES[shape]
    body = bytearray(make(LARGEST))
    checker = Checker([provider_at("http://127.0.0.1:1")])

    async def judge() -> None:
        with suppress(RequestError):  # of what is over the bounds
            await checker.check(shape_check(path), body)

    assert await longest_pause(judge()) < 0.5
    await checker.aclose()
