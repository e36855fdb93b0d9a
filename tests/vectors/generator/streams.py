"""Scenarios that both directions share: one stream of records, and how it may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from generator.primitives import FINAL, MESSAGE, PUSH, REKEY, Record, encode, record, seal
from generator.scenario import Scenario
from google.protobuf.message import Message

Build = Callable[..., Scenario]


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
        """A scenario of these records, of which the first `opens` (all, unless said) open to their parts."""
        parts = [_part(each) for each in records[:opens]]
        sealed = alter(seal(self.key, self.header, records))
        fields = {"key": self.key, "records": sealed, "parts": parts}
        return Scenario(self.kind, name, comment, expect, fields)


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
    yield way.stream("stream_one_record", "Everything in one record.", [record(way.both, tag=FINAL)])
    yield way.stream("stream_three_records", "Head, body, end, without any padding.", three(way))
    head, body, end = three(way)
    again = record(way.body(b"two"))
    yield way.stream("stream_empty_payload", "No body.", [head, end])
    nothing = record(way.body(b""))
    yield way.stream(
        "stream_empty_piece", "A piece of no bytes is a piece.", [head, nothing, body, again, end]
    )
    zeros = [record(way.head, 1), record(way.body(b"one"), 100), record(way.end, 1_000, FINAL)]
    yield way.stream("stream_padded", "Zeros in every record.", zeros)
    padding = [*three(way, MESSAGE), record(b"", 50), record(b"", tag=FINAL)]
    yield way.stream("stream_padding_records", "Records of nothing but zeros after the end.", padding)
    unknown = encode(way.head) + b"\x7a\x02hi"
    yield way.stream(
        "stream_unknown_field", "Field 15 of no message is ignored.", [record(unknown), body, end]
    )


def _ends(way: Direction) -> Iterator[Scenario]:
    head, body, _ = three(way)
    yield way.stream("stream_no_chunks", "No record at all.", [], "truncated")
    yield way.stream("stream_no_final", "All of the message, no FINAL.", three(way, MESSAGE), "truncated")
    yield way.stream("stream_cut_after_head", "The head, and then nothing.", [head], "truncated")
    yield way.stream("stream_cut_before_end", "Head and body, and then nothing.", [head, body], "truncated")
    padding = [*three(way, MESSAGE), record(b"", 50)]
    yield way.stream("stream_cut_in_padding", "The padding does not come to its end.", padding, "truncated")

    after = {
        "stream_two_final_chunks": ("FINAL twice.", [*three(way), record(b"", tag=FINAL)]),
        "stream_message_after_final": ("A record after FINAL.", [*three(way), record(b"")]),
        "stream_body_after_final": ("A body piece after FINAL.", [*three(way), body]),
    }
    for name, (comment, records) in after.items():
        yield way.stream(name, comment, records, "open_failure", opens=3)

    def garbage(name: str, comment: str, extra: bytes) -> Scenario:
        return way.stream(name, comment, three(way), "open_failure", alter=lambda sealed: [*sealed, extra])

    yield garbage("stream_trailing_garbage_short", "One byte after FINAL.", b"\x00")
    yield garbage("stream_trailing_garbage_empty", "A record of no bytes after FINAL.", b"")
    yield garbage("stream_trailing_garbage_long", "A hundred bytes after FINAL.", bytes(range(100)))
    yield way.stream(
        "stream_final_first", "FINAL on the head.", [record(way.head, tag=FINAL)], "violation", opens=0
    )
    early = [head, record(way.body(b"one"), tag=FINAL)]
    yield way.stream(
        "stream_final_before_end", "FINAL before the message's end.", early, "violation", opens=1
    )


def _altered(way: Direction) -> Iterator[Scenario]:
    def altered(
        name: str, comment: str, place: int, change: Callable[[bytes], bytes], expect: str = "open_failure"
    ) -> Scenario:
        def alter(sealed: list[bytes]) -> list[bytes]:
            return [*sealed[:place], change(sealed[place]), *sealed[place + 1 :]]

        return way.stream(name, comment, three(way), expect, opens=place, alter=alter)

    yield altered("stream_bad_tag", "A bit of the first record's MAC.", 0, lambda sealed: flip(sealed, -1))
    yield altered(
        "stream_bad_tag_second_chunk", "A bit of the second one's.", 1, lambda sealed: flip(sealed, -1)
    )
    yield altered("stream_bad_tag_last_chunk", "A bit of the last one's.", 2, lambda sealed: flip(sealed, -1))
    yield altered("modified_nonce_fails", "A bit of the header.", 0, lambda sealed: flip(sealed, 0))
    yield altered(
        "modified_nonce_end_fails", "A bit of the header's last byte.", 0, lambda sealed: flip(sealed, 23)
    )
    yield altered("modified_type_fails", "A bit of the sealed tag byte.", 0, lambda sealed: flip(sealed, 24))
    yield altered("modified_length_fails", "A bit of the sealed length.", 1, lambda sealed: flip(sealed, 1))
    yield altered("stream_missing_tag", "The MAC is cut off.", 0, lambda sealed: sealed[:-16])
    yield altered("stream_short_chunk", "Header and 20 bytes.", 0, lambda sealed: sealed[:44])
    yield altered("stream_short_second_chunk", "20 bytes.", 1, lambda sealed: sealed[:20])
    yield altered("stream_header_only", "The header, and no record.", 0, lambda sealed: sealed[:24])
    yield altered("stream_no_header", "A record without the header.", 0, lambda sealed: sealed[24:])
    yield altered(
        "stream_header_again",
        "The header before the second record too.",
        1,
        lambda sealed: way.header + sealed,
    )
    yield altered("stream_cut_record", "A byte short.", 1, lambda sealed: sealed[:-1])
    yield altered("stream_extended_record", "A byte too many.", 1, lambda sealed: sealed + b"\x00")
    yield altered("stream_empty_record", "A record of no bytes.", 1, lambda sealed: b"")


def flip(sealed: bytes, place: int) -> bytes:
    altered = bytearray(sealed)
    altered[place] ^= 0x01
    return bytes(altered)


def _moved(way: Direction) -> Iterator[Scenario]:
    head, body, end = three(way)
    four = [head, body, record(way.body(b"two")), end]

    def moved(name: str, comment: str, opens: int, *places: int) -> Scenario:
        return way.stream(
            name,
            comment,
            four,
            "open_failure",
            opens=opens,
            alter=lambda sealed: [sealed[at] for at in places],
        )

    yield moved("stream_swapped", "Two body records the other way round.", 1, 0, 2, 1, 3)
    yield moved("stream_repeated", "A body record twice.", 2, 0, 1, 1, 2, 3)
    yield moved("stream_dropped", "A body record is missing.", 1, 0, 2, 3)
    yield moved("stream_first_dropped", "The first record is missing.", 0, 1, 2, 3)
    yield moved("stream_first_repeated", "The first record twice.", 1, 0, 0, 1, 2, 3)
    yield moved("stream_last_early", "FINAL's record before its turn.", 1, 0, 3, 1, 2)
    joined = way.stream(
        "stream_joined", "Two records in one message.", four, "open_failure", opens=1,
        alter=lambda sealed: [sealed[0], sealed[1] + sealed[2], sealed[3]],
    )  # fmt: skip
    yield joined


def _plaintexts(way: Direction) -> Iterator[Scenario]:
    head, body, end = three(way)
    for name, tag in {"stream_tag_push": PUSH, "stream_tag_rekey": REKEY, "stream_tag_unknown": 0x80}.items():
        tagged = [head, record(way.body(b"one"), tag=tag), end]
        yield way.stream(name, f"Tag {tag}, authentic.", tagged, "violation", opens=1)
    yield way.stream(
        "stream_tag_final_and_more",
        "FINAL's bits and another.",
        [head, Record(end.plaintext, 0x07)],
        "violation",
        opens=1,
    )
    empty = [head, Record(b"", FINAL)]
    yield way.stream(
        "stream_last_chunk_empty", "FINAL over no bytes: too short.", empty, "open_failure", opens=1
    )
    beyond = [head, Record(b"\x00\x00\x00\x06abcde")]
    yield way.stream("stream_length_beyond_record", "It says 6 and holds 5.", beyond, "violation", opens=1)
    huge = [head, Record(b"\xff\xff\xff\xffabcde")]
    yield way.stream("stream_length_huge", "It says 4 GiB.", huge, "violation", opens=1)
    for name, zeros in {"first": b"\x01\x00\x00", "last": b"\x00\x00\x01"}.items():
        spoilt = [head, Record(body.plaintext + zeros)]
        yield way.stream(
            f"stream_padding_not_zero_{name}", "One bit of padding.", spoilt, "violation", opens=1
        )
    for name, junk in {"stream_part_cut": encode(way.both)[:-1], "stream_part_not_protobuf": b"\x07"}.items():
        yield way.stream(name, "An authentic record, and no part.", [record(junk)], "violation", opens=0)


def _orders(way: Direction) -> Iterator[Scenario]:
    head, body, end = three(way)
    ended = three(way, MESSAGE)
    padding = record(b"", 50)
    frame = type(way.head)()
    frame.MergeFromString(b"\x22\x02\x08\x01" if way.kind == "request" else b"\x2a\x02\x08\x01")
    orders: dict[str, tuple[str, list[Record]]] = {
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
    for name, (comment, records) in orders.items():
        yield way.stream(name, comment, records, "violation", opens=len(records) - 1)
