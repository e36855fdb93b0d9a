"""How a response is shaped, by the request's head and body (spec/protocol.md, section 9.6)."""

from __future__ import annotations

import re
from typing import Final

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.sealing import BALANCED, STRICT, CellShape
from blindrelay.v1.http_headers import Header
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_UNSUPPORTED,
    SHAPING_PROFILE_BALANCED,
    SHAPING_PROFILE_OFF,
    SHAPING_PROFILE_STRICT,
    SHAPING_PROFILE_UNSPECIFIED,
    RequestHead,
)

_SHAPES: Final = {
    SHAPING_PROFILE_UNSPECIFIED: None,
    SHAPING_PROFILE_OFF: None,
    SHAPING_PROFILE_BALANCED: BALANCED,
    SHAPING_PROFILE_STRICT: STRICT,
}

_STREAM: Final = re.compile(rb'"stream"\s*:\s*true')
_LOOKED_AT: Final = 4_096
"""Bytes at each end of a body in which the switch is looked for. SDKs write it first or last."""


def shape_of(head: RequestHead) -> CellShape | None:
    """The shape that the client asks for, or None. Raises RequestError for one that this version lacks."""
    shaping = head.shaping
    if shaping.profile not in _SHAPES or shaping.tick_class or shaping.cell_class:
        raise RequestError(ERROR_CODE_UNSUPPORTED, "the request's shaping is not one of this version")
    return _SHAPES[shaping.profile]


def expects_events(target: bytes, headers: list[Header], body: bytearray) -> bool:
    """Whether a request asks for an event stream, by its URL, its headers or its body.

    It is a guess, because it must be made before the response. A wrong one costs time, never content.
    """
    if b"stream" in target.lower():
        return True
    if any(name == b"accept" and b"text/event-stream" in value for name, value in headers):
        return True
    return any(_STREAM.search(end) for end in (body[:_LOOKED_AT], body[-_LOOKED_AT:]))
