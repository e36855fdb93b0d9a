"""Scenarios of a response's nonce, and of responses whose records are those of another stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from generator import streams
from generator.directions import REQUEST, RESPONSE
from generator.fixed import BOB, MALLORY, NONCE, OTHER_NONCE
from generator.primitives import seal
from generator.scenario import Scenario
from generator.streams import Direction

SECOND = replace(RESPONSE, nonce=OTHER_NONCE)
"""The response of a bridge that is made to answer the same request again."""


def scenarios() -> Iterator[Scenario]:
    yield from _altered()
    yield from _twice()
    yield from _crossed()


def _altered() -> Iterator[Scenario]:
    size = len(NONCE)
    firsts: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "modified_nonce_fails": ("A bit of the nonce.", partial(streams.flip, place=0)),
        "modified_nonce_end_fails": ("A bit of its last byte.", partial(streams.flip, place=size - 1)),
        "nonce_missing": ("The first record without the nonce.", lambda sealed: sealed[size:]),
        "nonce_short": ("31 of its bytes.", lambda sealed: sealed[1:]),
        "nonce_long": ("One more byte after it.", lambda sealed: NONCE + b"\x00" + sealed[size:]),
        "nonce_alone": ("The nonce, and no record.", lambda sealed: sealed[:size]),
        "nonce_twice": ("The nonce twice.", lambda sealed: NONCE + sealed),
        "nonce_of_another_response": (
            "The nonce of the bridge's second response.",
            lambda sealed: OTHER_NONCE + sealed[size:],
        ),
    }
    for name, (comment, change) in firsts.items():
        yield streams.with_one(RESPONSE, name, comment, 0, change)
    comment = "The nonce before the second record too."
    yield streams.with_one(RESPONSE, "nonce_again", comment, 1, lambda sealed: NONCE + sealed)
    comment = "A request has no nonce."
    yield streams.with_one(REQUEST, "nonce_in_request", comment, 0, lambda sealed: NONCE + sealed)


def _twice() -> Iterator[Scenario]:
    """A bridge seals two responses to one request: by their nonces, under two keys."""
    sent = streams.three(RESPONSE)
    yield SECOND.stream("answered_again", "A second response, whose nonce is its own.", sent)
    unbound = [seal(RESPONSE.exchange.response_key(b""), sent, nonce) for nonce in (NONCE, OTHER_NONCE)]
    names = ("nonce_not_in_key", "nonce_not_in_second_key")
    for name, records in zip(names, unbound, strict=True):
        yield _delivered(RESPONSE, name, "Sealed under a key that no nonce went into.", 0, records)


def _crossed() -> Iterator[Scenario]:
    """A response whose records are, in part, those of another stream."""
    sent = streams.three(RESPONSE)
    alices, bobs, forged = (
        replace(RESPONSE, exchange=each).sealed(sent) for each in (RESPONSE.exchange, BOB, MALLORY)
    )
    request, second = REQUEST.sealed(streams.three(REQUEST)), SECOND.sealed(sent)
    crossed = {
        "response_swap_fails": ("Bob's response, given to Alice.", 0, bobs),
        "mitm_cannot_forge_response": ("A response under keys that a relay made for itself.", 0, forged),
        "reflected_request_fails": ("Alice's own request, given back.", 0, request),
        "reflected_request_with_nonce_fails": (
            "Alice's own request, given back after a nonce.",
            0,
            [NONCE + request[0], *request[1:]],
        ),
        "spliced_tail_fails": ("Alice's response with Bob's end.", 2, [*alices[:2], bobs[2]]),
        "spliced_second_answer_fails": (
            "The end of a second response to the same request.",
            2,
            [*alices[:2], second[2]],
        ),
    }
    for name, (comment, opens, records) in crossed.items():
        yield _delivered(RESPONSE, name, comment, opens, records)
    comment = "Alice's response, opened with keys that a relay made for itself."
    yield _delivered(replace(RESPONSE, exchange=MALLORY), "mitm_cannot_read_response", comment, 0, alices)


def _delivered(way: Direction, name: str, comment: str, opens: int, records: list[bytes]) -> Scenario:
    """Three records were sent, and these arrive."""
    sent = streams.three(RESPONSE)
    return way.stream(name, comment, sent, "open_failure", opens=opens, alter=lambda _: records)
