"""The two directions of Alice's exchange: the streams of both (streams.py), and those of one."""

from __future__ import annotations

from collections.abc import Iterator

from generator import streams
from generator.fixed import ALICE, NONCE
from generator.primitives import RECORD_ADDS, RECORD_MAX, encode, record
from generator.scenario import Scenario
from generator.streams import Direction, Streams
from google.protobuf.message import Message

from blindrelay.v1.inner_pb2 import (
    BODY_END_LENGTH,
    CREDENTIAL_INJECTED,
    DEADLINE_CLASS_MINUTE,
    ERROR_CODE_INTERNAL,
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
    exchange=ALICE,
    nonce=b"",
    head=RequestPart(head=REQUEST_HEAD),
    end=RequestPart(end=RequestEnd()),
    both=RequestPart(head=REQUEST_HEAD, body=b"{}", end=RequestEnd()),
    body=lambda data: RequestPart(body=data),
)
RESPONSE = Direction(
    kind="response",
    exchange=ALICE,
    nonce=NONCE,
    head=ResponsePart(head=RESPONSE_HEAD),
    end=ResponsePart(tail=TAIL),
    both=ResponsePart(head=RESPONSE_HEAD, body=b"{}", tail=TAIL),
    body=lambda data: ResponsePart(body=data),
)


def scenarios() -> Iterator[Scenario]:
    yield from streams.scenarios(REQUEST)
    yield from streams.scenarios(RESPONSE)
    yield from _full()
    yield from _limits()
    yield from _not_utf8()
    yield from _errors()
    yield from _statuses()


def _full() -> Iterator[Scenario]:
    """Records that are as large as a body piece makes them."""
    head, piece = record(RESPONSE.head), RESPONSE.body(bytes(MAX_PIECE))
    last = record(ResponsePart(body=bytes(MAX_PIECE), tail=TAIL), final=1)
    zeros = RECORD_MAX - len(NONCE) - RECORD_ADDS
    largest = record(RESPONSE.both, zeros - RESPONSE.both.ByteSize(), final=1)
    whole: Streams = {
        "stream_last_chunk_full": ("A full piece and the end in the final record.", [head, last]),
        "stream_largest_record": ("69,632 bytes with the nonce, which are the most.", [largest]),
    }
    yield from RESPONSE.streams(whole)
    open_ended = [head, record(piece)]
    yield RESPONSE.stream(
        "stream_no_final_full", "The last record is full, and not the final one.", open_ended, "truncated"
    )
    too_large = record(b"", RECORD_MAX - RECORD_ADDS + 1, final=1)
    after: Streams = {
        "stream_two_final_chunks_full": (
            "A full one after the final record.",
            [record(RESPONSE.both, final=1), record(piece, final=1)],
        ),
        "stream_record_too_large": ("69,633 bytes, authentic.", [record(RESPONSE.both), too_large]),
    }
    yield from RESPONSE.streams(after, "open_failure", opens=1)


def _limits() -> Iterator[Scenario]:
    largest = [record(REQUEST.head), record(REQUEST.body(bytes(MAX_PIECE))), record(REQUEST.end, final=1)]
    yield REQUEST.stream("stream_body_piece_largest", "65,536 bytes.", largest)
    pieces = [record(RESPONSE.head), record(RESPONSE.body(bytes(MAX_PIECE + 1)))]
    yield RESPONSE.stream("stream_body_piece_too_large", "65,537 bytes.", pieces, "violation", opens=1)
    for way in (REQUEST, RESPONSE):
        head = record(_with_head_of(way.head, MAX_HEAD))
        yield way.stream("stream_head_largest", "32,768 bytes.", [head, record(way.end, final=1)])
        head = record(_with_head_of(way.head, MAX_HEAD + 1))
        yield way.stream("stream_head_too_large", "32,769 bytes.", [head], "violation", opens=0)


def _with_head_of(part: Message, size: int) -> Message:
    """The part, with one more header that makes its head exactly so large."""
    filled = type(part)()
    filled.CopyFrom(part)
    head: RequestHead | ResponseHead = filled.head  # type: ignore[attr-defined]
    filler = head.headers.add(name=b"x-filler", value=bytes(size - 100 - head.ByteSize()))
    filler.value += bytes(size - head.ByteSize())
    if head.ByteSize() != size:
        raise ValueError(f"this head has {head.ByteSize()} bytes")
    return filled


def _not_utf8() -> Iterator[Scenario]:
    """Text in protobuf is UTF-8. A byte of it is replaced."""
    request, refused = encode(REQUEST.head), encode(ResponsePart(error=BROKE_OFF))
    rows = {
        "method_not_utf8": (REQUEST, "A method", request.replace(b"POST", b"PO\xffT")),
        "url_not_utf8": (REQUEST, "A URL", request.replace(b"https", b"http\xff")),
        "error_not_utf8": (RESPONSE, "An error's message", refused.replace(b"broke", b"br\xffke")),
    }
    for name, (way, what, part) in rows.items():
        yield way.stream(f"stream_{name}", f"{what} with the byte ff.", [record(part)], "violation", opens=0)


def _errors() -> Iterator[Scenario]:
    head, body = record(RESPONSE.head), record(RESPONSE.body(b"one"))
    unreachable, broken = ResponsePart(error=NOT_REACHED), ResponsePart(error=BROKE_OFF)
    first, last = record(unreachable), record(broken, final=1)
    longest, too_long = (
        ResponsePart(error=ExchangeError(code=ERROR_CODE_INTERNAL, message="\u00e9" * 512 + more))
        for more in ("", "e")
    )
    accepted: Streams = {
        "error_first": ("An error instead of a response.", [record(unreachable, final=1)]),
        "error_after_head": ("A response that breaks off.", [head, last]),
        "error_after_body": ("A response that breaks off, later.", [head, body, last]),
        "error_padded": ("Padding after an error.", [first, record(b"", 100, 1)]),
        "error_longest": ("A message of 1,024 bytes, which are 512 characters.", [record(longest, final=1)]),
    }
    yield from RESPONSE.streams(accepted)
    both = record(ResponsePart(tail=TAIL, error=BROKE_OFF))
    refused: Streams = {
        "error_too_long": ("A message of 1,025 bytes.", [record(too_long)]),
        "error_after_tail": ("The response was complete.", [*streams.three(RESPONSE, 0), record(broken)]),
        "error_with_tail": ("Complete and failed at once.", [head, both]),
        "head_after_error": ("The exchange had failed.", [first, head]),
        "body_after_error": ("The exchange had failed.", [first, body]),
        "tail_after_error": ("The exchange had failed.", [first, record(RESPONSE.end)]),
    }
    yield from RESPONSE.streams(refused, "violation", opens=-1)
    yield RESPONSE.stream("error_no_final", "An error, and no final record.", [first], "truncated")


def _statuses() -> Iterator[Scenario]:
    for status in (0, 100, 199, 600):
        records = [record(ResponsePart(head=ResponseHead(status=status)))]
        comment = "Not one of 200 to 599, nor 101."
        yield RESPONSE.stream(f"status_{status}", comment, records, "violation", opens=0)
    for status in (204, 599):
        part = ResponsePart(head=ResponseHead(status=status), tail=TAIL)
        yield RESPONSE.stream(f"status_{status}", "One of 200 to 599.", [record(part, final=1)])
    uninvited = [record(ResponsePart(head=ResponseHead(status=101)))]
    comment = "A tunnel opens, and the client has asked for none."
    yield RESPONSE.stream("status_101_uninvited", comment, uninvited, "violation", opens=0)
