"""What a relay tells its ledger of exchanges, and how many an account may start."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from blindrelay.relay_node import accounts, lease_gate
from blindrelay.relay_node import report as relay_report
from blindrelay.relay_node.report import Report
from blindrelay.serving import CallRefusedError
from blindrelay.v1.ledger_pb2 import Limit
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE, until
from tests.relay_node.conftest import Billed, StartBilled, both
from tests.relay_node.fake_bridge import FakeBridge, abort
from tests.relay_node.raw_client import finish, refusal


async def acknowledged(billed: Billed) -> None:
    """Waits until the relay knows that the ledger has all its lines."""
    gate: Any = billed.relay.relay._gate
    await gate._report.settled.wait()


async def test_start_and_end_of_each_exchange_are_reported(billed: Billed, bridge: FakeBridge) -> None:
    envelope = bridge.envelope()
    call = await billed.leased.open(envelope, timeout=70)
    await until(lambda: len(billed.ledger.starts()) == 1)
    (start,) = billed.ledger.starts()
    assert start.start.envelope == envelope
    assert billed.ledger.leases[start.start.lease_id] is billed.account
    assert start.start.deadline_seconds == 120, "the deadline that the bridge is given"
    assert billed.ledger.ends() == []
    await finish(call)
    await until(lambda: len(billed.ledger.ends()) == 1)
    (end,) = billed.ledger.ends()
    sizes = (end.end.request_bytes, end.end.response_bytes)
    assert (end.end.start_sequence, end.end.outcome, sizes) == (1, "ok", (4, 4))


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (abort(*OuterStatus.REFUSED.value), "refused"),
        (abort(*OuterStatus.OVERLOADED.value), "overloaded"),
        (abort(grpc.StatusCode.UNAVAILABLE, "gone"), "bridge_unavailable"),
    ],
)
async def test_end_tells_the_outcome(billed: Billed, bridge: FakeBridge, script: Any, outcome: str) -> None:
    bridge.script = script
    assert await refusal(billed.leased.exchange(bridge.envelope()))
    await until(lambda: len(billed.ledger.ends()) == 1)
    (end,) = billed.ledger.ends()
    assert (end.end.outcome, end.end.response_bytes) == (outcome, 0)


@both
@pytest.mark.parametrize("words", ["", "deadline", "deadline 1 1 - bridge-0", 2_000 * "long "], ids=len)
async def test_no_word_of_a_bridge_hides_the_end(billed: Billed, bridge: FakeBridge, words: str) -> None:
    """Envoy's line of an end has them in it."""
    bridge.script = abort(grpc.StatusCode.INTERNAL, words)
    with pytest.raises(grpc.aio.AioRpcError):
        await billed.leased.exchange(bridge.envelope())
    await until(lambda: [line.end.outcome for line in billed.ledger.ends()] == ["internal"])


async def test_client_that_leaves_is_reported_as_cancelled(billed: Billed, bridge: FakeBridge) -> None:
    call = await billed.leased.open(bridge.envelope())
    call.cancel()
    await until(lambda: len(billed.ledger.ends()) == 1)
    assert billed.ledger.ends()[0].end.outcome == "cancelled"


async def test_exchange_that_goes_to_no_bridge_is_not_reported(billed: Billed, bridge: FakeBridge) -> None:
    assert await refusal(billed.leased.exchange(b"junk")) is OuterStatus.MALFORMED
    envelope = bridge.envelope(key_id=bytes(16))
    assert await refusal(billed.leased.exchange(envelope)) is OuterStatus.KEY_UNKNOWN
    await billed.leased.exchange(bridge.envelope())
    await until(lambda: len(billed.ledger.ends()) == 1)
    assert len(billed.ledger.starts()) == len(bridge.seen) == 1


async def test_copy_of_an_envelope_has_lines_of_its_own(billed: Billed, bridge: FakeBridge) -> None:
    """The end of the copy, which the bridge refuses, does not name the first exchange."""
    envelope = bridge.envelope()
    first = await billed.leased.open(envelope)
    bridge.script = abort(*OuterStatus.REFUSED.value)
    assert await refusal(billed.leased.exchange(envelope)) is OuterStatus.REFUSED
    await until(lambda: len(billed.ledger.ends()) == 1)
    numbers = {number: line for (_, number), line in billed.ledger.lines.items()}
    (end,) = billed.ledger.ends()
    assert (end.end.outcome, end.end.start_sequence) == ("refused", 2)
    assert numbers[1].start.envelope == numbers[2].start.envelope == envelope
    await finish(first)


async def test_lines_survive_a_restart_of_the_ledger(billed: Billed, bridge: FakeBridge) -> None:
    """Those that were written meanwhile are sent, and those that it has acknowledged are not repeated."""
    await billed.leased.exchange(bridge.envelope())
    await until(lambda: len(billed.ledger.ends()) == 1)
    call = await billed.leased.open(bridge.envelope())
    await until(lambda: len(billed.ledger.starts()) == 2)
    await acknowledged(billed)
    await billed.ledger.stop()
    await finish(call)
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    await billed.ledger.start()
    await until(lambda: len(billed.ledger.ends()) == 3)
    assert [number for _, number in billed.ledger.lines] == [1, 2, 3, 4, 5, 6]
    assert billed.ledger.repeated == 0


async def test_lines_are_repeated_until_they_are_acknowledged(billed: Billed, bridge: FakeBridge) -> None:
    billed.ledger.acknowledges = False
    await billed.leased.exchange(bridge.envelope())
    await until(lambda: len(billed.ledger.ends()) == 1)
    taken, billed.ledger.lines = billed.ledger.lines, {}  # it crashed before it wrote them down
    await billed.ledger.stop()
    billed.ledger.acknowledges = True
    await billed.ledger.start()
    await until(lambda: len(billed.ledger.ends()) == 1)
    assert billed.ledger.lines == taken


async def test_relay_that_stops_sends_its_last_lines(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_gate, "FINISH_SECONDS", PATIENCE)
    call = await billed.leased.open(bridge.envelope())
    await finish(call)
    await billed.relay.stop()
    assert len(billed.ledger.ends()) == 1


async def test_no_exchange_starts_without_an_allowance(
    start_billed: StartBilled, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger says why. What runs is not affected, and neither are other accounts."""
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", 0.2)
    billed = await start_billed(free=2, settles=False)
    calls = [await billed.leased.open(bridge.envelope()) for _ in range(2)]
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await billed.leased.exchange(bridge.envelope())
    assert failure.value.details() == "limit_units"
    other = await billed.another()
    assert await other.exchange(bridge.envelope()) == [b"hello"]
    for call in calls:
        await finish(call)
    assert len(bridge.seen) == 3


@pytest.mark.parametrize("status", ["limit_units", "limit_exchanges", "limit_bytes"])
async def test_limit_is_that_of_the_ledger(
    start_billed: StartBilled, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", 0.1)
    billed = await start_billed(free=0, limit=Limit(status=status, retry_after_seconds=60))
    refused = await refusal(billed.leased.exchange(bridge.envelope()))
    assert refused is not None
    assert refused.details == status


async def test_many_at_once_start_no_more_than_are_allowed(
    start_billed: StartBilled, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", 0.5)
    billed = await start_billed(free=7, settles=False, claims={"concurrent": 1_000})
    results = await asyncio.gather(
        *(billed.leased.exchange(bridge.envelope()) for _ in range(50)), return_exceptions=True
    )
    assert results.count([b"hello"]) == len(bridge.seen) == 7


async def test_start_waits_for_what_is_settled_soon(
    start_billed: StartBilled, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", PATIENCE)
    billed = await start_billed(free=1)
    call = await billed.leased.open(bridge.envelope())
    waiting = asyncio.create_task(billed.leased.exchange(bridge.envelope()))
    await until(lambda: len(billed.ledger.starts()) == 1)
    await finish(call)
    assert await waiting == [b"hello"]


async def test_client_that_leaves_while_it_waits_takes_nothing(
    start_billed: StartBilled, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "ALLOWANCE_SECONDS", PATIENCE)
    billed = await start_billed(free=1, settles=False)
    call = await billed.leased.open(bridge.envelope())
    impatient = billed.leased.call(bridge.envelope())
    await impatient.write(b"x")
    gate: Any = billed.relay.relay._gate
    (account,) = gate._accounts._accounts.values()
    await until(lambda: account._running == 2)
    impatient.cancel()
    await until(lambda: account._running == 1)
    await finish(call)
    await billed.ledger.free(billed.account, 1)
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]
    await until(lambda: len(billed.ledger.ends()) == 2)
    assert len(billed.ledger.starts()) == 2


async def test_too_many_lines_stop_new_exchanges(
    billed: Billed, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is always room for the end of what has started."""
    await billed.ledger.stop()
    monkeypatch.setattr(relay_report, "MAX_LINES", 6)
    calls = [await billed.leased.open(bridge.envelope()) for _ in range(3)]
    assert await refusal(billed.leased.exchange(bridge.envelope())) is OuterStatus.OVERLOADED
    for call in calls:
        await finish(call)
    await billed.ledger.start()
    await until(lambda: len(billed.ledger.ends()) == 3)
    await acknowledged(billed)
    assert await billed.leased.exchange(bridge.envelope()) == [b"hello"]


async def test_report_numbers_its_lines() -> None:
    report = Report()
    assert [report.start("lease", b"envelope", 120) for _ in range(3)] == [1, 2, 3]
    report.end(2, "ok", 1, 2)
    assert len(report) == 4
    batch = report.batch(3)
    assert batch is not None
    assert (batch.first_sequence, len(batch.lines)) == (3, 2)
    report.acknowledge(3)
    report.acknowledge(2)
    assert (report.first, len(report), report.settled.is_set()) == (4, 1, False)
    batch = report.batch(1)
    assert batch is not None
    assert (batch.first_sequence, batch.lines[0].end.start_sequence) == (4, 2)
    report.acknowledge(1_000)
    assert (report.first, len(report), report.settled.is_set(), report.batch(1)) == (5, 0, True, None)


async def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report()
    for _ in range(relay_report.BATCH_LINES + 1):
        report.start("l" * 16, b"e" * 160, 21_660)
    batch = report.batch(1)
    assert batch is not None
    assert len(batch.lines) == relay_report.BATCH_LINES
    assert batch.ByteSize() < 131_072
    monkeypatch.setattr(relay_report, "MAX_LINES", 10)
    with pytest.raises(CallRefusedError, match="overloaded"):
        report.start("lease", b"envelope", 120)
