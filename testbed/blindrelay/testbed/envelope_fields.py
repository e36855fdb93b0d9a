"""An envelope for people: the fields that the relay reads."""

from __future__ import annotations

from datetime import UTC, datetime

from blindrelay.v1.envelope import parse_envelope


def envelope_fields(encoded: bytes) -> dict[str, str]:
    """Each field by its name, as text. Raises EnvelopeError if the relay would refuse it."""
    envelope = parse_envelope(encoded)
    issued = datetime.fromtimestamp(envelope.issued_at, UTC)
    return {
        "exchange_id": envelope.exchange_id.hex(),
        "identity": shortened(envelope.identity.hex()),
        "key_id": envelope.key_id.hex(),
        "issued_at": f"{issued:%Y-%m-%d %H:%M:%S} UTC, in steps of 10 s",
        "max_units": f"{envelope.max_units:,}, service_class {envelope.service_class}",
    }


def shortened(text: str) -> str:
    """A long name's first 12 and last 8 characters."""
    return f"{text[:12]}…{text[-8:]}"
