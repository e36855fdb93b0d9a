"""Openers: every sequence of parts against a grammar of regular expressions, and every limit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product

import pytest

from blindrelay.sealing import RequestOpener, ResponseOpener, SealingError, TruncatedError, ViolationError
from blindrelay.v1.inner_pb2 import (
    EXCHANGE_KIND_TUNNEL,
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
from blindrelay.v1.limits import MAX_BODY_PIECE, MAX_HEAD_SIZE

from .known_key import hostile_sealer, request_opener, response_opener

Part = RequestPart | ResponsePart
Opener = RequestOpener | ResponseOpener

TEXT, CLOSE = Frame(opcode=1, fin=True, data=b"{}"), Frame(opcode=8, fin=True)

# A letter for each field, in the order of their numbers, and p for padding. A close (c) is a frame too.
REQUEST_PARTS: dict[str, Part] = {
    "h": RequestPart(head=RequestHead(method="POST")),
    "b": RequestPart(body=b"piece"),
    "f": RequestPart(frame=TEXT),
    "c": RequestPart(frame=CLOSE),
    "e": RequestPart(end=RequestEnd()),
    "p": RequestPart(),
}
RESPONSE_PARTS: dict[str, Part] = {
    "h": ResponsePart(head=ResponseHead(status=200)),
    "b": ResponsePart(body=b"piece"),
    "f": ResponsePart(frame=TEXT),
    "c": ResponsePart(frame=CLOSE),
    "t": ResponsePart(tail=ResponseTail()),
    "x": ResponsePart(error=ExchangeError(message="no")),
    "p": ResponsePart(),
}
TUNNEL_HEADS: tuple[Part, Part] = (
    RequestPart(head=RequestHead(kind=EXCHANGE_KIND_TUNNEL)),
    ResponsePart(head=ResponseHead(status=101)),
)


@dataclass(frozen=True)
class Grammar:
    """The parts of a direction, what may begin a message, and what is a whole message."""

    opener: Callable[[], Opener]
    parts: dict[str, Part]
    prefix: str
    whole: str

    def is_allowed(self, letters: str, *, final: bool = False) -> bool:
        return bool(re.fullmatch(self.whole if final else self.prefix, letters))


GRAMMARS = {
    "request": Grammar(request_opener, REQUEST_PARTS, "(h(b*(ep*)?)?)?", "hb*ep*"),
    "response": Grammar(response_opener, RESPONSE_PARTS, "(h(b*([tx]p*)?)?|xp*)?", "(hb*[tx]p*|xp*)"),
    "tunnel request": Grammar(
        request_opener, REQUEST_PARTS | {"h": TUNNEL_HEADS[0]}, "(h(f*(c?(ep*)?)?)?)?", "hf*c?ep*"
    ),
    "tunnel response": Grammar(
        response_opener,
        RESPONSE_PARTS | {"h": TUNNEL_HEADS[1]},
        "(h(f*(c(tp*)?|c?(xp*)?)?)?|xp*)?",
        "(hf*(ct|c?x)p*|xp*)",
    ),
}
each_grammar = pytest.mark.parametrize("grammar", GRAMMARS.values(), ids=GRAMMARS.keys())
each_opener = pytest.mark.parametrize("opener", [request_opener, response_opener])


@each_grammar
def test_every_sequence_of_parts(grammar: Grammar) -> None:
    for size in range(1, 5):
        for letters in product(grammar.parts, repeat=size):
            for final in (False, True):
                check_sequence(grammar, "".join(letters), final=final)


def check_sequence(grammar: Grammar, letters: str, *, final: bool) -> None:
    """Opens the parts one by one, the last in a final record, up to the first that is not allowed."""
    opener = grammar.opener()
    sealer = hostile_sealer(opener)
    for place, letter in enumerate(letters, start=1):
        is_final = final and place == len(letters)
        sealed = sealer.seal(grammar.parts[letter].SerializeToString(), final=is_final)
        if not grammar.is_allowed(letters[:place], final=is_final):
            check_refused(opener, sealed)
            return
        assert opener.open(sealed) == grammar.parts[letter]
        is_whole = grammar.is_allowed(letters[:place], final=True)
        assert (opener.ended, opener.finished) == (is_whole, is_final)
    if not final:
        with pytest.raises(TruncatedError) as caught:
            opener.close()
        check_failed(opener, caught.value)


def check_refused(opener: Opener, sealed: bytes, message: str | None = None) -> None:
    ended = opener.ended
    with pytest.raises(ViolationError, match=message) as caught:
        opener.open(sealed)
    assert opener.ended == ended, "a refused record must not end the message"
    check_failed(opener, caught.value)


def check_failed(opener: Opener, error: SealingError) -> None:
    """Every later use raises the same error."""
    with pytest.raises(type(error), match=re.escape(str(error))):
        opener.open(hostile_sealer(opener).seal(b""))
    with pytest.raises(type(error)):
        opener.close()
    assert not opener.finished
    assert repr(opener).endswith("failed>>")


@each_grammar
@pytest.mark.parametrize("stage", ["", "h"])
def test_fields_of_one_part_come_in_the_order_of_their_numbers(grammar: Grammar, stage: str) -> None:
    fields = [letter for letter in grammar.parts if letter != "p"]
    for letters in (each for size in (2, 3, 4) for each in combinations(fields, size)):
        if {"f", "c"} <= set(letters):
            continue
        encoded = b"".join(grammar.parts[letter].SerializeToString() for letter in letters)
        part = type(grammar.parts["p"]).FromString(encoded)
        opener = grammar.opener()
        sealer = hostile_sealer(opener)
        for letter in stage:
            opener.open(sealer.seal(grammar.parts[letter].SerializeToString()))
        sealed = sealer.seal(part.SerializeToString())
        if grammar.is_allowed(stage + "".join(letters)):
            assert opener.open(sealed) == part
        else:
            check_refused(opener, sealed, "cannot come here")


@each_opener
@pytest.mark.parametrize("junk", [b"\x07", b"\x0a\x05abc", b"\xff" * 20, b"\x0a\x03\x12\x01\xff"])
def test_record_without_a_part_is_refused(opener: Callable[[], Opener], junk: bytes) -> None:
    judging = opener()
    check_refused(judging, hostile_sealer(judging).seal(junk), "does not contain a part")


@each_opener
def test_unknown_field_is_ignored(opener: Callable[[], Opener]) -> None:
    head = REQUEST_PARTS["h"] if opener is request_opener else RESPONSE_PARTS["h"]
    reading = opener()
    sealed = hostile_sealer(reading).seal(head.SerializeToString() + b"\x7a\x01x")
    assert reading.open(sealed).head == head.head


def head_of_size(part: Part, size: int) -> Part:
    """The part, its head padded to exactly this size with one header."""
    padded = type(part).FromString(part.SerializeToString())
    padded.head.headers.append(Header(name=b"x", value=bytes(size)))
    excess = padded.head.ByteSize() - size
    padded.head.headers[0].value = bytes(size - excess)
    assert padded.head.ByteSize() == size
    return padded


def with_status(status: int) -> Part:
    return ResponsePart(head=ResponseHead(status=status), tail=ResponseTail())


def body_of(opener: RequestOpener, sealed: bytes, *, alone: bool) -> bytes | str:
    """What a record has of the body, by body() if that is wanted `alone`, else by open(); or the error."""
    try:
        return bytes(opener.body(sealed) if alone else opener.open(sealed).body)
    except ViolationError as error:
        return str(error)


def test_body_is_what_open_finds_in_any_sequence() -> None:
    lone = {"B": RequestPart(body=bytes(MAX_BODY_PIECE)), "X": RequestPart(body=bytes(MAX_BODY_PIECE + 1))}
    parts = REQUEST_PARTS | lone | {"t": TUNNEL_HEADS[0]}
    for size in range(1, 4):
        for letters in product(parts, repeat=size):
            for final in (False, True):
                plain, quick, sealer = request_opener(), request_opener(), hostile_sealer(request_opener())
                for place, letter in enumerate(letters, start=1):
                    sealed = sealer.seal(parts[letter].SerializeToString(), final=final and place == size)
                    expected = body_of(plain, sealed, alone=False)
                    assert body_of(quick, sealed, alone=True) == expected
                    assert (quick.ended, quick.finished) == (plain.ended, plain.finished)
                    if isinstance(expected, str):
                        check_failed(quick, ViolationError(expected))
                        break


LIMITS: dict[str, tuple[Callable[[], Opener], list[Part], list[Part], str]] = {
    "request's head": (
        request_opener,
        [head_of_size(REQUEST_PARTS["h"], MAX_HEAD_SIZE)],
        [head_of_size(REQUEST_PARTS["h"], MAX_HEAD_SIZE + 1)],
        "32,768",
    ),
    "response's head": (
        response_opener,
        [head_of_size(RESPONSE_PARTS["h"], MAX_HEAD_SIZE)],
        [head_of_size(RESPONSE_PARTS["h"], MAX_HEAD_SIZE + 1)],
        "32,768",
    ),
    "body": (
        request_opener,
        [RequestPart(head=RequestHead(), body=bytes(MAX_BODY_PIECE))],
        [RequestPart(head=RequestHead(), body=bytes(MAX_BODY_PIECE + 1))],
        "65,536",
    ),
    "error": (
        response_opener,
        [ResponsePart(error=ExchangeError(message="é" * 512))],
        [ResponsePart(error=ExchangeError(message="é" * 512 + "e"))],
        "1,024",
    ),
    "status": (
        response_opener,
        [with_status(status) for status in (200, 204, 304, 599)],
        [with_status(status) for status in (0, 1, 99, 100, 102, 199, 600, 999, 2**32 - 1)],
        "200 to 599",
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limit(name: str) -> None:
    opener, allowed, refused, message = LIMITS[name]
    for part in allowed:
        reading = opener()
        assert reading.open(hostile_sealer(reading).seal(part.SerializeToString())) == part
    for part in refused:
        judging = opener()
        check_refused(judging, hostile_sealer(judging).seal(part.SerializeToString()), message)
