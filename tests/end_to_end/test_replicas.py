"""Two bridge processes behind one relay, with one identity and their own keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from openai import OpenAI

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
ENOUGH = 24
"""Calls until both replicas were used. By chance, that is not so once in eight million runs."""


@pytest.fixture
def bed() -> Iterator[Testbed]:
    with Testbed("scripted", replicas=2) as bed:
        yield bed


@pytest.fixture
def client(bed: Testbed) -> Iterator[OpenAI]:
    with SealedTransport(bed.relay) as sealed:
        yield OpenAI(api_key="none", http_client=sealed.httpx2_client(), max_retries=0)


def _call(client: OpenAI, times: int = ENOUGH) -> None:
    for _ in range(times):
        answer = client.chat.completions.create(model="m", messages=MESSAGES)
        assert answer.choices[0].message.content == "The capital of France is Paris."


def test_rolling_restart_loses_no_call(bed: Testbed) -> None:
    """Four clients, without retries, call all the time."""
    over, done = threading.Event(), [0] * 4

    def busy(number: int) -> None:
        with SealedTransport(bed.relay) as sealed:
            client = OpenAI(api_key="none", http_client=sealed.httpx2_client(), max_retries=0)
            while not over.is_set():
                _call(client, 1)
                done[number] += 1
                over.wait(0.1 * (1 + number))  # some are busy, and some come now and then

    with ThreadPoolExecutor(len(done)) as pool:
        calls = [pool.submit(busy, number) for number in range(len(done))]
        try:
            _while_it_works(calls, lambda: min(done) >= 3)
            for bridge in ("bridge-1", "bridge-2"):
                bed.restart(bridge)
                bed.wait_until_ready()
                _while_it_works(calls, partial(_have_done, done, min(done) + 4))
        finally:
            over.set()
    for each in calls:
        each.result()


def _have_done(done: list[int], enough: int) -> bool:
    return min(done) >= enough


def _while_it_works(calls: list[Future[None]], condition: Callable[[], bool]) -> None:
    while not condition():
        for each in calls:
            if each.done():
                each.result()
        time.sleep(0.02)


def test_remaining_replica_serves(bed: Testbed, client: OpenAI) -> None:
    _call(client)
    bed.kill("bridge-1")
    patient = client.with_options(max_retries=2)
    _call(patient)
    bed.start("bridge-1")
    bed.wait_until_ready()
    _call(patient)
