"""The vectors of sizes: what a relay sees of a message, without its content (spec/vectors/README.md)."""

from __future__ import annotations

from blindrelay.sealing.padding import RECORD_OVERHEAD, final_padding, tunnel_padding
from blindrelay.v1.inner_pb2 import BODY_END_LENGTH, RequestHead, ResponseHead, ResponsePart, ResponseTail
from blindrelay.v1.limits import RESPONSE_NONCE_SIZE

from .known_key import Vector, request_opener, request_sealer, response_sealer

FULL = {"request": 65_616, "response": 69_581}


def head_of_size(size: int) -> RequestHead:
    """A request's head of exactly so many bytes: a URL, whose framing takes 2 to 4."""
    heads = (RequestHead(url="/" * (size - framing)) for framing in (2, 3, 4))
    return next(head for head in heads if head.ByteSize() == size)


def test_sizes(sizes_vector: Vector) -> None:
    """Sealers make records of these sizes; where the direction is too long for a test, of its last part."""
    parts, sent = sizes_vector["parts"], int(sizes_vector["sent"])
    if sent:
        last = RECORD_OVERHEAD + parts[0]
        first, *more = final_padding(sent, last, FULL[sizes_vector["direction"]])
        sizes = [last + first, *(RECORD_OVERHEAD + zeros for zeros in more)]
    elif sizes_vector["tunnel"]:
        nonce = 0 if sizes_vector["direction"] == "request" else RESPONSE_NONCE_SIZE
        first, *more = (RECORD_OVERHEAD + part + tunnel_padding(part) for part in parts)
        sizes = [nonce + first, *more]
    elif sizes_vector["direction"] == "request":
        sizes = list(map(len, sealed_request(sizes_vector)))
    else:
        sizes = list(map(len, sealed_response(parts)))
    assert sizes == sizes_vector["records"]


def sealed_request(vector: Vector) -> list[bytes]:
    """The records of a request with this head and body, which comes in pieces."""
    sealer, opener, step = request_sealer(), request_opener(), 10_007
    sealer.head(head_of_size(vector["head"]))
    body = memoryview(bytes(vector["body"]))
    pieces = (body[start : start + step] for start in range(0, len(body), step))
    sealed = [record for piece in pieces for record in sealer.body(piece)] + sealer.end()
    parts = [opener.open(record).ByteSize() for record in sealed]
    assert [size for size in parts if size] == vector["parts"]
    return sealed


def sealed_response(parts: list[int]) -> list[bytes]:
    """The records of parts of these sizes: what they hold does not matter to a sealer of records."""
    sealer = response_sealer()
    *early, last = parts
    if not early:
        return sealer._seal(part_of_size(last, head=True, tail=True))
    sealed = sealer._seal(part_of_size(early[0], head=True))
    for size in early[1:]:
        sealed += sealer._seal(part_of_size(size))
    return sealed + sealer._seal(part_of_size(last, tail=True))


def part_of_size(size: int, *, head: bool = False, tail: bool = False) -> ResponsePart:
    """A part of exactly so many bytes, with a body that fills it."""
    part = ResponsePart(
        head=ResponseHead(status=200) if head else None,
        tail=ResponseTail(body_end=BODY_END_LENGTH) if tail else None,
    )
    for framing in (2, 3, 4) if part.ByteSize() < size else ():
        part.body = bytes(max(0, size - part.ByteSize() - framing))
        if part.ByteSize() == size:
            break
        part.ClearField("body")
    assert part.ByteSize() == size
    return part
