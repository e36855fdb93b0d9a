"""The vectors of formats and keys, decoded, judged and encoded again (spec/vectors/README.md)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.sealing import KeyConfigError, OpenError, SealingKey, SuiteError, decapsulate, encapsulation
from blindrelay.sealing.keys import parse_config, public_key_of
from blindrelay.sealing.padding import padme
from blindrelay.sealing.records import RecordOpener, RecordSealer
from blindrelay.trust import (
    BadDelegationError,
    BadSignatureError,
    DirectoryError,
    DirectoryHistory,
    ForeignIdentityError,
    ForkedError,
    FutureDirectoryError,
    IdentityError,
    MalformedDirectoryError,
    RolledBackError,
    StaleDirectoryError,
    UnknownSuiteError,
    VerifiedDirectory,
    format_identity,
    parse_identity,
    verify_directory,
)
from blindrelay.v1.envelope import METADATA_KEY, EnvelopeError, encode_envelope, envelope_from_metadata
from blindrelay.v1.inner_pb2 import RequestHead, RequestPart, ResponseHead, ResponseTail
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import Delegation, KeyConfig, KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import RESPONSE_NONCE_SIZE

FORMATS = ("identity", "key", "envelope", "directory", "encapsulation", "padding", "claim")
STREAMS = (
    "request",
    "response",
    "exchange",
    "tunnel",
    "tunnel_cells",
    "sizes",
)  # run by test_stream_vectors.py, test_size_vectors.py
HEADS = ("head",)  # run by tests/provider_bridge/test_policy.py
BILLS = ("bill", "price_table", "watermark", "rounding")  # run by tests/trust/test_bill_vectors.py

Vector = dict[str, Any]
MakeKey = Callable[[str, int, int], SealingKey]

KEY_ERRORS: dict[str, type[Exception]] = {"malformed": KeyConfigError, "unknown_suite": SuiteError}
DIRECTORY_ERRORS: dict[str, type[DirectoryError]] = {
    "malformed": MalformedDirectoryError,
    "unknown_suite": UnknownSuiteError,
    "foreign_identity": ForeignIdentityError,
    "bad_delegation": BadDelegationError,
    "bad_signature": BadSignatureError,
    "stale": StaleDirectoryError,
    "future": FutureDirectoryError,
    "rolled_back": RolledBackError,
    "forked": ForkedError,
}


def test_every_kind_has_a_test(vectors_folder: Path) -> None:
    """Each folder is a kind, whose test takes all files of it. An unknown folder fails here."""
    folders = {path.parent.name for path in vectors_folder.rglob("*.json")}
    assert folders == {*FORMATS, *STREAMS, *HEADS, *BILLS, "cells", "inputs"}
    for file in vectors_folder.glob("*/*.json"):
        if file.parent.name != "inputs":
            vector = json.loads(file.read_text(encoding="utf-8"))
            assert vector["kind"] == file.parent.name, file
            assert vector["comment"], file
            assert vector["expect"], file


KNOWN_FAILURES = """
stream_no_final stream_no_final_full stream_two_final_chunks stream_two_final_chunks_full
stream_trailing_garbage_short stream_trailing_garbage_long stream_last_chunk_empty stream_last_chunk_full
stream_bad_tag stream_bad_tag_second_chunk stream_missing_tag stream_short_chunk stream_short_second_chunk
stream_no_chunks stream_empty_payload mitm_cannot_read_response mitm_cannot_forge_response modified_enc_fails
modified_nonce_fails response_swap_fails replay_calls_upstream_once per_client_config_detected
downgrade_refused
"""
"""Known failures of sealed formats, by the names of age's test kit (C2SP/CCTV), Encrypted HTTP Body Protocol
and Chunked Oblivious HTTP."""


@pytest.mark.parametrize("name", KNOWN_FAILURES.split())
def test_known_failure_has_its_vector(name: str, vectors_folder: Path) -> None:
    assert list(vectors_folder.glob(f"*/{name}.json"))


def test_generator_makes_these_files(vectors_folder: Path) -> None:
    check = [sys.executable, str(Path(__file__).parents[1] / "vectors" / "generate.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_identity(identity_vector: Vector) -> None:
    if identity_vector["expect"] == "accept":
        identity = bytes.fromhex(identity_vector["identity"])
        assert parse_identity(identity_vector["text"]) == identity
        assert format_identity(identity) == identity_vector["text"]
        return
    assert identity_vector["expect"] == "mistyped"
    with pytest.raises(IdentityError):
        parse_identity(identity_vector["text"])


def test_key(key_vector: Vector, key_of_seed: MakeKey) -> None:
    config = bytes.fromhex(key_vector["config"])
    if key_vector["expect"] != "accept":
        with pytest.raises(KEY_ERRORS[key_vector["expect"]]):
            public_key_of(config)
        return
    parsed = parse_config(config)
    public_key_of(config)
    assert parsed.public_key.hex() == key_vector["public_key"]
    assert (parsed.not_before, parsed.not_after) == (
        int(key_vector["not_before"]),
        int(key_vector["not_after"]),
    )
    assert parsed.SerializeToString(deterministic=True) == config
    assert key_id(config).hex() == key_vector["key_id"]
    key = key_of_seed(key_vector["kem_seed"], parsed.not_before, parsed.not_after)
    assert (key.config, key.key_id.hex()) == (config, key_vector["key_id"])


def test_envelope(envelope_vector: Vector) -> None:
    values = [bytes.fromhex(value) for value in envelope_vector["values"]]
    metadata: list[tuple[str, str | bytes]] = [("user-agent", "any")]
    metadata += [(METADATA_KEY, value) for value in values]
    if envelope_vector["expect"] != "accept":
        assert envelope_vector["expect"] == "refused"
        with pytest.raises(EnvelopeError):
            envelope_from_metadata(metadata)
        return
    encoded, envelope = envelope_from_metadata(metadata)
    assert [encoded.hex()] == envelope_vector["values"]
    assert encode_envelope(envelope) == encoded
    for name, value in envelope_vector["envelope"].items():
        field = getattr(envelope, name)
        assert (field.hex() if isinstance(field, bytes) else str(field)) == str(value), name


def test_directory(directory_vector: Vector) -> None:
    history = DirectoryHistory()
    proof: list[str] = []
    accepted: list[VerifiedDirectory] = []
    for step in directory_vector["steps"]:
        if step["expect"] == "accept":
            accepted.append(fetch(history, directory_vector, step))
            continue
        with pytest.raises(DirectoryError) as caught:
            fetch(history, directory_vector, step)
        assert type(caught.value) is DIRECTORY_ERRORS[step["expect"]]
        if isinstance(caught.value, ForkedError):
            proof = [each.hex() for each in caught.value.proof]
    assert directory_vector["steps"][-1]["expect"] == directory_vector["expect"]
    assert proof == directory_vector.get("proof", [])
    if "directory" in directory_vector:
        check_fields(accepted[-1], directory_vector["directory"])


def fetch(history: DirectoryHistory, vector: Vector, step: Vector) -> VerifiedDirectory:
    """What a client does with a directory that it has fetched."""
    signed = SignedKeyDirectory.FromString(bytes.fromhex(step["signed"]))
    directory = verify_directory(signed, bytes.fromhex(vector["identity"]), int(step["now"]))
    history.judge(directory)
    assert directory.signed.hex() == step["signed"]
    return directory


def check_fields(directory: VerifiedDirectory, stated: Vector) -> None:
    assert directory.replica_id.hex() == stated["replica_id"]
    for name in ("sequence", "issued_at", "expires_at"):
        assert str(getattr(directory, name)) == stated[name]
    for key, expected in zip(directory.keys, stated["keys"], strict=True):
        assert (key.key_id.hex(), key.config.hex()) == (expected["key_id"], expected["config"])
        assert (str(key.not_before), str(key.not_after)) == (expected["not_before"], expected["not_after"])


def test_accepted_directory_encodes_to_the_same_bytes(directory_vector: Vector) -> None:
    for step in directory_vector["steps"]:
        if step["expect"] != "accept":
            continue
        signed = SignedKeyDirectory.FromString(bytes.fromhex(step["signed"]))
        directory = KeyDirectory.FromString(signed.directory)
        delegation = Delegation.FromString(signed.delegation)
        assert directory.SerializeToString(deterministic=True) == signed.directory
        assert delegation.SerializeToString(deterministic=True) == signed.delegation
        for config in directory.configs:
            assert KeyConfig.FromString(config).SerializeToString(deterministic=True) == config


def test_encapsulation(
    encapsulation_vector: Vector, key_of_seed: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = encapsulation_vector
    nonce = bytes.fromhex(vector.get("response_nonce", ""))
    monkeypatch.setattr(encapsulation, "os", SimpleNamespace(urandom=lambda _: nonce))
    envelope, secret = (bytes.fromhex(vector[name]) for name in ("envelope", "encapsulated_secret"))
    config = KeyConfig.FromString(bytes.fromhex(vector["config"]))
    key = key_of_seed(vector["kem_seed"], config.not_before, config.not_after)
    assert key.config.hex() == vector["config"]
    if vector["expect"] != "accept":
        assert vector["expect"] == "open_failure"
        with pytest.raises(OpenError) as caught:
            decapsulate(envelope, secret, key)
        assert caught.value.args == OpenError().args
        return
    exchange = decapsulate(envelope, secret, key)
    head = RequestPart(head=RequestHead(method="GET"))
    request_key, response_key = (bytes.fromhex(vector[f"{name}_key"]) for name in ("request", "response"))
    sealed = RecordSealer(lambda _: bytearray(request_key)).seal(head.SerializeToString())
    assert exchange.request.open(sealed) == head
    response = RecordOpener(lambda _: bytearray(response_key), RESPONSE_NONCE_SIZE)
    for record in exchange.response.seal(head=ResponseHead(status=204), tail=ResponseTail()):
        assert record.startswith(bytes.fromhex(vector["response_nonce"]))
        response.open(record)
    assert response.finished


def test_padding(padding_vector: Vector) -> None:
    for case in padding_vector["cases"]:
        assert str(padme(int(case["length"]))) == case["padded"]


def test_claim(claim_vector: Vector) -> None:
    """All attempts meet one memory, at increasing times."""
    now = 0.0
    memory = ClaimMemory(Clock(lambda: 0.0, lambda: now))
    for attempt in claim_vector["attempts"]:
        now = float(attempt["now"])
        exchange_id = bytes.fromhex(attempt["exchange_id"])
        if attempt["expect"] == "accept":
            memory.claim(exchange_id, int(attempt["issued_at"]))
            continue
        assert attempt["expect"] == "refused"
        with pytest.raises(UnclaimedError):
            memory.claim(exchange_id, int(attempt["issued_at"]))
    assert claim_vector["attempts"][-1]["expect"] == claim_vector["expect"]
