"""Parts of this version beside parts of a later one, on every way between two of them."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from blindrelay.testbed.scale.client import Caller
from blindrelay.testbed.scale.demo import wait_until_answered
from blindrelay.testbed.scale.topology import ScaledTestbed
from tests.scale.books import assert_every_answer_is_in_the_books
from tests.scale.later_peer import LaterPeer

BRIDGES = (1, 2, 3)
WAYS = {
    "client and relay": ("clients-relay-1",),
    "relay and bridge": tuple(f"relay-1-bridge-{number}" for number in BRIDGES),
    "relay and ledger": ("relay-1-ledger-1",),
    "ledger and bridge": tuple(f"receipts-bridge-{number}" for number in BRIDGES),
}
WORDS = "one two three four"


@pytest.mark.parametrize("way", WAYS)
def test_what_a_later_version_adds_changes_nothing(bed: ScaledTestbed, way: str) -> None:
    """Every message has a field that this version does not know, and every call a header."""
    peers = []
    with ExitStack() as stack:
        for link in WAYS[way]:
            peers.append(LaterPeer(bed.links.target(link)))
            stack.enter_context(bed.links.leading(link, stack.enter_context(peers[-1].serving())))
        bed.wait_until_ready()
        with Caller(bed.relays[:1]) as caller:
            wait_until_answered(caller)
            for _ in range(4):
                chunks = caller.stream({"text": WORDS, "pieces_per_second": 20})
                pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
                assert "".join(pieces) == WORDS
        assert_every_answer_is_in_the_books(bed)
    assert sum(peer.passed for peer in peers) > len(WORDS.split())
