"""Keys that the core's tests know: one for every direction, or those of a vector."""

from __future__ import annotations

from functools import partial
from typing import Any

from blindrelay.sealing import RequestOpener, RequestSealer, ResponseOpener, ResponseSealer
from blindrelay.sealing.encapsulation import _derive
from blindrelay.sealing.records import DeriveKey, RecordSealer
from blindrelay.v1 import labels

KEY = bytes(range(32))
NONCE = bytes(range(32, 64))

Vector = dict[str, Any]


def known(nonce: bytes = b"") -> bytearray:
    """The key of every direction, whatever its nonce: a new copy, since it is overwritten after use."""
    return bytearray(KEY)


def key_of(direction: str, secret: bytes, envelope_hash: bytes) -> DeriveKey:
    """How a direction's key is derived. `direction` is request or response."""
    label = labels.REQUEST if direction == "request" else labels.RESPONSE
    return partial(_derive, secret, label, envelope_hash)


def derive_key_of(stream: Vector) -> DeriveKey:
    """The same for a vector's secret."""
    secret, envelope_hash = (bytes.fromhex(stream[name]) for name in ("exchange_secret", "envelope_hash"))
    return key_of(stream.get("direction") or stream["kind"], secret, envelope_hash)


def request_sealer() -> RequestSealer:
    return RequestSealer(known)


def response_sealer() -> ResponseSealer:
    return ResponseSealer(known, NONCE)


def request_opener() -> RequestOpener:
    return RequestOpener(known)


def response_opener() -> ResponseOpener:
    return ResponseOpener(known)


def hostile_sealer(opener: RequestOpener | ResponseOpener) -> RecordSealer:
    """Seals any parts for an opener of the known key."""
    return RecordSealer(known, NONCE if isinstance(opener, ResponseOpener) else b"")
