"""Records and parts of a hostile relay or peer (spec/protocol.md, sections 9 and 10).

The fuzzer holds the key, so that any plaintext that it makes up is authentic.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import Message

from blindrelay.sealing import (
    OpenError,
    RequestOpener,
    ResponseOpener,
    SealingError,
    TruncatedError,
    ViolationError,
)
from blindrelay.sealing.records import RecordOpener
from blindrelay.v1.inner_pb2 import (
    BODY_END_LENGTH,
    CREDENTIAL_INJECTED,
    ERROR_CODE_INTERNAL,
    EXCHANGE_KIND_EXCHANGE,
    EXCHANGE_KIND_TUNNEL,
    EXECUTION_UNKNOWN,
    ExchangeError,
    Frame,
    Header,
    RequestEnd,
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)
from blindrelay.v1.limits import (
    MAX_BODY_PIECE,
    MAX_ERROR_MESSAGE,
    MAX_FRAME_DATA,
    MAX_HEAD_SIZE,
    MAX_SEALED_SIZE,
    RESPONSE_NONCE_SIZE,
)

from ..alter import altered, edited
from ..tape import Tape, written
from ..target import Target, check

_KEY: Final = bytes(range(32))
_NONCE: Final = bytes(range(0xE0, 0xE0 + RESPONSE_NONCE_SIZE))
_MOST_RECORDS: Final = 16
FINALS: Final = (0, 0, 1, 2, 0xFF)
"""The last byte of a record's nonce: the protocol has 0 and 1."""


def _key(nonce: bytes) -> bytearray:
    return bytearray(hashlib.sha256(_KEY + nonce).digest())


class HostileStream:
    """One direction under a key (32 bytes), with any plaintext and any last byte of its nonces."""

    def __init__(self, key: bytes | bytearray, nonce: bytes = b"") -> None:
        self._aead = AESGCM(key)
        self._nonce = nonce
        self._place = 0

    def seal(self, plaintext: bytes, final: int) -> bytes:
        nonce = self._place.to_bytes(11, "big") + bytes([final])
        record = self._nonce + self._aead.encrypt(nonce, plaintext, None)
        self._nonce, self._place = b"", self._place + 1
        return record


def _plaintext(part: bytes, zeros: int) -> bytes:
    return len(part).to_bytes(4, "big") + part + bytes(zeros)


def _reading(plaintext: bytes, final: int) -> tuple[bytes, bool] | None:
    """The part and finality of an authentic plaintext by section 9; None if it is refused."""
    end = 4 + int.from_bytes(plaintext[:4], "big")
    if final not in (0, 1) or len(plaintext) < max(4, end) or any(plaintext[end:]):
        return None
    return plaintext[4:end], final == 1


def records(data: bytes) -> None:
    """A request's records, authentic or not, in any order."""
    _records(data, b"")


def response_records(data: bytes) -> None:
    """The same for a response, whose key depends on its nonce."""
    _records(data, _NONCE)


def _records(data: bytes, nonce: bytes) -> None:
    """The valid prefix opens, and the first failure is final."""
    tape, stream, opener = Tape(data), HostileStream(_key(nonce), nonce), RecordOpener(_key, len(nonce))
    due: list[tuple[bytes, tuple[bytes, bool] | None]] = []
    opened, finished, failure = 0, False, None
    while not tape.spent and len(due) < _MOST_RECORDS:
        plaintext = any_plaintext(tape)
        final = tape.choice(FINALS)
        due.append((stream.seal(plaintext, final), _reading(plaintext, final)))
        delivered = _delivered(tape, due)
        if delivered is None:
            continue
        record, reading = due[opened] if opened < len(due) else (b"", None)
        expected = reading if delivered == record and not finished and failure is None else None
        if len(delivered) > MAX_SEALED_SIZE:
            expected = None
        result, failure = _opened(opener, delivered, failure)
        check(result == expected, "the valid prefix opens, and nothing else")
        opened += 1
        finished = finished or (result is not None and result[1])
    _check_end(opener, finished, failure)


def any_plaintext(tape: Tape) -> bytes:
    how = tape.byte()
    if how == 0xFF:
        return _plaintext(b"", 60_000 + tape.short() % 10_000)  # on both sides of the largest record
    if how % 8 == 0:
        return tape.chunk()
    if how % 8 == 2:
        return _plaintext(tape.chunk(), tape.byte()) + tape.chunk()
    return _plaintext(tape.chunk(), tape.byte())


def _delivered(tape: Tape, due: Sequence[tuple[bytes, object]]) -> bytes | None:
    """The newest record, or what a relay delivers instead; None if it drops the record."""
    match tape.byte() % 16:
        case 0:
            return None
        case 1:
            return tape.chunk()
        case 2:
            return due[tape.byte() % len(due)][0]
        case 3:
            return edited(tape, due[-1][0])
    return due[-1][0]


def _opened(
    opener: RecordOpener, sealed: bytes, failure: SealingError | None
) -> tuple[tuple[bytes, bool] | None, SealingError | None]:
    try:
        part, final = opener.open(sealed)
        return (bytes(part), final), failure
    except (OpenError, ViolationError) as error:
        check(failure is None or error is failure, "the first failure is final")
        check(error.__cause__ is None, "a failure has no cause")
        check(not opener.finished, "what has failed is not finished")
        return None, error


def _check_end(opener: Any, finished: bool, failure: SealingError | None) -> None:
    try:
        opener.close()
    except SealingError as error:
        check(error is failure if failure else isinstance(error, TruncatedError), "cut, or failed before")
        check(failure or not finished, "a finished stream ends well")
        return
    check(finished and failure is None, "only the final record ends a stream")


HEAD = RequestHead(
    kind=EXCHANGE_KIND_EXCHANGE,
    method="POST",
    url="https://api.openai.com/v1/responses",
    headers=[Header(name=b"content-type", value=b"application/json")],
    credential=CREDENTIAL_INJECTED,
)
_TEXT: Final = Frame(opcode=1, fin=True, data=b"{}")
_MORE: Final = Frame(opcode=0, fin=False, data=b"more")
_CLOSE: Final = Frame(opcode=8, fin=True, data=b"\x03\xe8bye")
_REQUEST_PARTS: Final = (
    RequestPart(head=HEAD),
    RequestPart(body=b"{}"),
    RequestPart(end=RequestEnd()),
    RequestPart(),
    RequestPart(head=HEAD, body=b"{}", end=RequestEnd()),
    RequestPart(frame=_TEXT),
    RequestPart(head=RequestHead(kind=EXCHANGE_KIND_TUNNEL, method="GET")),
    RequestPart(frame=_MORE),
    RequestPart(frame=_CLOSE),
)
_ANSWER: Final = ResponseHead(status=200, headers=[Header(name=b"content-type", value=b"text/plain")])
_RESPONSE_PARTS: Final = (
    ResponsePart(head=_ANSWER),
    ResponsePart(body=b"one"),
    ResponsePart(tail=ResponseTail(body_end=BODY_END_LENGTH)),
    ResponsePart(),
    ResponsePart(error=ExchangeError(code=ERROR_CODE_INTERNAL, message="no", execution=EXECUTION_UNKNOWN)),
    ResponsePart(head=_ANSWER, body=b"one", tail=ResponseTail(body_end=BODY_END_LENGTH)),
    ResponsePart(frame=_TEXT),
    ResponsePart(head=ResponseHead(status=101)),
    ResponsePart(frame=_MORE),
    ResponsePart(frame=_CLOSE),
)
# By the first letter of a field's name, except for a tunnel's head (H) and close (c).
_REQUEST_ORDER: Final = re.compile(r"(h(b*(ep*)?)?|H(f*(c?(ep*)?)?)?)?")
_RESPONSE_ORDER: Final = re.compile(r"(h(b*([te]p*)?)?|H(f*(ctp*|c?(ep*)?)?)?|ep*)?")
# RFC 6455, section 5.4: text, bytes and continuations, small for the last of a message.
_FRAME_ORDER: Final = re.compile(r"([tb]|[TB]C*c)*([TB]C*)?x?")


def request_parts(data: bytes) -> None:
    """What a hostile client seals for the bridge."""
    _parts(data, RequestOpener(_key), b"", _REQUEST_PARTS, _REQUEST_ORDER)


def response_parts(data: bytes) -> None:
    """What a hostile bridge seals for the client."""
    _parts(data, ResponseOpener(_key), _NONCE, _RESPONSE_PARTS, _RESPONSE_ORDER)


def _parts(
    data: bytes, opener: Any, nonce: bytes, bases: tuple[Message, ...], order: re.Pattern[str]
) -> None:
    tape, stream = Tape(data), HostileStream(_key(nonce), nonce)
    letters, frames, finished, count = "", "", False, 0
    failure: SealingError | None = None
    while not tape.spent and (count := count + 1) <= _MOST_RECORDS:
        how = tape.byte()
        part = tape.chunk() if how > 0xF0 else altered(tape, bases[how % len(bases)])
        final = tape.byte() % 4 == 0
        sealed = stream.seal(_plaintext(part, 0), int(final))
        try:
            opened = opener.open(sealed)
        except (OpenError, ViolationError) as error:
            check(failure is None or error is failure, "the first failure is final")
            failure = error
            continue
        check(failure is None and not finished, "nothing opens after a failure or the final record")
        letters += "".join(_letter(field.name, opened) for field, _ in opened.ListFields()) or "p"
        frames += _frame_letter(opened.frame) if opened.HasField("frame") else ""
        finished = final
        check(order.fullmatch(letters), "parts come in their order")
        check(_FRAME_ORDER.fullmatch(frames), "frames come in their order")
        check(opener.ended == (letters[-1:] in ("t", "e", "p")), "the message is whole at its end")
        check(not final or opener.ended, "the final record does not come before the message's end")
        _check_limits(opened)
    _check_end(opener, finished, failure)


def _letter(name: str, part: Any) -> str:
    if name == "head":
        is_tunnel = getattr(part.head, "kind", None) == EXCHANGE_KIND_TUNNEL
        return "H" if is_tunnel or getattr(part.head, "status", None) == 101 else "h"
    return "c" if name == "frame" and part.frame.opcode == 8 else name[0]


def _frame_letter(frame: Frame) -> str:
    if frame.opcode == 8:
        return "x"
    letter = {0: "c", 1: "t", 2: "b"}[frame.opcode]
    return letter if frame.fin else letter.upper()


def _check_limits(part: Any) -> None:
    check(part.head.ByteSize() <= MAX_HEAD_SIZE and len(part.body) <= MAX_BODY_PIECE, "sizes are in bounds")
    check(len(part.frame.data) <= (125 if part.frame.opcode == 8 else MAX_FRAME_DATA), "frames too")
    if isinstance(part, ResponsePart):
        check(len(part.error.message.encode()) <= MAX_ERROR_MESSAGE, "an error is a sentence")
        status = part.head.status
        check(not part.HasField("head") or 200 <= status <= 599 or status == 101, "a status is 200 to 599")


_WELL_FORMED = written(7, b"part", 3)
_TWO_RECORDS = _WELL_FORMED + written(0, 7) + _WELL_FORMED + written(2, 7)
# A tunnel's head, text, a close, the end: with no alteration and no FINAL until the last.
_WHOLE_TUNNEL = written(6, 0, 0, b"", 1, 5, 0, 0, b"", 1, 8, 0, 0, b"", 1, 2, 0, 0, b"", 0)
_ANSWERED_TUNNEL = written(7, 0, 0, b"", 1, 6, 0, 0, b"", 1, 9, 0, 0, b"", 1, 2, 0, 0, b"", 0)
_WHOLE_STREAM = written(0, 0, 0, b"", 1, 1, 0, 0, b"", 1, 2, 0, 0, b"", 0)

TARGETS = (
    Target("records", records, (), lambda: [_TWO_RECORDS], 1_024),
    Target("response_records", response_records, (), lambda: [_TWO_RECORDS], 1_024),
    Target("request_parts", request_parts, (), lambda: [_WHOLE_STREAM, _WHOLE_TUNNEL], 1_024),
    Target("response_parts", response_parts, (), lambda: [_WHOLE_STREAM, _ANSWERED_TUNNEL], 1_024),
)
