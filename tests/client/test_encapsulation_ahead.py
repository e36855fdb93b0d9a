"""One encapsulation is made ahead while nothing happens. It is used once, in its step of time, or dropped."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from blindrelay.client import SealedTransport, encapsulation_ahead
from blindrelay.client.encapsulation_ahead import MOST_AHEAD, EncapsulationAhead, step
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.relay_view import RelayView
from blindrelay.sealing import encapsulate
from blindrelay.v1.envelope import parse_envelope
from blindrelay.v1.limits import DEFAULT_MAX_UNITS, TIME_STEP
from tests.patience import until, wait_for

from ..trust.replicas import IDENTITY, KEYS, NOW, Replica
from .conftest import URL
from .scripted_bridge import ScriptedBridge
from .test_key_ring import fetch


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(clock: Clock) -> KeyRing:
    ring = KeyRing(IDENTITY.public_key, clock)
    fetch(ring, Replica(1).signed(NOW))
    return ring


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The envelope of every encapsulation."""
    made = list[bytes]()

    def noted(envelope: bytes, config: bytes) -> Any:
        made.append(envelope)
        return encapsulate(envelope, config)

    monkeypatch.setattr(encapsulation_ahead, "encapsulate", noted)
    return made


@pytest.fixture
async def ahead(ring: KeyRing, clock: Clock, made: list[bytes]) -> EncapsulationAhead:
    """One is made."""
    ahead = EncapsulationAhead(ring, DEFAULT_MAX_UNITS, clock)
    ahead.make_soon()
    await until(lambda: bool(made))
    return ahead


async def test_it_is_taken_once(ahead: EncapsulationAhead, made: list[bytes]) -> None:
    taken = ahead.take(step(NOW))
    assert taken is not None
    assert [taken.envelope] == made
    envelope = parse_envelope(taken.envelope)
    assert (envelope.key_id, envelope.issued_at) == (KEYS[0].key_id, step(NOW))
    assert (envelope.max_units, envelope.identity) == (DEFAULT_MAX_UNITS, IDENTITY.public_key)
    assert ahead.take(step(NOW)) is None


async def test_it_is_not_taken_in_another_step(ahead: EncapsulationAhead) -> None:
    """The relay would see from an older issued_at that it was made ahead, and when."""
    assert ahead.take(step(NOW + TIME_STEP)) is None
    assert ahead.take(step(NOW)) is None, "it is gone"


async def test_it_is_dropped_with_its_key(ahead: EncapsulationAhead, ring: KeyRing) -> None:
    fetch(ring, Replica(2).signed(NOW, configs=[KEYS[1].config]))
    assert ring.draw(NOW) is not None
    assert ahead.take(step(NOW)) is None


async def test_it_is_taken_with_the_prices_that_are_announced_now(
    ahead: EncapsulationAhead, ring: KeyRing, made: list[bytes]
) -> None:
    """After PRICE_CHANGED a request is sealed again. What was made in between does not name the old table."""
    table = bytes(range(32))
    fetch(ring, Replica(1).signed(NOW + 1, sequence=2, price_table_hash=table))
    taken = ahead.take(step(NOW))
    assert taken is not None
    assert ([taken.envelope], taken.key.price_table_hash) == (made, table)


async def test_none_is_made_once_it_is_dropped(ring: KeyRing, clock: Clock, made: list[bytes]) -> None:
    dropped, other = (EncapsulationAhead(ring, DEFAULT_MAX_UNITS, clock) for _ in range(2))
    dropped.make_soon()
    dropped.drop()
    other.make_soon()
    await until(lambda: bool(made))
    assert other.take(step(NOW)) is not None
    assert dropped.take(step(NOW)) is None
    assert len(made) == 1


async def test_steps_without_an_exchange_are_counted(ring: KeyRing, clock: Clock, made: list[bytes]) -> None:
    """At the end of each step another is made, and after the last step none is left."""
    clock.now = NOW + TIME_STEP - 0.01
    ahead, later = (EncapsulationAhead(ring, max_units, clock) for max_units in (DEFAULT_MAX_UNITS, 1))

    def made_by(max_units: int) -> int:
        return sum(parse_envelope(envelope).max_units == max_units for envelope in made)

    ahead.make_soon()
    await until(lambda: made_by(DEFAULT_MAX_UNITS) == MOST_AHEAD)
    later.make_soon()
    await until(lambda: made_by(1) == MOST_AHEAD)
    assert made_by(DEFAULT_MAX_UNITS) == MOST_AHEAD
    assert ahead.take(step(NOW)) is None
    later.drop()


def test_next_exchange_uses_it(bridge: ScriptedBridge, made: list[bytes]) -> None:
    """The clock stands, so that all happens in one step."""
    clock, views = Clock(), list[RelayView]()
    clock.now = step(time.time())
    with SealedTransport(bridge.connection, clock=clock, observer=views.append) as sealed:
        client = sealed.httpx2_client()
        for number in range(1, 4):
            assert client.get(URL).status_code == 200
            wait_for(partial(_one_more_than, number, made))
    sent = [view.envelope.exchange_id for view in views]
    assert sent == [parse_envelope(envelope).exchange_id for envelope in made[:3]]


def _one_more_than(number: int, made: list[bytes]) -> bool:
    """Whether one is made ahead, after so many exchanges."""
    return len(made) == number + 1
