"""The messages of an exchange around their sealed records (spec/protocol.md, section 7)."""

from __future__ import annotations

from blindrelay.v1.bytes_field import bytes_field, lone_bytes_field
from blindrelay.v1.exchange_pb2 import ExchangeRequest, ExchangeResponse


def request_message(sealed: bytes, encapsulated_secret: bytes = b"") -> bytes:
    """An encoded ExchangeRequest; the secret, of 1,168 bytes, is in the first one alone."""
    secret = bytes_field(ExchangeRequest.ENCAPSULATED_SECRET_FIELD_NUMBER, encapsulated_secret)
    return (secret if encapsulated_secret else b"") + bytes_field(ExchangeRequest.SEALED_FIELD_NUMBER, sealed)


def later_record(message: bytes) -> bytes | memoryview | None:
    """The record in an encoded ExchangeRequest; None if a secret is there too, as in the first message.

    Raises DecodeError.
    """
    sealed = lone_bytes_field(ExchangeRequest.SEALED_FIELD_NUMBER, message)
    if sealed is not None:
        return sealed
    request = ExchangeRequest.FromString(message)
    return None if request.encapsulated_secret else request.sealed


def response_message(sealed: bytes) -> bytes:
    """An encoded ExchangeResponse."""
    return bytes_field(ExchangeResponse.SEALED_FIELD_NUMBER, sealed)
