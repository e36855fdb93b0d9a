"""Scenarios of padding: PADMÉ of some lengths, and the sizes of a direction's records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from generator.fixed import NONCE
from generator.primitives import FLOOR, FULL_RECORD, RECORD_ADDS, TUNNEL_FLOOR, last_sizes, padme
from generator.scenario import Scenario

LENGTHS = (
    2, 3, 8, 9, 15, 16, 17, 255, 256, 257, 1_000, 4_095, 4_096, 4_097, 4_224, 4_225, 65_535, 65_536, 65_537,
    100_000, 1_048_576, 1_048_577, 33_554_432, 33_554_433, 1 << 31, (1 << 31) + 1, (1 << 32) - 1, 1 << 32,
    (1 << 32) + 1, (1 << 32) + 4_097, 1 << 40, (1 << 40) + 1, (1 << 53) - 1, 1 << 53, (1 << 53) + 1,
    (1 << 63) + 1,
)  # fmt: skip

MAX_PIECE = 65_536
MAX_HEAD = 32_768
HEAD = 150
END = 2


def scenarios() -> Iterator[Scenario]:
    cases = [{"length": length, "padded": padme(length)} for length in LENGTHS]
    yield Scenario(
        "padding", "padme", "PADMÉ of some lengths, without the floor.", "accept", {"cases": cases}
    )
    yield from _requests()
    yield from _responses()
    yield from _late()
    yield from _tunnels()


def _requests() -> Iterator[Scenario]:
    """A head and a body of so many bytes."""
    first = _room(HEAD)
    floor = FLOOR - RECORD_ADDS - _field(HEAD) - 3 - END
    rows = {
        "empty": ("No body: the floor.", HEAD, 0),
        "at_floor": ("A record of 4,096 bytes without a zero.", HEAD, floor),
        "over_floor": ("A byte more: the next length of PADMÉ.", HEAD, floor + 1),
        "one_full": ("All of the body fits into one record.", HEAD, first),
        "one_and_a_byte": ("A byte more: a second record.", HEAD, first + 1),
        "two_full": ("All of the body fits into two records.", HEAD, first + MAX_PIECE),
        "no_url": ("A head of four bytes and as much body as fits.", 4, _room(4)),
        "largest_head": ("A head of 32,768 bytes.", MAX_HEAD, MAX_PIECE),
        "padding_record": ("A record of nothing but padding.", HEAD, 65_400),
        "padding_records": ("Two records of nothing but padding.", HEAD, 4_190_000),
    }
    for name, (comment, head, body) in rows.items():
        parts = _cut(head, body)
        early = [FULL_RECORD["request"]] * (len(parts) - 1)
        records = [*early, *last_sizes("request", sum(early), RECORD_ADDS + parts[-1])]
        yield _sizes(f"request_{name}", comment, "request", parts, records, head=head, body=body)


def _room(head: int) -> int:
    """The most bytes of a body beside a head of so many bytes (section 9.3)."""
    return min(MAX_PIECE, 65_590 - (head + 4 if head else 0))


def _field(size: int) -> int:
    """The bytes of a protobuf field of so many bytes, with its tag and its length."""
    return 1 + (1 if size < 1 << 7 else 2 if size < 1 << 14 else 3) + size


def _cut(head: int, body: int) -> list[int]:
    """The lengths of a request's encoded parts."""
    parts = []
    framed_head, room = _field(head), _room(head)
    while body > room:
        parts.append(framed_head + _field(room))
        body -= room
        framed_head, room = 0, _room(0)
    return [*parts, framed_head + (_field(body) if body else 0) + END]


def _responses() -> Iterator[Scenario]:
    nonce, largest = len(NONCE), FULL_RECORD["response"] - RECORD_ADDS
    at_floor = FLOOR - nonce - RECORD_ADDS
    rows = {
        "small": ("Everything in one record: the floor.", [500]),
        "at_floor": ("A record of 4,096 bytes with its nonce, without a zero.", [at_floor]),
        "over_floor": ("A byte more: the next length of PADMÉ.", [at_floor + 1]),
        "streamed": ("Pieces as they arrive, unpadded, and the tail.", [80, 1_000, 3, 3_000, 65_540, 4]),
        "below_floor": ("Pieces, and a tail that brings the sum to the floor.", [80, 700, 700, 4]),
        "largest_part": ("The largest part, and its nonce.", [largest]),
        "padding_record": ("A record of nothing but padding.", [80, *[65_540] * 40, 4]),
    }
    for name, (comment, parts) in rows.items():
        *early, last = [RECORD_ADDS + part for part in parts]
        ends = last_sizes("response", nonce + sum(early), last)
        first, *more = [*early, *ends]
        yield _sizes(f"response_{name}", comment, "response", parts, [nonce + first, *more])


def _late() -> Iterator[Scenario]:
    """The end of a response, after so many bytes."""
    full, step = FULL_RECORD["response"], 1 << 17
    total = (1 << 22) + step  # between 2^22 and 2^23 the lengths of PADMÉ are 2^17 apart, more than a record
    rows = {
        "largest": ("The last record is as large as it gets.", total - full - 19, 4),
        "smallest_padding_record": ("A byte more: a padding record of 20.", total - full - 20, 4),
        "exact": ("The sum is one of PADMÉ: no zero.", total - 24, 4),
        "beyond_32_bits": ("After more than 2^32 bytes.", (1 << 32) + (1 << 26) - 100_000, 4),
        "to_33_bits": ("A sum that PADMÉ rounds up to 2^33.", (1 << 33) - 100_000, 4),
    }
    for name, (comment, sent, part) in rows.items():
        records = last_sizes("response", sent, RECORD_ADDS + part)
        yield _sizes(f"late_{name}", comment, "response", [part], records, sent=sent)


def _tunnels() -> Iterator[Scenario]:
    parts = [90, 5, 980, 1_003, 1_004, 1_005, 5_000, 65_550, 9, 2]
    for direction, nonce in {"request": 0, "response": len(NONCE)}.items():
        first, *more = (padme(max(TUNNEL_FLOOR, RECORD_ADDS + part)) for part in parts)
        comment = "Each record of a tunnel is padded by itself."
        yield _sizes(f"tunnel_{direction}", comment, direction, parts, [nonce + first, *more], tunnel=True)


def _sizes(
    name: str,
    comment: str,
    direction: str,
    parts: Sequence[int],
    records: Sequence[int],
    *,
    tunnel: bool = False,
    sent: int = 0,
    **request: int,
) -> Scenario:
    fields = {"direction": direction, "tunnel": tunnel, **request, "sent": sent}
    return Scenario("sizes", name, comment, "accept", {**fields, "parts": parts, "records": records})
