"""Answers about identities, keys, directories, envelopes, claims, heads and sizes."""

from __future__ import annotations

import hashlib
from functools import partial

from blindrelay.provider_bridge import Provider, presets
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import RequestError, UnclaimedError
from blindrelay.provider_bridge.policy.request_policy import plan_call
from blindrelay.provider_bridge.policy.urls import parse_origin
from blindrelay.sealing import decapsulate
from blindrelay.sealing.encapsulation import _derive
from blindrelay.sealing.keys import parse_config, public_key_of
from blindrelay.sealing.padding import RECORD_OVERHEAD, final_padding, padme, tunnel_padding
from blindrelay.testing.conformance.sealed_request import key_of_seed, sizes_of_request
from blindrelay.trust import DirectoryError, DirectoryHistory, ForkedError, parse_identity, verify_directory
from blindrelay.v1 import labels
from blindrelay.v1.envelope import METADATA_KEY, envelope_from_metadata
from blindrelay.v1.inner_pb2 import ErrorCode, RequestHead
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import SignedKeyDirectory
from blindrelay.v1.limits import RESPONSE_NONCE_SIZE

from .words import WORDS, Fields, raw


def identity(asked: Fields) -> Fields:
    return {"outcome": "accept", "identity": parse_identity(asked["text"]).hex()}


def key(asked: Fields) -> Fields:
    (config,) = raw(asked, "config")
    public_key_of(config)
    parsed = parse_config(config)
    dates = {"not_before": str(parsed.not_before), "not_after": str(parsed.not_after)}
    return {"outcome": "accept", "key_id": key_id(config).hex(), **dates}


def directory(asked: Fields) -> Fields:
    history, outcomes, proof = DirectoryHistory(), list[str](), list[str]()
    for step in asked["steps"]:
        signed = SignedKeyDirectory.FromString(bytes.fromhex(step["signed"]))
        try:
            history.judge(verify_directory(signed, bytes.fromhex(asked["identity"]), int(step["now"])))
        except DirectoryError as error:
            outcomes.append(WORDS[type(error)])
            if isinstance(error, ForkedError):
                proof = [each.hex() for each in error.proof]
        else:
            outcomes.append("accept")
    return {"outcomes": outcomes, "proof": proof}


def envelope(asked: Fields) -> Fields:
    encoded, parsed = envelope_from_metadata(
        (METADATA_KEY, bytes.fromhex(value)) for value in asked["values"]
    )
    fields = {field.name: getattr(parsed, field.name) for field in parsed.DESCRIPTOR.fields}
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    shown |= {name: str(shown[name]) for name in ("issued_at", "max_units")}
    return {"outcome": "accept", "envelope": shown, "envelope_hash": hashlib.sha256(encoded).hexdigest()}


def decapsulated(asked: Fields) -> Fields:
    config, sealed, secret, seed = raw(asked, "config", "envelope", "encapsulated_secret", "kem_seed")
    exchange = decapsulate(sealed, secret, key_of_seed(seed, config))
    # The core keeps its secrets to itself.
    derive = exchange.request._records._derive_key
    assert isinstance(derive, partial)
    exchange_secret, _, bound = derive.args
    nonce = bytes.fromhex(asked.get("response_nonce", ""))
    return {
        "outcome": "accept",
        "envelope_hash": bound.hex(),
        "info": labels.labelled(labels.ENCAPSULATION, bound).hex(),
        "exchange_secret": exchange_secret.hex(),
        "request_key": derive(b"").hex(),
        "response_key": _derive(exchange_secret, labels.RESPONSE, bound, nonce).hex(),
    }


def claim(asked: Fields) -> Fields:
    now, outcomes = 0.0, list[str]()
    memory = ClaimMemory(Clock(lambda: 0.0, lambda: now))
    for attempt in asked["attempts"]:
        now = float(attempt["now"])
        try:
            memory.claim(bytes.fromhex(attempt["exchange_id"]), int(attempt["issued_at"]))
        except UnclaimedError:
            outcomes.append("refused")
        else:
            outcomes.append("accept")
    return {"outcomes": outcomes}


def head(asked: Fields) -> Fields:
    known = presets()["openai"]
    assert known.origin is not None
    provider = Provider(
        "openai", known.origin, parse_origin("http://127.0.0.1:1"), None, known.injected, known.brought
    )
    try:
        plan_call(RequestHead.FromString(bytes.fromhex(asked["head"])), [provider])
    except RequestError as error:
        return {"outcome": ErrorCode.Name(error.code).removeprefix("ERROR_CODE_").lower()}
    return {"outcome": "accept"}


def padding(asked: Fields) -> Fields:
    return {"padded": [str(padme(int(length))) for length in asked["lengths"]]}


def cut(asked: Fields) -> Fields:
    head = RequestHead()
    while head.ByteSize() < asked["head"]:
        head.url += "x" * max(1, asked["head"] - head.ByteSize() - 4)
    return {"records": sizes_of_request(head, bytes(asked["body"]))}


def sizes(asked: Fields) -> Fields:
    before = RESPONSE_NONCE_SIZE if asked["direction"] == "response" and not int(asked["sent"]) else 0
    *early, last = (RECORD_OVERHEAD + part for part in asked["parts"])
    if asked["tunnel"]:
        records = [size + tunnel_padding(size - RECORD_OVERHEAD) for size in (*early, last)]
    else:
        full = 65_616 if asked["direction"] == "request" else 69_581
        first, *more = final_padding(int(asked["sent"]) + before + sum(early), last, full)
        records = [*early, last + first, *(RECORD_OVERHEAD + zeros for zeros in more)]
    return {"records": [before + records[0], *records[1:]]}
