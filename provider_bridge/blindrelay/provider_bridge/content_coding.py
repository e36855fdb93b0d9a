"""A request's body without its content-encoding (RFC 9110, section 8.4).

A body that is to be checked is decoded first. It goes on as it was checked: decoded, and without the header.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from blindrelay.provider_bridge.errors import RequestError, not_allowed
from blindrelay.provider_bridge.request_budget import Share
from blindrelay.v1.limits import MAX_BODY_PIECE

WINDOW_BITS: Final = {b"deflate": zlib.MAX_WBITS, b"gzip": zlib.MAX_WBITS | 16}
"""What is decoded: RFC 1950 and RFC 1952. Brotli and Zstandard are not in Python's library."""

IDENTITY: Final = b"identity"


async def decode_body(body: bytearray, coding: bytes, share: Share, limit: int) -> bytearray:
    """The decoded body. Other tasks run after each 64 KiB.

    Raises RequestError if it is over `limit` bytes, if the budget is used up, or if the stream is damaged,
    cut or followed by anything.
    """
    decoder = zlib.decompressobj(WINDOW_BITS[coding])
    decoded = bytearray()
    position = 0
    try:
        while not decoder.eof:
            encoded = decoder.unconsumed_tail
            if not encoded:
                encoded = bytes(body[position : position + MAX_BODY_PIECE])
                position += len(encoded)
            data = decoder.decompress(encoded, MAX_BODY_PIECE)
            if not (encoded or data):
                raise _damaged(coding)
            share.append(decoded, data, limit, "the request's body, decoded,")
            await asyncio.sleep(0)
    except zlib.error:
        raise _damaged(coding) from None
    if decoder.unused_data or position < len(body):
        raise _damaged(coding)
    return decoded


def _damaged(coding: bytes) -> RequestError:
    return not_allowed(f"the body is not one whole {coding.decode()} stream")
