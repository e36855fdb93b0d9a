"""The generated messages have the fields and sizes of the specification."""

from __future__ import annotations

import hashlib

import pytest
from google.protobuf.message import Message

from blindrelay.v1 import envelope_pb2, exchange_pb2, inner_pb2, keys_pb2
from blindrelay.v1.grpc_profile import EXCHANGE_METHOD, KEY_DIRECTORY_METHOD
from blindrelay.v1.keys import key_id
from blindrelay.v1.limits import (
    DEADLINE_SECONDS,
    ENCAPSULATED_SECRET_SIZE,
    MAX_BODY_PIECE,
    MAX_MESSAGE_SIZE,
    MAX_SEALED_SIZE,
)

# Room kept for what comes before an end.
ROOM: tuple[str, ...] = ("",) * 4

# Number and name of every field: a change here is a change of the wire.
FIELDS: dict[type[Message], list[str]] = {
    envelope_pb2.Envelope: [
        "version", "exchange_id", "identity", "key_id", "issued_at", "max_units", "service_class",
    ],
    exchange_pb2.ExchangeRequest: ["encapsulated_secret", "sealed"],
    exchange_pb2.ExchangeResponse: ["sealed"],
    exchange_pb2.GetKeyDirectoryRequest: [],
    exchange_pb2.GetKeyDirectoryResponse: ["directories"],
    keys_pb2.Delegation: ["identity", "signing_key", "not_before", "not_after", "next_identity_hash"],
    keys_pb2.KeyConfig: ["suite", "public_key", "not_before", "not_after"],
    keys_pb2.KeyDirectory: [
        "identity", "replica_id", "sequence", "issued_at", "expires_at", "next_identity_hash", "configs",
        "started_at", "price_table_hash",
    ],
    keys_pb2.SignedKeyDirectory: ["directory", "signature", "delegation", "delegation_signature"],
    inner_pb2.Header: ["name", "value"],
    inner_pb2.Shaping: ["profile", "tick_class", "cell_class"],
    inner_pb2.RequestHead: [
        "kind", "method", "url", "headers", "credential", "deadline_class", "shaping", "retry_token",
        "on_disconnect", "price_table_hash", "rounding",
    ],
    inner_pb2.RequestEnd: [],
    inner_pb2.Frame: ["opcode", "fin", "data"],
    inner_pb2.RequestPart: ["head", "body", "frame", *ROOM, "end"],
    inner_pb2.ResponseHead: ["status", "headers"],
    inner_pb2.Receipt: [
        "version", "identity", "envelope_hash", "units", "basis", "price_table_hash", "replica_id",
        "ended_at", "statement_hash",
    ],
    inner_pb2.SignedReceipt: ["receipt", "signature"],
    inner_pb2.ResponseTail: ["body_end", "receipt", "statement"],
    inner_pb2.ExchangeError: ["code", "message", "execution", "receipt", "statement"],
    inner_pb2.ResponsePart: ["head", "body", "frame", "cell", *ROOM[1:], "tail", "error"],
}  # fmt: skip


@pytest.mark.parametrize("message", FIELDS, ids=lambda message: message.DESCRIPTOR.name)
def test_every_field_has_its_number(message: type[Message]) -> None:
    numbered = [(field.number, field.name) for field in message.DESCRIPTOR.fields]
    kept = enumerate(FIELDS[message], start=1)
    assert numbered == [(number, name) for number, name in kept if name]


def test_every_message_is_listed_here() -> None:
    files = (envelope_pb2, exchange_pb2, inner_pb2, keys_pb2)
    names = {name for file in files for name in file.DESCRIPTOR.message_types_by_name}
    assert names == {message.DESCRIPTOR.name for message in FIELDS}


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


def test_full_message_is_within_grpcs_limit() -> None:
    message = exchange_pb2.ExchangeRequest(
        encapsulated_secret=bytes(ENCAPSULATED_SECRET_SIZE), sealed=bytes(MAX_SEALED_SIZE)
    )
    assert MAX_BODY_PIECE < MAX_SEALED_SIZE < message.ByteSize() < MAX_MESSAGE_SIZE


def test_each_deadline_class_has_its_seconds() -> None:
    named = [number for number in inner_pb2.DeadlineClass.values() if number]
    assert named == list(range(1, len(DEADLINE_SECONDS) + 1))
    assert DEADLINE_SECONDS == (60, 600, 3_600, 21_600)


def test_key_id_is_a_labelled_hash_of_the_exact_bytes() -> None:
    for config in (b"", b"config", bytes(1_300)):
        assert key_id(config) == hashlib.sha256(b"blindrelay/v1 key config\x00" + config).digest()[:16]
