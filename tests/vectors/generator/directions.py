"""The two directions of Alice's exchange: the streams of both (streams.py), and those of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from generator import streams
from generator.fixed import ALICE, BOB, MALLORY
from generator.primitives import FINAL, MESSAGE, Record, record, seal
from generator.scenario import Scenario
from generator.streams import Direction, Streams

from blindrelay.v1.inner_pb2 import (
    BODY_END_LENGTH,
    CREDENTIAL_INJECTED,
    DEADLINE_CLASS_MINUTE,
    ERROR_CODE_PROVIDER_FAILED,
    ERROR_CODE_PROVIDER_UNREACHABLE,
    EXCHANGE_KIND_EXCHANGE,
    EXECUTION_NOT_STARTED,
    EXECUTION_UNKNOWN,
    ExchangeError,
    Header,
    RequestEnd,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)

REQUEST_HEADER = bytes(range(0xC0, 0xD8))
RESPONSE_HEADER = bytes(range(0xD8, 0xF0))

MAX_PIECE = 65_536
MAX_HEAD = 32_768

REQUEST_HEAD = RequestHead(
    kind=EXCHANGE_KIND_EXCHANGE,
    method="POST",
    url="https://api.openai.com/v1/chat/completions",
    headers=[Header(name=b"content-type", value=b"application/json")],
    credential=CREDENTIAL_INJECTED,
    deadline_class=DEADLINE_CLASS_MINUTE,
)
RESPONSE_HEAD = ResponseHead(
    status=200,
    headers=[Header(name=b"content-type", value=b"application/json"), Header(name=b"x-raw", value=b"\xff")],
)
TAIL = ResponseTail(body_end=BODY_END_LENGTH)
NOT_REACHED = ExchangeError(
    code=ERROR_CODE_PROVIDER_UNREACHABLE,
    message="the provider could not be reached",
    execution=EXECUTION_NOT_STARTED,
)
BROKE_OFF = ExchangeError(
    code=ERROR_CODE_PROVIDER_FAILED, message="the provider broke off", execution=EXECUTION_UNKNOWN
)

REQUEST = Direction(
    kind="request",
    key=ALICE.request_key,
    header=REQUEST_HEADER,
    head=RequestPart(head=REQUEST_HEAD),
    end=RequestPart(end=RequestEnd()),
    both=RequestPart(head=REQUEST_HEAD, body=b"{}", end=RequestEnd()),
    body=lambda data: RequestPart(body=data),
)
RESPONSE = Direction(
    kind="response",
    key=ALICE.response_key,
    header=RESPONSE_HEADER,
    head=ResponsePart(head=RESPONSE_HEAD),
    end=ResponsePart(tail=TAIL),
    both=ResponsePart(head=RESPONSE_HEAD, body=b"{}", tail=TAIL),
    body=lambda data: ResponsePart(body=data),
)


def scenarios() -> Iterator[Scenario]:
    yield from streams.scenarios(REQUEST)
    yield from streams.scenarios(RESPONSE)
    yield from _full()
    yield from _too_large()
    yield from _errors()
    yield from _statuses()
    yield from _crossed()


def _full() -> Iterator[Scenario]:
    """Records that are as large as a body piece makes them."""
    head, piece = record(RESPONSE.head), RESPONSE.body(bytes(MAX_PIECE))
    last = record(ResponsePart(body=bytes(MAX_PIECE), tail=TAIL), tag=FINAL)
    zeros = 69_632 - 24 - 21
    largest = record(RESPONSE.both, zeros - RESPONSE.both.ByteSize(), FINAL)
    whole: Streams = {
        "stream_last_chunk_full": ("FINAL on a record with a full piece and the end.", [head, last]),
        "stream_largest_record": ("69,632 bytes with the header, which are the most.", [largest]),
    }
    yield from RESPONSE.streams(whole)
    open_ended = [head, record(piece)]
    yield RESPONSE.stream(
        "stream_no_final_full", "The last record is full, and not FINAL.", open_ended, "truncated"
    )
    too_large = Record(record(b"", zeros, FINAL).plaintext + bytes(25), FINAL)
    after: Streams = {
        "stream_two_final_chunks_full": (
            "A full one after FINAL.",
            [record(RESPONSE.both, tag=FINAL), record(piece, tag=FINAL)],
        ),
        "stream_record_too_large": ("69,633 bytes, authentic.", [record(RESPONSE.both), too_large]),
    }
    yield from RESPONSE.streams(after, "open_failure", opens=1)


def _too_large() -> Iterator[Scenario]:
    pieces = [record(RESPONSE.head), record(RESPONSE.body(bytes(MAX_PIECE + 1)))]
    yield RESPONSE.stream("stream_body_piece_too_large", "65,537 bytes.", pieces, "violation", opens=1)
    for way, head in ((REQUEST, RequestHead()), (RESPONSE, ResponseHead())):
        head.CopyFrom(REQUEST_HEAD if way is REQUEST else RESPONSE_HEAD)  # type: ignore[arg-type]
        filler = head.headers.add(name=b"x-filler")
        filler.value = bytes(MAX_HEAD - head.ByteSize())
        filler.value = bytes(len(filler.value) - (head.ByteSize() - MAX_HEAD) + 1)
        part = RequestPart(head=head) if isinstance(head, RequestHead) else ResponsePart(head=head)
        yield way.stream("stream_head_too_large", "32,769 bytes.", [record(part)], "violation", opens=0)


def _errors() -> Iterator[Scenario]:
    head, body = record(RESPONSE.head), record(RESPONSE.body(b"one"))
    unreachable, broken = ResponsePart(error=NOT_REACHED), ResponsePart(error=BROKE_OFF)
    first, last = record(unreachable), record(broken, tag=FINAL)
    accepted: Streams = {
        "error_first": ("An error in the place of an answer.", [record(unreachable, tag=FINAL)]),
        "error_after_head": ("An answer that breaks off.", [head, last]),
        "error_after_body": ("An answer that breaks off, later.", [head, body, last]),
        "error_padded": ("Padding after an error.", [first, record(b"", 100, FINAL)]),
    }
    yield from RESPONSE.streams(accepted)
    both = record(ResponsePart(tail=TAIL, error=BROKE_OFF))
    refused: Streams = {
        "error_after_tail": ("The answer was whole.", [*streams.three(RESPONSE, MESSAGE), record(broken)]),
        "error_with_tail": ("Whole and failed at once.", [head, both]),
        "head_after_error": ("The exchange had failed.", [first, head]),
        "body_after_error": ("The exchange had failed.", [first, body]),
        "tail_after_error": ("The exchange had failed.", [first, record(RESPONSE.end)]),
    }
    yield from RESPONSE.streams(refused, "violation", opens=-1)
    yield RESPONSE.stream("error_no_final", "An error without FINAL.", [first], "truncated")


def _statuses() -> Iterator[Scenario]:
    for status in (0, 100, 199, 600):
        records = [record(ResponsePart(head=ResponseHead(status=status)))]
        comment = "Not one of 200 to 599, nor 101."
        yield RESPONSE.stream(f"status_{status}", comment, records, "violation", opens=0)
    for status in (204, 599):
        part = ResponsePart(head=ResponseHead(status=status), tail=TAIL)
        yield RESPONSE.stream(f"status_{status}", "One of 200 to 599.", [record(part, tag=FINAL)])


def _crossed() -> Iterator[Scenario]:
    """A response whose records are, in part, those of another stream."""
    sent = streams.three(RESPONSE)
    alices, bobs, forged = (seal(each.response_key, RESPONSE_HEADER, sent) for each in (ALICE, BOB, MALLORY))
    request = seal(ALICE.request_key, REQUEST_HEADER, streams.three(REQUEST))
    second = seal(ALICE.response_key, REQUEST_HEADER, sent)
    crossed = {
        "response_swap_fails": ("Bob's answer, given to Alice.", 0, bobs),
        "mitm_cannot_forge_response": ("An answer under keys that a relay made for itself.", 0, forged),
        "reflected_request_fails": ("Alice's own request, given back.", 0, request),
        "spliced_tail_fails": ("Alice's answer with Bob's end.", 2, [*alices[:2], bobs[2]]),
        "spliced_second_answer_fails": (
            "The end of another answer under the same key.",
            2,
            [*alices[:2], second[2]],
        ),
    }
    for name, (comment, opens, records) in crossed.items():
        yield _delivered(RESPONSE, name, comment, opens, records)
    comment = "Alice's answer, opened with keys that a relay made for itself."
    eavesdropped = replace(RESPONSE, key=MALLORY.response_key)
    yield _delivered(eavesdropped, "mitm_cannot_read_response", comment, 0, alices)


def _delivered(way: Direction, name: str, comment: str, opens: int, records: list[bytes]) -> Scenario:
    """Three records were sent, and these arrive."""
    sent = streams.three(RESPONSE)
    return way.stream(name, comment, sent, "open_failure", opens=opens, alter=lambda _: records)
