"""The messages' fields, sizes and encoding. The envelope's vectors (spec/vectors/envelope) have its rules."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from blindrelay.v1 import (
    accounts_pb2,
    envelope_pb2,
    exchange_pb2,
    inner_pb2,
    keys_pb2,
    receipts_pb2,
    settlement_pb2,
)
from blindrelay.v1.bytes_field import bytes_field, lone_bytes_field
from blindrelay.v1.envelope import (
    METADATA_KEY,
    EnvelopeError,
    encode_envelope,
    envelope_from_metadata,
    is_unit_limit,
    parse_envelope,
)
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_messages import later_record, request_message, response_message
from blindrelay.v1.exchange_pb2 import ExchangeRequest, ExchangeResponse
from blindrelay.v1.grpc_profile import EXCHANGE_METHOD, KEY_DIRECTORY_METHOD
from blindrelay.v1.inner_pb2 import RequestPart
from blindrelay.v1.keys import key_id
from blindrelay.v1.limits import (
    DEADLINE_SECONDS,
    DEFAULT_MAX_UNITS,
    ENCAPSULATED_SECRET_SIZE,
    MAX_BODY_PIECE,
    MAX_ENVELOPE_SIZE,
    MAX_MESSAGE_SIZE,
    MAX_SEALED_SIZE,
)

VALUES: dict[str, Any] = {
    "version": 1,
    "exchange_id": bytes(range(16)),
    "identity": bytes(range(32)),
    "key_id": bytes(range(16, 32)),
    "issued_at": 1_800_000_000,
    "max_units": DEFAULT_MAX_UNITS,
}
GOOD = encode_envelope(Envelope(**VALUES))


@pytest.mark.parametrize("wrong", [{"version": 2}, {"service_class": 1}, {"identity": bytes(1_000)}])
def test_wrong_envelope_is_not_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError):
        encode_envelope(Envelope(**VALUES | wrong))


def test_large_envelope_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(EnvelopeError, match="larger than 512 bytes"):
        parse_envelope(b"\xff" * (MAX_ENVELOPE_SIZE + 1))
    with pytest.raises(EnvelopeError, match="not a protobuf message"):
        parse_envelope(b"\xff" * MAX_ENVELOPE_SIZE)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "exactly one envelope, and this one carries 0"),
        ([("x-bin", GOOD)], "exactly one envelope, and this one carries 0"),
        ([(METADATA_KEY, GOOD), (METADATA_KEY, b"")], "exactly one envelope, and this one carries 2"),
        ([(METADATA_KEY, GOOD.decode("latin-1"))], "not binary"),
    ],
)
def test_call_carries_exactly_one_envelope(metadata: Any, words: str) -> None:
    carried: Any = [("a", "b"), (METADATA_KEY, GOOD), ("c-bin", b"d")]
    assert envelope_from_metadata(carried) == (GOOD, Envelope(**VALUES))
    with pytest.raises(EnvelopeError, match=words):
        envelope_from_metadata(metadata)


def test_unit_limits_are_steps_of_a_ladder() -> None:
    ladder = [step * 10**power for power in range(18) for step in (1, 2, 5)]
    assert all(is_unit_limit(units) for units in (*ladder, 5 * 10**18))
    others = set(range(1_000)) | {step + offset for step in ladder for offset in (-1, 1)} | {10**19, 2**63}
    assert not any(is_unit_limit(units) for units in others - set(ladder))


WIRE = """
Envelope: version exchange_id identity key_id issued_at max_units service_class
ExchangeRequest: encapsulated_secret sealed
ExchangeResponse: sealed
GetKeyDirectoryRequest:
GetKeyDirectoryResponse: directories lease lease_seconds
Delegation: identity signing_key not_before not_after next_identity_hash
KeyConfig: suite public_key not_before not_after
KeyDirectory: identity replica_id sequence issued_at expires_at next_identity_hash configs started_at price_table_hash
SignedKeyDirectory: directory signature delegation delegation_signature
Header: name value
Shaping: profile tick_class cell_class
RequestHead: kind method url headers credential deadline_class shaping retry_token on_disconnect price_table_hash rounding
RequestEnd:
Frame: opcode fin data
RequestPart: head body frame cell - - - end
ResponseHead: status headers
Receipt: version identity envelope_hash units basis price_table_hash replica_id ended_at statement_hash
SignedReceipt: receipt signature
Count: measure amount
Statement: salt provider model counts reported_by cost row rounding
Rate: measure rate
PriceRow: provider model rates
PriceTable: version identity valid_from valid_to unit rows charge_unanswered
SignedPriceTable: table signature delegation delegation_signature
Watermark: version identity replica_id started_at closed_before key_ids open count units ended
SignedWatermark: watermark signature
SettleRequest: sequence
SettleSigner: delegation delegation_signature
SettleResponse: sequence signer receipt watermark price_table more_receipts
GetPriceTableRequest: price_table_hash
GetPriceTableResponse: price_table
GetStatementRequest: month
GetStatementResponse: balance charged lines
StatementLine: envelope_hash at state units token receipt delegation delegation_signature
ResponseTail: body_end receipt statement usage_removed
ExchangeError: code message execution receipt statement
ResponsePart: head body frame cell - - - tail error
"""  # noqa: E501
"""Every message, with its fields in the order of their numbers, which begin with 1. A dash keeps room."""

FILES: Any = (
    accounts_pb2,
    envelope_pb2,
    exchange_pb2,
    inner_pb2,
    keys_pb2,
    receipts_pb2,
    settlement_pb2,
)


def test_every_field_has_its_number() -> None:
    """A change here is a change of the wire."""
    listed = dict(line.split(":") for line in WIRE.split("\n")[1:-1])
    real = {
        name: [(field.number, field.name) for field in message.fields]
        for file in FILES
        for name, message in file.DESCRIPTOR.message_types_by_name.items()
    }
    numbered = {name: list(enumerate(fields.split(), start=1)) for name, fields in listed.items()}
    assert real == {name: [each for each in fields if each[1] != "-"] for name, fields in numbered.items()}


def test_the_service_has_its_two_methods() -> None:
    (service,) = exchange_pb2.DESCRIPTOR.services_by_name.values()
    methods = {
        f"/{service.full_name}/{method.name}": (method.client_streaming, method.server_streaming)
        for method in service.methods
    }
    assert methods == {EXCHANGE_METHOD: (True, True), KEY_DIRECTORY_METHOD: (False, False)}


def test_empty_body_piece_is_not_padding() -> None:
    assert inner_pb2.RequestPart(body=b"").HasField("body")
    assert inner_pb2.ResponsePart(body=b"").HasField("body")
    assert not inner_pb2.ResponsePart().HasField("body")


def test_full_message_is_within_grpcs_limit_and_each_deadline_class_has_its_seconds() -> None:
    named = [number for number in inner_pb2.DeadlineClass.values() if number]
    assert dict(zip(named, DEADLINE_SECONDS, strict=True)) == {1: 60, 2: 600, 3: 3_600, 4: 21_600}
    message = exchange_pb2.ExchangeRequest(
        encapsulated_secret=bytes(ENCAPSULATED_SECRET_SIZE), sealed=bytes(MAX_SEALED_SIZE)
    )
    assert MAX_BODY_PIECE < MAX_SEALED_SIZE < message.ByteSize() < MAX_MESSAGE_SIZE


def test_key_id_is_a_labelled_hash_of_the_exact_bytes() -> None:
    for config in (b"", b"config", bytes(1_300)):
        assert key_id(config) == hashlib.sha256(b"blindrelay/v1 key config\x00" + config).digest()[:16]


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 65_536, 69_632, 2_097_152])
def test_messages_equal_protobufs(size: int) -> None:
    sealed, secret = os.urandom(size), os.urandom(1_168)
    assert response_message(sealed) == ExchangeResponse(sealed=sealed).SerializeToString()
    assert request_message(sealed) == ExchangeRequest(sealed=sealed).SerializeToString()
    first = ExchangeRequest(encapsulated_secret=secret, sealed=sealed)
    assert request_message(sealed, secret) == first.SerializeToString()
    for body in (b"", sealed):
        part = RequestPart(body=body).SerializeToString()
        assert bytes_field(RequestPart.BODY_FIELD_NUMBER, body) == part
    assert bytes_field(16, b"x") == b"\x82\x01\x01x", "a number over fifteen takes two bytes"


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 65_536, 2_097_152])
def test_lone_field_is_found_where_it_is(size: int) -> None:
    value = os.urandom(size)
    message = bytes_field(2, value)
    for each in (message, memoryview(message)):
        assert bytes(lone_bytes_field(2, each) or b"") == value
    for other in (message + b"\x42\x00", message[:-1], b"\x0a\x00" + message, b""):
        assert lone_bytes_field(2, other) is None
    assert lone_bytes_field(1, message) is None


@given(st.binary() | st.binary().map(lambda rest: b"\x12" + rest) | st.binary().map(partial(bytes_field, 2)))
@example(b"\x0a\x01s\x12\x01r")
@example(b"\x12\x81\x00x")
@example(b"\x12\x81\x80\x80\x80\x80\x00x")
@example(b"\x12\x01a\x12\x01b")
def test_record_in_any_message_is_protobufs(message: bytes) -> None:
    try:
        request = ExchangeRequest.FromString(message)
    except DecodeError:
        with pytest.raises(DecodeError):
            later_record(message)
    else:
        assert later_record(message) == (None if request.encapsulated_secret else request.sealed)
