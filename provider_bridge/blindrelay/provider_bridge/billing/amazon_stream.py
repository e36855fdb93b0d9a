"""Payloads of Amazon's event streams (vnd.amazon.eventstream), which are framed in bytes and not in text.

A frame has its size and that of its headers, four bytes each and big-endian, a checksum, the headers, the
payload, and another checksum. The payload is JSON, or JSON in base64 in a JSON object.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Final

CONTENT_TYPE: Final = b"application/vnd.amazon.eventstream"

_PRELUDE: Final = struct.Struct(">III")
_CHECKSUM: Final = 4

MAX_PAYLOAD: Final = 65_536
"""Bytes of a payload that is read. One with usage has a few hundred, and text comes in small pieces."""


class AmazonPayloads:
    """Finds the payloads in a stream's bytes. It holds one frame at most."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._skipped = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Takes the next bytes. Yields the payloads that end in them, without those over MAX_PAYLOAD.

        Raises ValueError if the bytes are no such stream.
        """
        self._held += data
        while (frame := self._next_frame()) is not None:
            yield _without_base64(frame)

    def _next_frame(self) -> bytes | None:
        """The payload of the next frame that is complete and not too large."""
        while True:
            gone = min(self._skipped, len(self._held))
            del self._held[:gone]
            self._skipped -= gone
            if self._skipped or len(self._held) < _PRELUDE.size:
                return None
            size, headers, _ = _PRELUDE.unpack_from(self._held)
            start, end = _PRELUDE.size + headers, size - _CHECKSUM
            if start > end:
                raise ValueError("a frame is smaller than what it holds")
            if end - start > MAX_PAYLOAD or headers > MAX_PAYLOAD:
                self._skipped = size
                continue
            if len(self._held) < size:
                return None
            self._skipped = size
            return bytes(self._held[start:end])


def _without_base64(payload: bytes) -> bytes:
    """The JSON of a model of its own, which InvokeModel puts into base64; any other payload as it is."""
    if not payload.startswith(b'{"bytes":'):
        return payload
    return base64.b64decode(json.loads(payload)["bytes"], validate=True)
