"""Answers about records, whole exchanges and tunnels."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any
from unittest.mock import patch

from blindrelay.sealing import (
    TUNNEL_STATUS,
    RequestOpener,
    RequestSealer,
    ResponseOpener,
    ResponseSealer,
    SealingError,
    ViolationError,
    decapsulate,
    encapsulate,
)
from blindrelay.sealing.encapsulation import _derive
from blindrelay.sealing.messages import MessageOpener
from blindrelay.sealing.records import DeriveKey
from blindrelay.testing.conformance.sealed_request import key_of_seed
from blindrelay.v1 import labels
from blindrelay.v1.inner_pb2 import Header, RequestHead, RequestPart, ResponsePart

from .formats import decapsulated
from .words import Fields, raw, refused


def derive_of(asked: Fields) -> DeriveKey:
    label = labels.REQUEST if asked["direction"] == "request" else labels.RESPONSE
    secret, bound = raw(asked, "exchange_secret", "envelope_hash")
    return partial(_derive, secret, label, bound)


def opened(asked: Fields) -> Fields:
    opener: Any = (RequestOpener if asked["direction"] == "request" else ResponseOpener)(derive_of(asked))
    exact, parse = list[bytes](), opener._parsed

    def keep(encoded: bytes) -> Any:
        exact.append(encoded)
        return parse(encoded)

    opener._parsed = keep
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


def cells(asked: Fields) -> Fields:
    return tunnel_cells({**asked, "direction": "response"})


def tunnel_cells(asked: Fields) -> Fields:
    opener: Any = (RequestOpener if asked["direction"] == "request" else ResponseOpener)(derive_of(asked))
    exact, of_record, take = list[str](), list[str](), MessageOpener._taken

    def keep(self: Any, part: Any) -> Any:
        of_record.append(take(self, part).SerializeToString().hex())
        return part

    with patch.object(MessageOpener, "_taken", keep):
        try:
            for sealed in asked["records"]:
                of_record.clear()
                opener.parts(bytes.fromhex(sealed))
                exact += of_record
            opener.close()
        except SealingError as error:
            return {**refused(error), "parts": exact}
    return {"outcome": "accept", "parts": exact}


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
        for framed in frames:
            records += request.frame(framed.frame)
        records += request.end()
    return {"records": [record.hex() for record in records]}
