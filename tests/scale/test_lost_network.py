"""The network between any two parts is lost while answers stream, and comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import httpx2
import openai
import pytest

from blindrelay.testbed.scale.client import Caller
from blindrelay.testbed.scale.demo import wait_until_answered
from blindrelay.testbed.scale.topology import ScaledTestbed
from tests.scale.books import assert_every_answer_is_in_the_books

WORDS = "one two three four five six"
STREAMS = 3
RETRYABLE = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)
"""What the SDK sends again by itself."""

Loss = Callable[[ScaledTestbed], AbstractContextManager[None]]


@dataclass(frozen=True)
class Case:
    """A loss, and what clients of the first relay see of it.

    Attributes:
        stream: the error of a stream that runs, if it does not go on.
        refusal: the error of new requests, if they fail sooner or later.
    """

    loss: Loss
    stream: str | None = None
    refusal: str | None = None


def lost(*links: str, silently: bool = False) -> Loss:
    @contextmanager
    def lose(bed: ScaledTestbed) -> Iterator[None]:
        with ExitStack() as stack:
            for link in links:
                stack.enter_context(bed.links.lost(link, silently=silently))
            yield

    return lose


@contextmanager
def halted_control_process(bed: ScaledTestbed) -> Iterator[None]:
    """Between Envoy and it are a socket and a pipe. Nothing answers there, and nothing is closed."""
    os.kill(bed.parts["control-1"].pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(bed.parts["control-1"].pid, signal.SIGCONT)


BRIDGES = ("relay-1-bridge-1", "relay-1-bridge-2", "relay-1-bridge-3")
RECEIPTS = ("receipts-bridge-1", "receipts-bridge-2", "receipts-bridge-3")
CUT = "the response was cut before its end"
NO_RELAY = "no connection to the relay"
NO_BRIDGE = "the relay could not reach the bridge"
NO_LEDGER = "cannot use its ledger"
CASES = {
    "clients-cut": Case(lost("clients-relay-1"), CUT, NO_RELAY),
    "clients-silent": Case(lost("clients-relay-1", silently=True), CUT, NO_RELAY),
    "bridges-cut": Case(lost(*BRIDGES), CUT, NO_BRIDGE),
    "bridges-silent": Case(lost(*BRIDGES, silently=True), CUT),
    "ledger-cut": Case(lost("relay-1-ledger-1"), refusal=NO_LEDGER),
    "ledger-silent": Case(lost("relay-1-ledger-1", silently=True), refusal=NO_LEDGER),
    "database-cut": Case(lost("ledger-1-database"), refusal=NO_LEDGER),
    "database-silent": Case(lost("ledger-1-database", silently=True), refusal=NO_LEDGER),
    "receipts-cut": Case(lost(*RECEIPTS)),
    "receipts-silent": Case(lost(*RECEIPTS, silently=True)),
    "control-halted": Case(halted_control_process),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_of_the_network_loses_nothing_from_the_books(bed: ScaledTestbed, name: str) -> None:
    case = CASES[name]
    with Caller(bed.relays[:1]) as first, Caller(bed.relays) as both:
        both.ask()
        streams = [answer(first, name) for _ in range(STREAMS)]
        begun = [next(stream) for stream in streams]
        with case.loss(bed):
            if case.stream is None:
                httpx2.post(f"{bed.provider}/scripted/release", json={"gate": name}, timeout=60.0)
            for text, stream in zip(begun, streams, strict=True):
                if case.stream is None:
                    assert text + "".join(stream) == WORDS
                else:
                    with pytest.raises(RETRYABLE) as failed:
                        list(stream)
                    assert case.stream in said(failed.value)
            for _ in bed.nodes:
                both.ask()
            if case.refusal is not None:
                with pytest.raises(RETRYABLE) as refused:
                    ask_for_ever(first)
                assert case.refusal in said(refused.value)
        wait_until_answered(first)
    bed.wait_until_ready()
    assert_every_answer_is_in_the_books(bed)


def answer(caller: Caller, gate: str) -> Iterator[str]:
    """The pieces of a streamed answer that have text. The last waits until the provider releases the gate."""
    for chunk in caller.stream({"text": WORDS, "pieces_per_second": 1, "hold": gate}):
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


def ask_for_ever(caller: Caller) -> None:
    while True:
        caller.ask()


def said(error: BaseException | None) -> str:
    """What it says, and what its causes say."""
    return "" if error is None else f"{error}\n{said(error.__cause__)}"
