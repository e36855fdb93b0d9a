"""Two bridge processes behind one relay, with one identity and their own keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import OpenAI

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

DRAIN_SECONDS = 50
"""Seconds for which a bridge that is stopped waits for its calls. On a busy machine they take some."""


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed("scripted", replicas=2, bridge_options={"drain_seconds": DRAIN_SECONDS}) as bed:
        yield bed


def test_rolling_restart_loses_no_call(bed: Testbed) -> None:
    """Four clients, without retries, call all the time; some are busy, and some come now and then."""
    over, done = threading.Event(), [0] * 4

    def busy(number: int) -> None:
        with SealedTransport(bed.relay) as sealed:
            client = OpenAI(api_key="none", http_client=sealed.httpx2_client(), max_retries=0)
            while not over.is_set():
                answer = client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "?"}]
                )
                assert answer.choices[0].message.content
                done[number] += 1
                over.wait(0.1 * (1 + number))

    def wait_until(least: int) -> None:
        while min(done) < least:
            for call in calls:
                if call.done():
                    call.result()
            time.sleep(0.02)

    with ThreadPoolExecutor(len(done)) as pool:
        calls = [pool.submit(busy, number) for number in range(len(done))]
        try:
            wait_until(3)
            for bridge in ("bridge-1", "bridge-2"):
                bed.restart(bridge)
                bed.wait_until_ready()
                wait_until(min(done) + 4)
        finally:
            over.set()
    for call in calls:
        call.result()


def test_remaining_replica_serves(bed: Testbed) -> None:
    with SealedTransport(bed.relay) as sealed:
        client = OpenAI(api_key="none", http_client=sealed.httpx2_client(), max_retries=2)
        bed.kill("bridge-1")
        assert all(client.models.list().data for _ in range(24))
