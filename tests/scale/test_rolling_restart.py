"""Two nodes, three bridges and a database: parts are restarted while answers stream."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from openai import OpenAIError

from blindrelay.testbed.scale.client import Caller
from blindrelay.testbed.scale.demo import settled, wait_until_answered
from blindrelay.testbed.scale.topology import ScaledTestbed
from tests.scale.books import assert_every_answer_is_in_the_books

WORDS = "one two three four five six"
SCRIPT: dict[str, object] = {"text": WORDS, "pieces_per_second": 4}
"""A second and a half for an answer."""

STREAMS = 3


class Streams:
    """Clients that ask for one streamed answer after the other, with the SDK's own retries.

    Attributes:
        done: answers that came whole, by client.
    """

    def __init__(self, bed: ScaledTestbed) -> None:
        self._bed = bed
        self._over = threading.Event()
        self._changed = threading.Condition()
        self.done: Counter[int] = Counter(dict.fromkeys(range(STREAMS), 0))

    def run(self, number: int) -> None:
        with Caller(self._bed.relays) as caller:
            while not self._over.is_set():
                pieces = [
                    chunk.choices[0].delta.content or "" for chunk in caller.stream(SCRIPT) if chunk.choices
                ]
                assert "".join(pieces) == WORDS
                with self._changed:
                    self.done[number] += 1
                    self._changed.notify_all()

    def end(self) -> None:
        self._over.set()

    def wait_for_more(self, calls: list[Future[None]], answers: int) -> None:
        """Waits until each client has so many more answers. The first of them may have begun before."""
        least = {number: done + answers for number, done in self.done.items()}
        with self._changed:
            while any(self.done[number] < wanted for number, wanted in least.items()):
                for call in calls:
                    if call.done():
                        call.result()
                self._changed.wait(1)


@pytest.mark.parametrize("part", ["database", "bridge-1", "ledger-1", "control-1", "envoy-1"])
def test_restart_cuts_no_stream_and_loses_none_from_the_books(bed: ScaledTestbed, part: str) -> None:
    streams = Streams(bed)
    with ThreadPoolExecutor(STREAMS) as pool:
        calls = [pool.submit(streams.run, number) for number in range(STREAMS)]
        try:
            streams.wait_for_more(calls, 1)
            restart(bed, part)
            streams.wait_for_more(calls, 2)
        finally:
            streams.end()
    for call in calls:
        call.result()
    assert_every_answer_is_in_the_books(bed)


def restart(bed: ScaledTestbed, part: str) -> None:
    """As an operator does it."""
    if part == "envoy-1":
        bed.nodes[0].replace_envoy()
    else:
        bed.parts[part].restart()
    bed.wait_until_ready()


def ask_for_ever(caller: Caller) -> None:
    while True:
        caller.ask()


def test_database_that_is_lost_for_long_is_an_error_that_says_so(bed: ScaledTestbed) -> None:
    with Caller(bed.relays) as caller:
        for _ in bed.nodes:
            caller.ask()
        bed.parts["database"].kill()
        try:
            caller.ask()
            with pytest.raises(OpenAIError, match="cannot use its ledger"):
                ask_for_ever(caller)
        finally:
            bed.parts["database"].start()
        wait_until_answered(caller)
    assert settled(bed)["balanced"]
