"""The moment at which a cell leaves does not tell what is in it, and no cell is lost (section 9.6)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any, cast

import pytest

from blindrelay.client.sealed_stream import SealedStream
from blindrelay.client.tunnel_cells import TunnelCells
from blindrelay.provider_bridge.pacer import Pacer
from blindrelay.sealing import BALANCED, TEXT, CellSealer, data_frames
from blindrelay.v1.inner_pb2 import (
    EXCHANGE_KIND_TUNNEL,
    ExchangeError,
    RequestEnd,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)
from blindrelay.v1.outer_status import OuterStatus
from tests.leakage.answers import spoken
from tests.leakage.exchanges import Answer, Seen, exchange_of
from tests.leakage.test_shapes import PROFILES, expected
from tests.leakage.virtual_time import in_virtual_time, work
from tests.sealing.known_key import request_sealer, response_opener, response_sealer

TICK = BALANCED.tick / 1_000
FRAMES = data_frames(TEXT, b'{"type":"session.update"}')


@pytest.fixture
def slow_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """To add a part takes two milliseconds, and to seal one takes one."""
    add, cell = CellSealer.add, CellSealer.cell

    def added(self: CellSealer, part: RequestPart | ResponsePart) -> None:
        work(0.002)
        add(self, part)

    def sealed(self: CellSealer) -> bytes:
        work(0.001)
        return cell(self)

    monkeypatch.setattr(CellSealer, "add", added)
    monkeypatch.setattr(CellSealer, "cell", sealed)


class Stream:
    """Notes when a client's records leave."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def write(self, records: list[bytes]) -> bool:
        self.times += [asyncio.get_running_loop().time()] * len(records)
        return True

    async def finish(self, records: list[bytes]) -> None:
        await self.write(records)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.usefixtures("slow_text")
def test_cell_with_text_leaves_no_later_than_an_empty_one(profile: str) -> None:
    shape = PROFILES[profile][1]
    made = in_virtual_time(exchange_of(spoken(14, 4), profile=PROFILES[profile][0]))
    assert made.shape == expected(shape, shape.first_count)


@pytest.mark.usefixtures("slow_text")
def test_cell_of_a_client_leaves_at_its_tick() -> None:
    async def spoken() -> list[float]:
        sealer, stream = request_sealer(), Stream()
        sealer.open_tunnel(RequestHead(kind=EXCHANGE_KIND_TUNNEL))
        cells = TunnelCells(cast(SealedStream, stream), sealer.tunnel_in_cells(BALANCED))
        for frame in FRAMES:
            await cells.add(RequestPart(frame=frame))
        await asyncio.sleep(3.5 * TICK)
        await cells.add(RequestPart(end=RequestEnd()))
        await cells.sent()
        return stream.times

    assert in_virtual_time(spoken()) == pytest.approx([TICK * number for number in range(1, 5)])


def test_cell_of_a_failure_that_took_long_leaves_at_its_tick() -> None:
    def fail(_: CellSealer) -> None:
        work(0.0045)
        raise ZeroDivisionError

    async def failed() -> list[float]:
        times: list[float] = []

        async def send(_: list[bytes]) -> None:
            times.append(asyncio.get_running_loop().time())

        pacer = Pacer(response_sealer().in_cells(BALANCED), send)
        with suppress(ZeroDivisionError):
            await pacer.run(fail)
        pacer.cells.add(ResponsePart(error=ExchangeError()))
        await pacer.finish()
        return times

    assert in_virtual_time(failed()) == pytest.approx([TICK * number for number in range(1, 41)])


def test_end_that_came_in_time_is_sent() -> None:
    """Between the end and its tick the exchange's time is over."""

    async def ended() -> list[bytes]:
        sent: list[bytes] = []

        async def send(records: list[bytes]) -> None:
            sent.extend(records)

        def fill(cells: CellSealer) -> None:
            cells.add(ResponsePart(head=ResponseHead(status=200), tail=ResponseTail()))

        pacer = Pacer(response_sealer().in_cells(BALANCED), send)
        async with asyncio.timeout_at(TICK - 0.002) as time:
            await pacer.run(fill)
            time.reschedule(None)
            await pacer.finish()
        return sent

    assert len(in_virtual_time(ended())) == BALANCED.first_count


def test_end_that_waits_is_sent_before_the_bridge_ends() -> None:
    """A provider may answer more at once than some cells take."""
    body = Random(1).randbytes(20_000)
    profile, answer = PROFILES["balanced"][0], Answer([(0.05, body)])
    seen: Seen = in_virtual_time(exchange_of(answer, profile=profile, give_up_at=5.498 * TICK))
    assert (seen.body, seen.error, seen.refused) == (body, "", OuterStatus.DRAINING)
    assert 8 < len(seen.records) < BALANCED.first_count


def test_cell_that_was_made_is_not_lost() -> None:
    """The exchange's time ends between the making of a cell and its tick."""

    async def interrupted() -> list[tuple[float, bytes]]:
        sent: list[tuple[float, bytes]] = []

        async def send(records: list[bytes]) -> None:
            sent.extend((asyncio.get_running_loop().time(), record) for record in records)

        pacer = Pacer(response_sealer().in_cells(BALANCED), send)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(3 * TICK - 0.002):
                await pacer.run(lambda _: None)
        pacer.cells.add(ResponsePart(error=ExchangeError(message="late")))
        await pacer.finish()
        return sent

    sent: list[Any] = in_virtual_time(interrupted())
    opener = response_opener()
    parts = [opener.open(record) for _, record in sent]
    assert [at for at, _ in sent] == pytest.approx([TICK * number for number in range(1, 41)])
    assert [place for place, part in enumerate(parts, 1) if part.HasField("error")] == [4]
