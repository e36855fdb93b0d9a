"""What waits on a stream is taken together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from blindrelay.ledger.batches import MAX_BATCH, batches
from blindrelay.ledger.books import End
from blindrelay.ledger.ledger_service import Reported, joined


def ends(first: int, count: int) -> Reported:
    return Reported(first, [End(number, "ok", 0, 0) for number in range(first, first + count)])


@pytest.mark.parametrize(
    ("counts", "taken"),
    [
        ([(1, 2), (3, 1), (4, 3)], [(1, 6)]),
        ([(1, 2), (4, 1), (5, 1)], [(1, 2), (4, 2)]),
        ([(5, 2), (5, 2)], [(5, 2), (5, 2)]),
        ([(9, 1), (3, 2)], [(9, 1), (3, 2)]),
        ([(1, 0), (1, 2)], [(1, 2)]),
        ([], []),
    ],
    ids=["in order", "a gap", "repeated", "backwards", "empty", "none"],
)
def test_lines_that_follow_each_other_are_joined(
    counts: list[tuple[int, int]], taken: list[tuple[int, int]]
) -> None:
    found = list(joined(ends(first, count) for first, count in counts))
    assert [(each.first_sequence, len(each.lines)) for each in found] == taken
    for each in found:
        numbers = [line.start_sequence for line in each.lines if isinstance(line, End)]
        assert numbers == list(range(each.first_sequence, each.first_sequence + len(numbers)))


async def gathered(messages: AsyncIterator[int], silent_seconds: float | None = None) -> list[list[int]]:
    """Each message holds as much as its number says. The first is taken when all the others wait."""
    found = []
    async for batch in batches(messages, lambda message: message, silent_seconds):
        found.append(batch)
        for _ in range(1_000):
            await asyncio.sleep(0)
    return found


async def stream(*messages: int, error: Exception | None = None) -> AsyncIterator[int]:
    for message in messages:
        yield message
        await asyncio.sleep(0)
    if error is not None:
        raise error


async def test_the_next_batch_gathers_while_one_is_taken() -> None:
    assert await gathered(stream(1, 2, 3, 4)) == [[1], [2, 3, 4]]


async def test_a_batch_has_an_end() -> None:
    assert await gathered(stream(1, MAX_BATCH, 2, 3)) == [[1], [MAX_BATCH], [2, 3]]


async def test_what_came_before_an_error_is_taken() -> None:
    found = []
    with suppress(LookupError):
        async for batch in batches(stream(1, 2, error=LookupError()), int):
            found += batch
        pytest.fail("the error was not told")
    assert found == [1, 2]


async def test_silence_is_an_error() -> None:
    async def silent() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await gathered(silent(), silent_seconds=0.01)
