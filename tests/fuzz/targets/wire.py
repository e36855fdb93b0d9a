"""What travels in clear: envelopes, metadata, outer statuses (spec/protocol.md, sections 6, 7.1 and 12)."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from blindrelay.client.relay_errors import relay_error
from blindrelay.relay_node.statuses import status_for_client
from blindrelay.v1.envelope import (
    METADATA_KEY,
    EnvelopeError,
    encode_envelope,
    envelope_from_metadata,
    parse_envelope,
)
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.limits import MAX_ENVELOPE_SIZE
from blindrelay.v1.outer_status import OuterStatus

from ..alter import altered
from ..tape import Tape, written
from ..target import Target, check
from ..vectors import every, raw, vector

_GOOD = raw(vector("envelope/envelope")["values"][0])
_CODES = tuple(grpc.StatusCode)
_WORDS = tuple(status.details for status in OuterStatus)


def envelope(data: bytes) -> None:
    """Any bytes as an envelope: what is read is written back byte for byte."""
    _parse(data)


def altered_envelope(data: bytes) -> None:
    """A good envelope with fields changed."""
    _parse(altered(Tape(data), Envelope.FromString(_GOOD)))


def _parse(encoded: bytes) -> None:
    parsed = parse_envelope(encoded)
    check(encode_envelope(parsed) == encoded, "an envelope has one encoding")
    check(len(encoded) <= MAX_ENVELOPE_SIZE, "an envelope is at most 512 bytes")
    sizes = len(parsed.exchange_id), len(parsed.identity), len(parsed.key_id)
    check(sizes == (16, 32, 16), "an envelope's fields have their sizes")
    check(parsed.issued_at % 10 == 0 < parsed.issued_at, "issued_at is a multiple of 10")
    leading = str(parsed.max_units).rstrip("0")
    check(leading in ("1", "2", "5") and parsed.max_units < 1 << 63, "max_units is on the ladder")
    check((parsed.version, parsed.service_class) == (1, 0), "one version, one class")


def metadata(data: bytes) -> None:
    """A call's metadata: exactly one envelope, as bytes."""
    tape = Tape(data)
    entries: list[tuple[str, str | bytes]] = []
    for _ in range(tape.byte() % 5):
        key = METADATA_KEY if tape.flag() else tape.chunk().decode("latin-1")
        value = tape.choice((_GOOD, None)) or tape.chunk()
        entries.append((key, value.decode("latin-1") if tape.flag() else value))
    encoded, _ = envelope_from_metadata(entries)
    check([value for key, value in entries if key == METADATA_KEY] == [encoded], "one envelope, exact bytes")


def outer_status(data: bytes) -> None:
    """A peer's status: the closed list, and never its own words."""
    tape = Tape(data)
    code = tape.choice(_CODES)
    details = tape.choice((*_WORDS, None)) or tape.rest().decode("utf-8", "replace")
    status = OuterStatus.of(code, details)
    check(status is None or status.value == (code, details), "a status says exactly its words")
    error = relay_error(code, details)
    check(error.status is status, "the client reads the same list")
    if status is None:
        check(str(error) == str(relay_error(code, None)), "a peer's own words are not repeated")
    forwarded = status_for_client(code, details)
    check((forwarded is None) == (code is grpc.StatusCode.OK), "only OK is no status")
    check(forwarded is not OuterStatus.UNAUTHENTICATED, "the relay's own token is not the client's affair")


def _envelopes() -> Iterator[bytes]:
    for each in every("envelope"):
        yield from (raw(value) for value in each["values"])


TARGETS = (
    Target("envelope", envelope, (EnvelopeError,), _envelopes, max_size=600),
    Target("altered_envelope", altered_envelope, (EnvelopeError,), lambda: [written(0, 0, b"")], 600),
    Target("metadata", metadata, (EnvelopeError,), lambda: [written(1, 1, 0, 0)], 1_024),
    Target("outer_status", outer_status, (), lambda: [written(3, 0)], 128),
)
