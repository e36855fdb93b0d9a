"""The core of this repository as a program that the conformance kit can ask: python reference.py"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, Final

import httpx

from blindrelay.client import BlindRelayError, BridgeError, SealedTransport
from blindrelay.provider_bridge import Provider, presets
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import RequestError, UnclaimedError
from blindrelay.provider_bridge.policy.request_policy import plan_call
from blindrelay.provider_bridge.policy.urls import parse_origin
from blindrelay.sealing import (
    TUNNEL_STATUS,
    KeyConfigError,
    OpenError,
    RequestOpener,
    RequestSealer,
    ResponseOpener,
    ResponseSealer,
    SealingError,
    SuiteError,
    TruncatedError,
    ViolationError,
    decapsulate,
    encapsulate,
)
from blindrelay.sealing.encapsulation import _derive
from blindrelay.sealing.keys import parse_config, public_key_of
from blindrelay.sealing.padding import RECORD_OVERHEAD, final_padding, padme, tunnel_padding
from blindrelay.sealing.records import DeriveKey
from blindrelay.testing.conformance.sealed_request import key_of_seed, sizes_of_request
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
    parse_identity,
    verify_directory,
)
from blindrelay.v1 import labels
from blindrelay.v1.envelope import METADATA_KEY, EnvelopeError, envelope_from_metadata
from blindrelay.v1.inner_pb2 import ErrorCode, Header, RequestHead, RequestPart, ResponsePart
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import SignedKeyDirectory
from blindrelay.v1.limits import RESPONSE_NONCE_SIZE

Fields = dict[str, Any]

WORDS: Final[dict[type[Exception], str]] = {
    IdentityError: "mistyped",
    KeyConfigError: "malformed",
    SuiteError: "unknown_suite",
    EnvelopeError: "refused",
    UnclaimedError: "refused",
    OpenError: "open_failure",
    ViolationError: "violation",
    TruncatedError: "truncated",
    MalformedDirectoryError: "malformed",
    UnknownSuiteError: "unknown_suite",
    ForeignIdentityError: "foreign_identity",
    BadDelegationError: "bad_delegation",
    BadSignatureError: "bad_signature",
    StaleDirectoryError: "stale",
    FutureDirectoryError: "future",
    RolledBackError: "rolled_back",
    ForkedError: "forked",
}
"""The outcomes of spec/vectors/README.md."""


def raw(asked: Fields, *names: str) -> Iterable[bytes]:
    return (bytes.fromhex(asked[name]) for name in names)


def refused(error: Exception) -> Fields:
    return {"outcome": WORDS[type(error)]}


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


def derive_of(asked: Fields) -> DeriveKey:
    label = labels.REQUEST if asked["direction"] == "request" else labels.RESPONSE
    secret, bound = raw(asked, "exchange_secret", "envelope_hash")
    return partial(_derive, secret, label, bound)


def opened(asked: Fields) -> Fields:
    opener: Any = (RequestOpener if asked["direction"] == "request" else ResponseOpener)(derive_of(asked))
    exact, parse = list[bytes](), opener._parse
    opener._parse = lambda encoded: exact.append(encoded) or parse(encoded)
    parts: list[str] = []
    try:
        for sealed in asked["records"]:
            part = opener.open(bytes.fromhex(sealed))
            is_tunnel = isinstance(part, ResponsePart) and part.head.status == TUNNEL_STATUS
            if is_tunnel and asked["asked"] != "tunnel":
                raise ViolationError("a tunnel was opened that nobody asked for")
            parts.append(exact[-1].hex())
        opener.close()
    except SealingError as error:
        return {**refused(error), "parts": parts}
    return {"outcome": "accept", "parts": parts}


def message_of(opener: RequestOpener | ResponseOpener, records: list[str]) -> tuple[Any, Fields]:
    """The head, and the headers, body and errors that both kinds of message have."""
    parts: list[Any] = [opener.open(bytes.fromhex(record)) for record in records]
    opener.close()
    headers = [[header.name.hex(), header.value.hex()] for header in parts[0].head.headers]
    message: Fields = {"headers": headers, "body": b"".join(part.body for part in parts).hex()}
    errors = [
        part.error.message for part in parts if isinstance(part, ResponsePart) and part.HasField("error")
    ]
    return parts[0].head, message | ({"errors": errors} if errors else {})


def exchange(asked: Fields) -> Fields:
    config, sealed, secret, seed = raw(asked, "config", "envelope", "encapsulated_secret", "kem_seed")
    opener = decapsulate(sealed, secret, key_of_seed(seed, config)).request
    exchange_secret = decapsulated(asked)["exchange_secret"]
    bound = hashlib.sha256(sealed).digest()
    sent, request = message_of(opener, asked["request"])
    derive = partial(_derive, bytes.fromhex(exchange_secret), labels.RESPONSE, bound)
    received, response = message_of(ResponseOpener(derive), asked["response"])
    return {
        "request_message": {"method": sent.method, "url": sent.url, **request},
        "response_message": {"status": received.status, **response},
    }


def seal(asked: Fields) -> Fields:
    config, sealed_for = raw(asked, "config", "envelope")
    message = asked["message"]
    client = encapsulate(sealed_for, config)
    headers = [
        Header(name=bytes.fromhex(name), value=bytes.fromhex(value)) for name, value in message["headers"]
    ]
    client.request.head(RequestHead(method=message["method"], url=message["url"], headers=headers))
    records = client.request.body(bytes.fromhex(message["body"])) + client.request.end()
    sealed = {"encapsulated_secret": client.encapsulated_secret.hex()}
    return {**sealed, "records": [record.hex() for record in records]}


def tunnel(asked: Fields) -> Fields:
    records: list[bytes] = []
    if asked["direction"] == "response":
        response = ResponseSealer(derive_of(asked), bytes.fromhex(asked["response_nonce"]))
        for encoded in asked["parts"]:
            part = ResponsePart.FromString(bytes.fromhex(encoded))
            records += response.seal(**{field.name: value for field, value in part.ListFields()})
    else:
        request = RequestSealer(derive_of(asked))
        first, *frames, _ = (RequestPart.FromString(bytes.fromhex(part)) for part in asked["parts"])
        records += request.open_tunnel(first.head)
        for part in frames:
            records += request.frame(part.frame)
        records += request.end()
    return {"records": [record.hex() for record in records]}


@cache
def client_of(connection: str) -> httpx.Client:
    return SealedTransport(connection).httpx_client()


def fetch(asked: Fields) -> Fields:
    client, body = client_of(asked["connection"]), bytes.fromhex(asked["body"])
    try:
        with client.stream(asked["method"], asked["url"], headers=asked["headers"], content=body) as response:
            for piece in response.iter_raw():
                print(json.dumps({"piece": piece.hex()}), flush=True)
                if asked["abort"]:
                    return {"outcome": "aborted"}
        return {"outcome": "complete", "status": response.status_code}
    except (BlindRelayError, httpx.HTTPError) as error:
        sealed = error if isinstance(error, BridgeError) else error.__cause__
        if isinstance(sealed, BridgeError):
            return {"outcome": "error", "code": int(sealed.code), "execution": int(sealed.execution)}
        return {"outcome": "failed"}


QUESTIONS: Final[dict[str, Callable[[Fields], Fields]]] = {
    "identity": identity,
    "key": key,
    "directory": directory,
    "envelope": envelope,
    "decapsulate": decapsulated,
    "claim": claim,
    "head": head,
    "padding": padding,
    "cut": cut,
    "sizes": sizes,
    "open": opened,
    "exchange": exchange,
    "seal": seal,
    "tunnel": tunnel,
    "fetch": fetch,
}


def answer(asked: Fields) -> Fields:
    question = QUESTIONS.get(asked["question"])
    if question is None:
        return {"unsupported": True}
    try:
        return question(asked)
    except tuple(WORDS) as error:
        return refused(error)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
