"""A response's beginning can be looked at, and is passed on all the same."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from blindrelay.provider_bridge.errors import ProviderError
from blindrelay.provider_bridge.upstream.provider_call import BEGINNING, ProviderResponse

from ..conftest import provider_at
from ..scripted_provider import EVENT_STREAM, ScriptedProvider, chunk, raw, response
from ..upstream_call import upstream


def has_ended(answer: ProviderResponse) -> bool:
    return answer.ended


async def test_what_was_seen_is_taken_again() -> None:
    body = bytes(range(256)) * 40
    async with (
        ScriptedProvider(response(body)).serving() as provider,
        upstream(provider_at(provider.origin)) as here,
        aclosing(await here.begin()) as answer,
    ):
        for _ in range(2):
            seen = await answer.beginning(60)
            assert seen
            assert body.startswith(seen)
            assert len(seen) <= BEGINNING
        assert not has_ended(answer)
        received = answer.take(3)
        assert received == body[:3]
        while not answer.ended:
            assert await answer.arrival(60)
            received += answer.take(1_000)
        assert received == body


async def test_small_body_has_not_ended_when_it_was_seen() -> None:
    async with (
        ScriptedProvider(response(b"{}")).serving() as provider,
        upstream(provider_at(provider.origin)) as here,
        aclosing(await here.begin()) as answer,
    ):
        assert await answer.beginning(60) == b"{}"
        assert not has_ended(answer)
        assert answer.take(10) == b"{}"
        assert has_ended(answer)
        assert await answer.beginning(60) == b""


async def test_cut_is_reported_when_it_is_reached() -> None:
    async with (
        ScriptedProvider(raw(EVENT_STREAM + chunk(b"data"), cut=True)).serving() as provider,
        upstream(provider_at(provider.origin)) as here,
        aclosing(await here.begin()) as answer,
    ):
        assert await answer.beginning(60) == b"data"
        assert answer.take(10) == b"data"
        await answer.arrival(60)
        assert await answer.beginning(60) == b""
        with pytest.raises(ProviderError):
            answer.take(10)
