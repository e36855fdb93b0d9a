"""Scenarios that both directions share: one stream of records, and how it may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from generator.fixed import Exchange
from generator.primitives import Record, encode, record, seal
from generator.scenario import Scenario
from google.protobuf.message import Message

Streams = dict[str, tuple[str, list[Record]]]
"""By name: a comment, and the records."""


@dataclass(frozen=True)
class Direction:
    """One direction of an exchange, and what its messages are made of."""

    kind: str
    exchange: Exchange
    nonce: bytes
    """The response's nonce; a request has none."""
    head: Message
    end: Message
    both: Message
    """Head, body and end in one part."""
    body: Callable[[bytes], Message]
    asked: str = "exchange"
    """What the client has asked for: an exchange or a tunnel."""

    @property
    def key(self) -> bytes:
        exchange = self.exchange
        return exchange.request_key if self.kind == "request" else exchange.response_key(self.nonce)

    def sealed(self, records: Sequence[Record]) -> list[bytes]:
        return seal(self.key, records, self.nonce)

    @property
    def secrets(self) -> dict[str, bytes]:
        """What the receiver has before the first record."""
        return {"exchange_secret": self.exchange.secret, "envelope_hash": self.exchange.envelope_hash}

    def stream(
        self,
        name: str,
        comment: str,
        records: Sequence[Record],
        expect: str = "accept",
        *,
        opens: int | None = None,
        alter: Callable[[list[bytes]], list[bytes]] = list,
    ) -> Scenario:
        """A scenario of these records, of which `records[:opens]` open to their parts."""
        parts = [_part(each) for each in records[:opens]]
        asked = {"asked": self.asked} if self.kind == "response" else {}
        fields = {**self.secrets, **asked, "records": alter(self.sealed(records)), "parts": parts}
        return Scenario(self.kind, name, comment, expect, fields)

    def streams(
        self, table: Streams, expect: str = "accept", *, opens: int | None = None
    ) -> Iterator[Scenario]:
        """A scenario for each row."""
        for name, (comment, records) in table.items():
            yield self.stream(name, comment, records, expect, opens=opens)


def _part(opened: Record) -> bytes:
    length = int.from_bytes(opened.plaintext[:4], "big")
    return opened.plaintext[4 : 4 + length]


def scenarios(way: Direction) -> Iterator[Scenario]:
    yield from _whole(way)
    yield from _ends(way)
    yield from _garbage(way)
    yield from _altered(way)
    yield from _moved(way)
    yield from _plaintexts(way)
    yield from _orders(way)


def three(way: Direction, last: int = 1) -> list[Record]:
    """Head, a piece of the body, the end."""
    return [record(way.head), record(way.body(b"one")), record(way.end, final=last)]


def _whole(way: Direction) -> Iterator[Scenario]:
    head, body, end = three(way)
    again, nothing = record(way.body(b"two")), record(way.body(b""))
    zeros = [record(way.head, 1), record(way.body(b"one"), 100), record(way.end, 1_000, 1)]
    padding = [*three(way, 0), record(b"", 50), record(b"", final=1)]
    unknown = record(encode(way.head) + b"\x7a\x02hi")
    backwards = record(encode(way.end) + encode(way.body(b"one")) + encode(way.head), final=1)
    whole: Streams = {
        "stream_one_record": ("Everything in one record.", [record(way.both, final=1)]),
        "stream_three_records": ("Head, body, end, without any padding.", three(way)),
        "stream_300_records": ("The counter needs its second byte.", [head, *[body] * 298, end]),
        "stream_empty_payload": ("No body.", [head, end]),
        "stream_empty_piece": ("A piece of no bytes is a piece.", [head, nothing, body, again, end]),
        "stream_padded": ("Zeros in every record.", zeros),
        "stream_padding_records": ("Records of nothing but zeros after the end.", padding),
        "stream_unknown_field": ("Field 15 of no message is ignored.", [unknown, body, end]),
        "stream_fields_backwards": ("The order of a part's fields is that of their numbers.", [backwards]),
    }
    yield from way.streams(whole)


def _ends(way: Direction) -> Iterator[Scenario]:
    head, body, _ = three(way)
    cut: Streams = {
        "stream_no_chunks": ("No record at all.", []),
        "stream_no_final": ("All of the message, and no final record.", three(way, 0)),
        "stream_cut_after_head": ("The head, and then nothing.", [head]),
        "stream_cut_before_end": ("Head and body, and then nothing.", [head, body]),
        "stream_cut_in_padding": ("The padding does not come to its end.", [*three(way, 0), record(b"", 50)]),
    }
    yield from way.streams(cut, "truncated")
    after: Streams = {
        "stream_two_final_chunks": ("Two final records.", [*three(way), record(b"", final=1)]),
        "stream_message_after_final": ("A record after the final one.", [*three(way), record(b"")]),
        "stream_body_after_final": ("A body piece after the final record.", [*three(way), body]),
    }
    yield from way.streams(after, "open_failure", opens=3)
    early: Streams = {
        "stream_final_first": ("The head in a final record.", [record(way.head, final=1)]),
        "stream_final_before_end": (
            "A final record before the message's end.",
            [head, record(way.body(b"one"), final=1)],
        ),
    }
    yield from way.streams(early, "violation", opens=-1)


def _garbage(way: Direction) -> Iterator[Scenario]:
    garbage = {
        "short": ("One byte after the final record.", b"\x00"),
        "empty": ("A record of no bytes after the final one.", b""),
        "long": ("A hundred bytes after the final record.", bytes(range(100))),
    }
    for name, (comment, extra) in garbage.items():
        alter = partial(_appended, extra)
        yield way.stream(f"stream_trailing_garbage_{name}", comment, three(way), "open_failure", alter=alter)


def _appended(extra: bytes, sealed: list[bytes]) -> list[bytes]:
    return [*sealed, extra]


def _altered(way: Direction) -> Iterator[Scenario]:
    flips = {
        "stream_bad_tag": ("A bit of the first record's tag.", 0, -1),
        "stream_bad_tag_second_chunk": ("A bit of the second one's.", 1, -1),
        "stream_bad_tag_last_chunk": ("A bit of the last one's.", 2, -1),
        "modified_length_fails": ("A bit of the sealed length.", 1, 0),
        "modified_part_fails": ("A bit of the sealed part.", 1, 4),
    }
    for name, (comment, place, byte) in flips.items():
        yield with_one(way, name, comment, place, partial(flip, place=byte))
    start = len(way.nonce)
    changes: dict[str, tuple[str, int, Callable[[bytes], bytes]]] = {
        "missing_tag": ("The tag is cut off.", 0, lambda sealed: sealed[:-16]),
        "short_chunk": ("19 bytes.", 0, lambda sealed: sealed[: start + 19]),
        "short_second_chunk": ("19 bytes.", 1, lambda sealed: sealed[:19]),
        "cut_record": ("A byte short.", 1, lambda sealed: sealed[:-1]),
        "extended_record": ("A byte too many.", 1, lambda sealed: sealed + b"\x00"),
        "empty_record": ("A record of no bytes.", 1, lambda sealed: b""),
    }
    for name, (comment, place, change) in changes.items():
        yield with_one(way, f"stream_{name}", comment, place, change)


def with_one(
    way: Direction, name: str, comment: str, place: int, change: Callable[[bytes], bytes]
) -> Scenario:
    """Three records, of which one is changed."""

    def alter(sealed: list[bytes]) -> list[bytes]:
        return [*sealed[:place], change(sealed[place]), *sealed[place + 1 :]]

    return way.stream(name, comment, three(way), "open_failure", opens=place, alter=alter)


def flip(sealed: bytes, place: int) -> bytes:
    altered = bytearray(sealed)
    altered[place] ^= 0x01
    return bytes(altered)


def _moved(way: Direction) -> Iterator[Scenario]:
    head, body, end = three(way)
    four = [head, body, record(way.body(b"two")), end]
    moved = {
        "swapped": ("Two body records the other way round.", 1, (0, 2, 1, 3)),
        "repeated": ("A body record twice.", 2, (0, 1, 1, 2, 3)),
        "dropped": ("A body record is missing.", 1, (0, 2, 3)),
        "first_dropped": ("The first record is missing.", 0, (1, 2, 3)),
        "first_repeated": ("The first record twice.", 1, (0, 0, 1, 2, 3)),
        "last_early": ("The final record before its turn.", 1, (0, 3, 1, 2)),
    }
    for name, (comment, opens, places) in moved.items():
        alter = partial(_picked, places, len(way.nonce))
        yield way.stream(f"stream_{name}", comment, four, "open_failure", opens=opens, alter=alter)

    def join(sealed: list[bytes]) -> list[bytes]:
        return [sealed[0], sealed[1] + sealed[2], sealed[3]]

    yield way.stream(
        "stream_joined", "Two records in one message.", four, "open_failure", opens=1, alter=join
    )
    other = {
        2: "The last byte of its nonce is 2, which is neither final nor not.",
        255: "The last byte of its nonce is 255.",
    }
    for final, comment in other.items():
        records = [head, Record(body.plaintext, final), end]
        yield way.stream(f"stream_final_byte_{final}", comment, records, "open_failure", opens=1)


def _picked(places: Sequence[int], nonce_size: int, sealed: list[bytes]) -> list[bytes]:
    """Records in another order. What comes first has the nonce before it, and nothing else has it."""
    nonce, bare = sealed[0][:nonce_size], [sealed[0][nonce_size:], *sealed[1:]]
    first, *more = (bare[place] for place in places)
    return [nonce + first, *more]


def _plaintexts(way: Direction) -> Iterator[Scenario]:
    head, body, _ = three(way)
    first_byte, last_byte = (Record(body.plaintext + zeros) for zeros in (b"\x01\x00\x00", b"\x00\x00\x01"))
    part = body.plaintext[4:]
    one_more = (len(part) + 1).to_bytes(4, "big")
    seconds: Streams = {
        "stream_length_beyond_record": ("One byte more than it holds.", [head, Record(one_more + part)]),
        "stream_length_huge": ("It says 4 GiB.", [head, Record(b"\xff" * 4 + part)]),
        "stream_padding_not_zero_first": ("One bit of padding.", [head, first_byte]),
        "stream_padding_not_zero_last": ("One bit of padding.", [head, last_byte]),
    }
    yield from way.streams(seconds, "violation", opens=1)
    short = {"last_chunk_empty": 0, "last_chunk_of_3_bytes": 3}
    for name, size in short.items():
        comment, records = f"An authentic record of {size} bytes: too short.", [head, Record(bytes(size), 1)]
        yield way.stream(f"stream_{name}", comment, records, "open_failure", opens=1)
    for name, junk in {"part_cut": encode(way.both)[:-1], "part_not_protobuf": b"\x07"}.items():
        comment = "An authentic record, and no part."
        yield way.stream(f"stream_{name}", comment, [record(junk)], "violation", opens=0)


def _orders(way: Direction) -> Iterator[Scenario]:
    head, body, end = three(way)
    ended = three(way, 0)
    padding = record(b"", 50)
    frame = type(way.head)()
    frame.frame.opcode = 1  # type: ignore[attr-defined]
    piece, framed = encode(way.body(b"one")), record(encode(way.body(b"one")) + encode(frame))
    headed, ending = record(encode(way.head) + piece), record(piece + encode(way.end))
    orders: Streams = {
        "stream_body_before_head": ("A body without a head.", [body]),
        "stream_end_before_head": ("An end without a head.", [record(way.end)]),
        "stream_body_and_end_before_head": ("The same in one record.", [ending]),
        "stream_padding_first": ("Padding without a message.", [padding]),
        "stream_head_twice": ("A second head.", [head, head]),
        "stream_head_twice_with_body": ("A second head, in one part with a body.", [head, headed]),
        "stream_head_after_body": ("A second head, later.", [head, body, head]),
        "stream_padding_in_message": ("Padding before the end.", [head, padding]),
        "stream_head_after_end": ("A head after the end.", [*ended, head]),
        "stream_body_after_end": ("A body after the end.", [*ended, body]),
        "stream_end_twice": ("A second end.", [*ended, end]),
        "stream_body_and_end_twice": ("A second end, in one part with a body.", [*ended, ending]),
        "stream_body_after_padding": ("A body after padding.", [*ended, padding, body]),
        "stream_whole_twice": ("A second message.", [record(way.both), record(way.both)]),
        "stream_frame": ("A frame, and no tunnel.", [head, record(frame)]),
        "stream_body_and_frame": ("A body, and a frame in the same part.", [head, framed]),
    }
    yield from way.streams(orders, "violation", opens=-1)
