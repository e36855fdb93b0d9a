"""Scenarios that both directions share: one stream of records, and how it may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from generator.primitives import FINAL, MESSAGE, PUSH, REKEY, Record, encode, record, seal
from generator.scenario import Scenario
from google.protobuf.message import Message

Streams = dict[str, tuple[str, list[Record]]]
"""By name: a comment, and the records."""


@dataclass(frozen=True)
class Direction:
    """One direction of Alice's exchange, and what its messages are made of."""

    kind: str
    key: bytes
    header: bytes
    head: Message
    end: Message
    both: Message
    """Head, body and end in one part."""
    body: Callable[[bytes], Message]

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
        sealed = alter(seal(self.key, self.header, records))
        fields = {"key": self.key, "records": sealed, "parts": parts}
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
    yield from _altered(way)
    yield from _moved(way)
    yield from _plaintexts(way)
    yield from _orders(way)


def three(way: Direction, last_tag: int = FINAL) -> list[Record]:
    """Head, a piece of the body, the end."""
    return [record(way.head), record(way.body(b"one")), record(way.end, tag=last_tag)]


def _whole(way: Direction) -> Iterator[Scenario]:
    head, body, end = three(way)
    again, nothing = record(way.body(b"two")), record(way.body(b""))
    zeros = [record(way.head, 1), record(way.body(b"one"), 100), record(way.end, 1_000, FINAL)]
    padding = [*three(way, MESSAGE), record(b"", 50), record(b"", tag=FINAL)]
    unknown = record(encode(way.head) + b"\x7a\x02hi")
    whole: Streams = {
        "stream_one_record": ("Everything in one record.", [record(way.both, tag=FINAL)]),
        "stream_three_records": ("Head, body, end, without any padding.", three(way)),
        "stream_empty_payload": ("No body.", [head, end]),
        "stream_empty_piece": ("A piece of no bytes is a piece.", [head, nothing, body, again, end]),
        "stream_padded": ("Zeros in every record.", zeros),
        "stream_padding_records": ("Records of nothing but zeros after the end.", padding),
        "stream_unknown_field": ("Field 15 of no message is ignored.", [unknown, body, end]),
    }
    yield from way.streams(whole)


def _ends(way: Direction) -> Iterator[Scenario]:
    head, body, _ = three(way)
    open_ended = three(way, MESSAGE)
    cut: Streams = {
        "stream_no_chunks": ("No record at all.", []),
        "stream_no_final": ("All of the message, no FINAL.", open_ended),
        "stream_cut_after_head": ("The head, and then nothing.", [head]),
        "stream_cut_before_end": ("Head and body, and then nothing.", [head, body]),
        "stream_cut_in_padding": (
            "The padding does not come to its end.",
            [*three(way, MESSAGE), record(b"", 50)],
        ),
    }
    yield from way.streams(cut, "truncated")
    after: Streams = {
        "stream_two_final_chunks": ("FINAL twice.", [*three(way), record(b"", tag=FINAL)]),
        "stream_message_after_final": ("A record after FINAL.", [*three(way), record(b"")]),
        "stream_body_after_final": ("A body piece after FINAL.", [*three(way), body]),
    }
    yield from way.streams(after, "open_failure", opens=3)
    garbage = {
        "short": ("One byte after FINAL.", b"\x00"),
        "empty": ("A record of no bytes after FINAL.", b""),
        "long": ("A hundred bytes after FINAL.", bytes(range(100))),
    }
    for name, (comment, extra) in garbage.items():
        alter = partial(_appended, extra)
        yield way.stream(f"stream_trailing_garbage_{name}", comment, three(way), "open_failure", alter=alter)
    final_body = record(way.body(b"one"), tag=FINAL)
    early: Streams = {
        "stream_final_first": ("FINAL on the head.", [record(way.head, tag=FINAL)]),
        "stream_final_before_end": (
            "FINAL before the message's end.",
            [head, final_body],
        ),
    }
    yield from way.streams(early, "violation", opens=-1)


def _appended(extra: bytes, sealed: list[bytes]) -> list[bytes]:
    return [*sealed, extra]


def _altered(way: Direction) -> Iterator[Scenario]:
    flips = {
        "stream_bad_tag": ("A bit of the first record's MAC.", 0, -1),
        "stream_bad_tag_second_chunk": ("A bit of the second one's.", 1, -1),
        "stream_bad_tag_last_chunk": ("A bit of the last one's.", 2, -1),
        "modified_nonce_fails": ("A bit of the header.", 0, 0),
        "modified_nonce_end_fails": ("A bit of the header's last byte.", 0, 23),
        "modified_type_fails": ("A bit of the sealed tag byte.", 0, 24),
        "modified_length_fails": ("A bit of the sealed length.", 1, 1),
    }
    for name, (comment, place, byte) in flips.items():
        yield _with_one(way, name, comment, place, partial(flip, place=byte))
    changes: dict[str, tuple[str, int, Callable[[bytes], bytes]]] = {
        "missing_tag": ("The MAC is cut off.", 0, lambda sealed: sealed[:-16]),
        "short_chunk": ("Header and 20 bytes.", 0, lambda sealed: sealed[:44]),
        "short_second_chunk": ("20 bytes.", 1, lambda sealed: sealed[:20]),
        "header_only": ("The header, and no record.", 0, lambda sealed: sealed[:24]),
        "no_header": ("A record without the header.", 0, lambda sealed: sealed[24:]),
        "header_again": ("The header before the second record too.", 1, lambda sealed: way.header + sealed),
        "cut_record": ("A byte short.", 1, lambda sealed: sealed[:-1]),
        "extended_record": ("A byte too many.", 1, lambda sealed: sealed + b"\x00"),
        "empty_record": ("A record of no bytes.", 1, lambda sealed: b""),
    }
    for name, (comment, place, change) in changes.items():
        yield _with_one(way, f"stream_{name}", comment, place, change)


def _with_one(
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
        "last_early": ("FINAL's record before its turn.", 1, (0, 3, 1, 2)),
    }
    for name, (comment, opens, places) in moved.items():
        alter = partial(_picked, places)
        yield way.stream(f"stream_{name}", comment, four, "open_failure", opens=opens, alter=alter)

    def join(sealed: list[bytes]) -> list[bytes]:
        return [sealed[0], sealed[1] + sealed[2], sealed[3]]

    yield way.stream(
        "stream_joined", "Two records in one message.", four, "open_failure", opens=1, alter=join
    )


def _picked(places: Sequence[int], sealed: list[bytes]) -> list[bytes]:
    return [sealed[place] for place in places]


def _plaintexts(way: Direction) -> Iterator[Scenario]:
    head, body, end = three(way)
    for name, tag in {"push": PUSH, "rekey": REKEY, "unknown": 0x80}.items():
        records = [head, Record(body.plaintext, tag), end]
        yield way.stream(f"stream_tag_{name}", f"Tag {tag}, authentic.", records, "violation", opens=1)
    first_byte, last_byte = (Record(body.plaintext + zeros) for zeros in (b"\x01\x00\x00", b"\x00\x00\x01"))
    seconds: Streams = {
        "stream_tag_final_and_more": ("FINAL's bits and another.", [head, Record(end.plaintext, 0x07)]),
        "stream_length_beyond_record": ("It says 6 and holds 5.", [head, Record(b"\x00\x00\x00\x06abcde")]),
        "stream_length_huge": ("It says 4 GiB.", [head, Record(b"\xff\xff\xff\xffabcde")]),
        "stream_padding_not_zero_first": (
            "One bit of padding.",
            [head, first_byte],
        ),
        "stream_padding_not_zero_last": (
            "One bit of padding.",
            [head, last_byte],
        ),
    }
    yield from way.streams(seconds, "violation", opens=1)
    comment = "FINAL over no bytes: too short."
    yield way.stream("stream_last_chunk_empty", comment, [head, Record(b"", FINAL)], "open_failure", opens=1)
    for name, junk in {"part_cut": encode(way.both)[:-1], "part_not_protobuf": b"\x07"}.items():
        comment = "An authentic record, and no part."
        yield way.stream(f"stream_{name}", comment, [record(junk)], "violation", opens=0)


def _orders(way: Direction) -> Iterator[Scenario]:
    head, body, end = three(way)
    ended = three(way, MESSAGE)
    padding = record(b"", 50)
    frame = type(way.head)()
    frame.MergeFromString(b"\x22\x02\x08\x01" if way.kind == "request" else b"\x2a\x02\x08\x01")
    orders: Streams = {
        "stream_body_before_head": ("A body without a head.", [body]),
        "stream_end_before_head": ("An end without a head.", [record(way.end)]),
        "stream_padding_first": ("Padding without a message.", [padding]),
        "stream_head_twice": ("A second head.", [head, head]),
        "stream_head_after_body": ("A second head, later.", [head, body, head]),
        "stream_padding_in_message": ("Padding before the end.", [head, padding]),
        "stream_head_after_end": ("A head after the end.", [*ended, head]),
        "stream_body_after_end": ("A body after the end.", [*ended, body]),
        "stream_end_twice": ("A second end.", [*ended, end]),
        "stream_body_after_padding": ("A body after padding.", [*ended, padding, body]),
        "stream_whole_twice": ("A second message.", [record(way.both), record(way.both)]),
        "stream_frame": ("A frame, and no tunnel.", [head, record(frame)]),
    }
    yield from way.streams(orders, "violation", opens=-1)
