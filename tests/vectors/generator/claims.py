"""Scenarios of the claim: what one bridge process accepts, one attempt after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.fixed import NOW, WINDOW
from generator.scenario import Scenario

ALICE, BOB = bytes(range(0xA0, 0xB0)), bytes(range(0xB0, 0xC0))

Attempt = dict[str, Any]


def attempt(now: int, expect: str, *, exchange_id: bytes = ALICE, issued_at: int = NOW) -> Attempt:
    return {"now": now, "exchange_id": exchange_id, "issued_at": issued_at, "expect": expect}


def scenarios() -> Iterator[Scenario]:
    def scenario(name: str, comment: str, *attempts: Attempt) -> Scenario:
        return Scenario("claim", name, comment, attempts[-1]["expect"], {"attempts": list(attempts)})

    first = attempt(NOW, "accept")
    yield scenario("claim", "An exchange, once.", first)
    yield scenario(
        "another_exchange",
        "Each exchange_id is claimed for itself.",
        first,
        attempt(NOW, "accept", exchange_id=BOB),
    )
    yield scenario(
        "replay_calls_upstream_once", "The same exchange again: at once, later, and after the window.",
        first, *(attempt(NOW + later, "refused") for later in (0, 1, WINDOW, WINDOW + 1, 10 * WINDOW)),
    )  # fmt: skip
    yield scenario(
        "replay_dated_anew", "The exchange_id counts, whatever the date that stands beside it.",
        first, attempt(NOW + 10, "refused", issued_at=NOW + 10),
    )  # fmt: skip
    ahead = NOW + WINDOW
    yield scenario(
        "replay_of_one_dated_ahead", "Kept until issued_at + W, which is two windows from now.",
        attempt(NOW, "accept", issued_at=ahead),
        *(attempt(NOW + later, "refused", issued_at=ahead) for later in (WINDOW, 2 * WINDOW, 2 * WINDOW + 1)),
    )  # fmt: skip
    yield scenario("oldest", "Issued W seconds ago.", attempt(NOW + WINDOW, "accept"))
    yield scenario("too_old", "Issued W + 1 seconds ago.", attempt(NOW + WINDOW + 1, "refused"))
    yield scenario("newest", "Dated W seconds ahead.", attempt(NOW, "accept", issued_at=ahead))
    yield scenario("too_new", "Dated W + 10 seconds ahead.", attempt(NOW, "refused", issued_at=ahead + 10))
    early, later = (
        attempt(NOW + after, expect, issued_at=ahead + 10)
        for after, expect in ((0, "refused"), (10, "accept"))
    )
    yield scenario("refused_is_not_claimed", "Refused for its date, it may come again in time.", early, later)
