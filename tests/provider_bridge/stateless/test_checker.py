"""Large bodies are judged in a process of their own, and the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from bench.body_checks import LARGEST as LARGEST_OF_ALL
from bench.body_checks import SHAPES, longest_pause, shape_check
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.stateless.body_check import BodyCheck
from blindrelay.provider_bridge.stateless.checker import CHECK_INLINE, ORDINARY, Checker
from blindrelay.v1.inner_pb2 import ERROR_CODE_INTERNAL, ERROR_CODE_STORED_OBJECT, EXECUTION_NOT_STARTED

from ..conftest import provider_at

CHAT = BodyCheck("openai", "bodies", "/v1/chat/completions")
SMALL = bytearray(b'{"user":"x"}')
ONE_STRING = bytearray(b'{"user":"' + b"x" * 10 * CHECK_INLINE + b'"}')
LARGE = bytearray(b'{"user":"' + b"\\n" * CHECK_INLINE + b'"}')
LARGEST = bytearray(b'{"user":"' + b"\\n" * ORDINARY + b'"}')
STORED = bytearray(b'{"store":true,"user":"' + b"\\n" * CHECK_INLINE + b'"}')


@pytest.fixture
async def checker() -> AsyncIterator[Checker]:
    checker = Checker([provider_at("http://127.0.0.1:1")])
    yield checker
    await checker.aclose()


def process_of(checker: Checker) -> int:
    assert checker.ordinary.process is not None
    return checker.ordinary.process.pid


async def test_large_body_is_judged_by_another_process(
    checker: Checker, capfd: pytest.CaptureFixture[str]
) -> None:
    await checker.check(CHAT, SMALL)
    await checker.check(CHAT, ONE_STRING)
    assert checker.ordinary.process is None, "what is small without its long strings needs none"
    body = bytearray(LARGE)
    await checker.check(CHAT, body)
    assert body == LARGE
    body.clear()  # nothing holds it any more
    first = process_of(checker)
    with pytest.raises(RequestError, match='set "store" to false') as refused:
        await checker.check(CHAT, STORED)
    assert refused.value.code == ERROR_CODE_STORED_OBJECT
    assert process_of(checker) == first
    assert capfd.readouterr().err == "", "its stderr is the bridge's, where the log is"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"user":"LONG","store":true}', 'set "store" to false'),
        (b'{"user":"LONG","LONG":1}', "is not known to be stateless"),
        (b'{"user":"LONG","store":false,"store":false}', "one key twice"),
        (b'{"user":"LONG",LONG"a":1}', "is not JSON"),
    ],
)
async def test_long_string_hides_nothing(checker: Checker, body: bytes, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        await checker.check(CHAT, bytearray(body.replace(b"LONG", b"x" * CHECK_INLINE)))


async def test_body_that_does_not_pass_short_is_checked_whole(checker: Checker) -> None:
    numbers = b"1," * CHECK_INLINE
    await checker.check(CHAT, bytearray(b'{"user":"x","stop":[' + numbers + b'1],"n":1}'))


async def test_killed_process_is_a_sealed_error_and_is_replaced(checker: Checker) -> None:
    await checker.check(CHAT, LARGE)
    first = process_of(checker)
    os.kill(first, signal.SIGSTOP)
    asking = asyncio.create_task(checker.check(CHAT, LARGE))
    await asyncio.sleep(0)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(RequestError) as refused:
        await asking
    assert (refused.value.code, refused.value.execution) == (ERROR_CODE_INTERNAL, EXECUTION_NOT_STARTED)
    await checker.check(CHAT, LARGE)
    assert process_of(checker) != first


async def test_ordinary_body_does_not_wait_for_the_largest(checker: Checker) -> None:
    for body in (LARGE, LARGEST):  # both processes run, and neither has to be started within a check's time
        await checker.check(CHAT, body)
    process = checker.largest.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    waiting = asyncio.create_task(checker.check(CHAT, LARGEST))
    await asyncio.sleep(0)
    await checker.check(CHAT, LARGE)
    assert not waiting.done()
    process.send_signal(signal.SIGCONT)
    await waiting


async def test_cancelled_check_disturbs_nobody(checker: Checker) -> None:
    await checker.check(CHAT, LARGE)
    first = process_of(checker)
    for _ in range(5):
        leaving = asyncio.create_task(checker.check(CHAT, STORED))
        await asyncio.sleep(0)
        leaving.cancel()
        await checker.check(CHAT, LARGE)
        assert leaving.cancelled() or leaving.done()
    assert process_of(checker) == first


@pytest.mark.timeout(300)
@pytest.mark.parametrize("shape", ["long numbers", "messages"])
async def test_event_loop_goes_on_while_a_body_is_judged(checker: Checker, shape: str) -> None:
    """16 MiB of shapes that take long. What counts is the CPU time of the loop's thread.

    `bench body-checks` measures all shapes, and real time.
    """
    path, make = SHAPES[shape]
    body = bytearray(make(LARGEST_OF_ALL // 2))

    async def judge() -> None:
        with suppress(RequestError):  # of what is over the bounds
            await checker.check(shape_check(path), body)

    assert await longest_pause(judge(), time.thread_time) < 0.2
