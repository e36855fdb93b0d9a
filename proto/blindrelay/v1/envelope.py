"""The envelope's one accepted encoding (spec/protocol.md, section 6).

Relay and bridge must read the same envelope from the same bytes. Otherwise an attacker could make one act on
something that the other never saw. So bytes with more than one reading are refused.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Final

from google.protobuf.message import DecodeError

from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.limits import (
    EXCHANGE_ID_SIZE,
    IDENTITY_SIZE,
    KEY_ID_SIZE,
    MAX_ENVELOPE_SIZE,
    TIME_STEP,
    VERSION,
)

METADATA_KEY: Final = "blindrelay-envelope-bin"

ROUTING_KEY: Final = "blindrelay-key"
"""The key_id once more, as text, for a proxy that routes by a header's value (section 7.1)."""


_UNIT_LIMITS: Final = frozenset(
    limit for power in range(19) for digit in (1, 2, 5) if (limit := digit * 10**power) < 1 << 63
)


class EnvelopeError(ValueError):
    """The envelope is missing, given twice, or not in the one accepted encoding."""


def encode_envelope(envelope: Envelope) -> bytes:
    """The envelope's deterministic encoding, at most 512 bytes. Raises EnvelopeError if it is not valid."""
    encoded = envelope.SerializeToString(deterministic=True)
    _check(envelope, encoded)
    return encoded


def parse_envelope(encoded: bytes) -> Envelope:
    """Reads an envelope from its exact bytes. Raises EnvelopeError unless it is canonical and valid."""
    if len(encoded) > MAX_ENVELOPE_SIZE:
        raise EnvelopeError("the envelope is larger than 512 bytes")
    try:
        envelope = Envelope.FromString(encoded)
    except DecodeError:
        raise EnvelopeError("the envelope is not a protobuf message") from None
    envelope.DiscardUnknownFields()
    # An unknown field, a field given twice, an odd order or a long varint all change the bytes here.
    if envelope.SerializeToString(deterministic=True) != encoded:
        raise EnvelopeError("the envelope is not in its deterministic encoding")
    _check(envelope, encoded)
    return envelope


def envelope_from_metadata(metadata: Iterable[tuple[str, str | bytes]] | None) -> tuple[bytes, Envelope]:
    """The exact bytes and the parsed envelope of a call. Raises EnvelopeError unless there is exactly one."""
    values = [value for key, value in metadata or () if key == METADATA_KEY]
    if len(values) != 1:
        raise EnvelopeError(f"a call must carry exactly one envelope, and this one carries {len(values)}")
    encoded = values[0]
    if not isinstance(encoded, bytes):
        raise EnvelopeError("the envelope is not binary metadata")
    return encoded, parse_envelope(encoded)


def is_unit_limit(units: int) -> bool:
    """Whether a limit is 1, 2 or 5 times a power of ten, and below 2^63."""
    return units in _UNIT_LIMITS


def _check(envelope: Envelope, encoded: bytes) -> None:
    if len(encoded) > MAX_ENVELOPE_SIZE:
        raise EnvelopeError("the envelope is larger than 512 bytes")
    if envelope.version != VERSION:
        raise EnvelopeError("the envelope's version is not 1")
    _check_size("exchange_id", envelope.exchange_id, EXCHANGE_ID_SIZE)
    _check_size("identity", envelope.identity, IDENTITY_SIZE)
    _check_size("key_id", envelope.key_id, KEY_ID_SIZE)
    if envelope.issued_at == 0 or envelope.issued_at % TIME_STEP:
        raise EnvelopeError("the envelope's issued_at is not a multiple of 10 seconds")
    if not is_unit_limit(envelope.max_units):
        raise EnvelopeError("the envelope's max_units is not 1, 2 or 5 times a power of ten")
    if envelope.service_class != 0:
        raise EnvelopeError("the envelope's service_class is not 0")


def _check_size(name: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise EnvelopeError(f"the envelope's {name} is not {size} bytes")


def envelope_metadata(encoded: bytes, key_id: bytes) -> tuple[tuple[str, str | bytes], ...]:
    """What a client shows of an exchange: its envelope, and the key_id for proxies."""
    return (METADATA_KEY, encoded), (ROUTING_KEY, routing_text(key_id))


def routing_text(key_id: bytes) -> str:
    """The value of ROUTING_KEY: base64url (RFC 4648, section 5) without padding, 22 characters."""
    return urlsafe_b64encode(key_id).rstrip(b"=").decode("ascii")
