"""What the bridge logs: a closed list of words, and exchanges as counts in classes."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from blindrelay.provider_bridge import Bridge, BridgeConfig, Event, EventLog, Outcome, ProviderError
from blindrelay.provider_bridge.events import LOGGER, log_to_stderr
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.sealing import IdentityKey
from blindrelay.v1.inner_pb2 import EXECUTION_STARTED, ErrorCode

from .fake_provider import EVENT_STREAM, Connection, FakeProvider, Received, answer
from .sealed_caller import SealedCaller, outer_status, parts, request_head

WORDS = {event.value for event in Event}
NAMES = "|".join(
    [outcome.value for outcome in Outcome]
    + [name.removeprefix("ERROR_CODE_").lower() for name in ErrorCode.keys()]  # noqa: SIM118 - an enum of protobuf
)
COUNTS = re.compile(rf"exchanges: ((?:{NAMES}) up to 10+(?:, |$))+")


@pytest.fixture(autouse=True)
def everything_is_captured(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER.name]


@pytest.mark.parametrize(
    ("count", "text"), [(1, "up to 10"), (10, "up to 10"), (11, "up to 100"), (1_000, "up to 1000")]
)
def test_counts_are_rounded(caplog: pytest.LogCaptureFixture, count: int, text: str) -> None:
    log = EventLog()
    for _ in range(count):
        log.count(Outcome.COMPLETED)
    log.report()
    log.report()
    assert said(caplog) == [f"exchanges: completed {text}"]


def test_errors_are_counted_by_code_and_class(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()
    log.count(Outcome.REFUSED)
    log.count_error(ProviderError(Failure.CUT, "x", EXECUTION_STARTED))
    log.report()
    assert said(caplog) == [
        "exchanges: provider_failed up to 10, refused up to 10",
        "provider failures: cut up to 10",
    ]
    assert log.failure_totals == {"cut": 1}


def test_a_fault_is_a_place_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()
    try:
        raise ValueError("the canary")
    except ValueError as error:
        log.fault(error)
    (line,) = said(caplog)
    assert re.fullmatch(r"fault: ValueError at test_events\.py:\d+", line)


async def cancelled_while_streaming(caller: SealedCaller, provider: FakeProvider) -> None:
    gone = asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(EVENT_STREAM)
        await connection.gone()
        gone.set()

    provider.script = script
    request = await caller.seal()
    call = await caller.send(request)
    await anext(parts(call, request))
    call.cancel()
    await gone.wait()


async def cancelled_in_the_request(caller: SealedCaller, _: FakeProvider) -> None:
    request = await caller.seal(body=b"x" * 500_000)
    call = caller.start(request)
    await call.write(request.messages[0])
    await asyncio.sleep(0.1)
    call.cancel()


async def cancelled_under_back_pressure(caller: SealedCaller, provider: FakeProvider) -> None:
    provider.script = answer(b"x" * 30_000_000)
    request = await caller.seal()
    call = await caller.send(request)
    await anext(parts(call, request))
    await asyncio.sleep(0.2)
    call.cancel()


async def completed(caller: SealedCaller, provider: FakeProvider) -> None:
    provider.script = answer(b"the canary", headers=b"x-request-id: canary\r\n")
    assert (await caller.exchange()).status == 200


async def not_allowed(caller: SealedCaller, _: FakeProvider) -> None:
    got = await caller.exchange(request_head("https://canary.example/v1/canary?canary"))
    assert got.code == "NOT_ALLOWED"


async def refused(caller: SealedCaller, _: FakeProvider) -> None:
    request = await caller.seal()
    await outer_status(await caller.send(replace(request, messages=[b"canary"])))


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (cancelled_while_streaming, "exchanges: cancelled up to 10"),
        (cancelled_in_the_request, "exchanges: cancelled up to 10"),
        (cancelled_under_back_pressure, "exchanges: cancelled up to 10"),
        (completed, "exchanges: completed up to 10"),
        (not_allowed, "exchanges: not_allowed up to 10"),
        (refused, "exchanges: refused up to 10"),
    ],
)
async def test_an_exchange_leaves_a_count_and_nothing_else(
    config: BridgeConfig,
    identity: IdentityKey,
    provider: FakeProvider,
    caplog: pytest.LogCaptureFixture,
    what: Callable[[SealedCaller, FakeProvider], object],
    line: str,
) -> None:
    log = EventLog()
    async with (
        Bridge(config, identity, log).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        await what(caller, provider)  # type: ignore[misc]
        await asyncio.sleep(0.2)
    assert said(caplog) == [line]
    assert set(said(caplog)) - {line} <= WORDS
    assert COUNTS.fullmatch(line)
    assert "canary" not in caplog.text
    assert str(provider.port) not in caplog.text


@pytest.mark.usefixtures("restored_logging")
def test_only_our_lines_reach_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    EventLog().note(Event.DRAINING)
    logging.getLogger("httpx").warning("the canary")
    logging.getLogger("asyncio").error("the canary")
    shown = capfd.readouterr().err
    assert Event.DRAINING.value in shown
    assert "canary" not in shown
