"""The vectors of sealed streams, exchanges and tunnels, each run several ways (spec/vectors/README.md)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from blindrelay.client.errors import ProtocolError
from blindrelay.client.exchange import exchange as client_exchange
from blindrelay.sealing import (
    TUNNEL_STATUS,
    BridgeExchange,
    OpenError,
    RequestOpener,
    RequestSealer,
    ResponseOpener,
    ResponseSealer,
    SealingError,
    SealingKey,
    TruncatedError,
    ViolationError,
    decapsulate,
    encapsulation,
)
from blindrelay.sealing.records import RecordOpener, RecordSealer
from blindrelay.v1.inner_pb2 import (
    RequestHead,
    RequestPart,
    ResponseHead,
    ResponsePart,
)
from blindrelay.v1.keys_pb2 import KeyConfig
from blindrelay.v1.labels import ENCAPSULATION, labelled
from blindrelay.v1.limits import RESPONSE_NONCE_SIZE

from .known_key import Vector, derive_key_of, key_of, request_sealer

MakeKey = Callable[[str, int, int], SealingKey]

ERRORS: dict[str, type[SealingError]] = {
    "open_failure": OpenError,
    "violation": ViolationError,
    "truncated": TruncatedError,
}


def sealed_of(stream: Vector) -> list[bytes]:
    return [bytes.fromhex(record) for record in stream["records"]]


def is_request(stream: Vector) -> bool:
    return bool(stream.get("direction", stream["kind"]) == "request")


def opener_of(stream: Vector) -> RequestOpener | ResponseOpener:
    derive_key = derive_key_of(stream)
    return RequestOpener(derive_key) if is_request(stream) else ResponseOpener(derive_key)


def opens_uninvited_tunnel(stream: Vector) -> bool:
    """Whether the client refuses what its opener accepts: the opener does not know what was asked for."""
    if stream.get("asked") != "exchange" or not stream["records"]:
        return False
    try:
        first = opener_of(stream).open(sealed_of(stream)[0])
    except SealingError:
        return False
    return isinstance(first, ResponsePart) and first.head.status == TUNNEL_STATUS


class ScriptedStream:
    """A stream for the client's exchange: the request goes nowhere, and the response has this head."""

    def __init__(self, answered: ResponseHead) -> None:
        self.request = request_sealer()
        self._answered = answered

    async def write(self, records: list[bytes]) -> bool:
        return True

    async def finish(self, records: list[bytes]) -> None:
        return None

    async def head(self) -> ResponseHead:
        return self._answered


def test_tunnel_is_refused_unless_asked_for(response_vector: Vector) -> None:
    if not opens_uninvited_tunnel(response_vector):
        return
    assert response_vector["expect"] == "violation"
    part = opener_of(response_vector).open(sealed_of(response_vector)[0])
    stream: Any = ScriptedStream(part.head)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError):
        asyncio.run(client_exchange(stream, RequestHead(), b""))


def test_stream(stream_vector: Vector) -> None:
    """The valid prefix opens to its parts, then comes the outcome, which is final."""
    if opens_uninvited_tunnel(stream_vector):
        return
    opener, sealed, parts = opener_of(stream_vector), sealed_of(stream_vector), stream_vector["parts"]
    part_type = RequestPart if isinstance(opener, RequestOpener) else ResponsePart
    for record, part in zip(sealed, parts, strict=False):
        assert opener.open(record) == part_type.FromString(bytes.fromhex(part))
    if stream_vector["expect"] == "accept":
        assert (len(parts), opener.ended, opener.finished) == (len(sealed), True, True)
        opener.close()
        return
    error = ERRORS[stream_vector["expect"]]
    with pytest.raises(SealingError) as caught:
        opener.open(sealed[len(parts)]) if len(parts) < len(sealed) else opener.close()
    assert type(caught.value) is error
    for record in (*sealed, b""):
        with pytest.raises(error, match=str(caught.value)):
            opener.open(record)
    with pytest.raises(error):
        opener.close()


def test_stream_cut_anywhere(stream_vector: Vector) -> None:
    """The end of the stream after any record but the final one is a truncation."""
    valid = sealed_of(stream_vector)[: len(stream_vector["parts"])]
    for kept in range(len(valid) + 1):
        opener = opener_of(stream_vector)
        for record in valid[:kept]:
            opener.open(record)
        if opener.finished:
            assert kept == len(valid)
            opener.close()
        else:
            with pytest.raises(TruncatedError):
                opener.close()


def test_stream_sealed_again(stream_vector: Vector) -> None:
    """Decoding and encoding gives the same bytes, padding included."""
    valid = sealed_of(stream_vector)[: len(stream_vector["parts"])]
    if not valid:
        return
    derive_key = derive_key_of(stream_vector)
    nonce = b"" if is_request(stream_vector) else valid[0][:RESPONSE_NONCE_SIZE]
    opener, sealer = RecordOpener(derive_key, len(nonce)), RecordSealer(derive_key, nonce)
    for record in valid:
        part, final = opener.open(record)
        zeros = len(record) - sealer.size_of(len(part))
        assert sealer.seal(part, zeros=zeros, final=final) == record


@pytest.fixture
def fixed_nonce(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the bridge draw a vector's response nonce."""

    def fix(nonce: str) -> None:
        monkeypatch.setattr(encapsulation, "os", SimpleNamespace(urandom=lambda _: bytes.fromhex(nonce)))

    return fix


def both_ends(vector: Vector, key_of_seed: MakeKey) -> tuple[BridgeExchange, ResponseOpener]:
    """The bridge's end of an exchange, and the client's opener of the response."""
    config = KeyConfig.FromString(bytes.fromhex(vector["config"]))
    key = key_of_seed(vector["kem_seed"], config.not_before, config.not_after)
    envelope, secret = (bytes.fromhex(vector[name]) for name in ("envelope", "encapsulated_secret"))
    exchange_secret = encapsulation._SUITE.decrypt(
        secret, key.private_key, info=labelled(ENCAPSULATION, hashlib.sha256(envelope).digest())
    )
    derive_key = key_of("response", exchange_secret, hashlib.sha256(envelope).digest())
    return decapsulate(envelope, secret, key), ResponseOpener(derive_key)


def test_exchange(exchange_vector: Vector, key_of_seed: MakeKey) -> None:
    """Both ends open the messages that the vector states."""
    vector = exchange_vector
    bridge, response = both_ends(vector, key_of_seed)
    sent = opened(bridge.request, vector["request"], vector["request_message"])
    assert {"method": sent[0].head.method, "url": sent[0].head.url}.items() <= vector[
        "request_message"
    ].items()
    received = opened(response, vector["response"], vector["response_message"])
    assert received[0].head.status == vector["response_message"]["status"]
    errors = [part.error.message for part in received if part.HasField("error")]
    assert errors == vector["response_message"].get("errors", [])


def opened(opener: RequestOpener | ResponseOpener, stream: Vector, stated: Vector) -> list[Any]:
    """The parts of a stream, whose headers and body are the stated ones."""
    parts = [opener.open(record) for record in sealed_of(stream)]
    opener.close()
    headers = [[header.name.hex(), header.value.hex()] for header in parts[0].head.headers]
    assert headers == stated["headers"]
    assert b"".join(part.body for part in parts).hex() == stated["body"]
    return parts


def test_exchange_sealed_again(
    exchange_vector: Vector, key_of_seed: MakeKey, fixed_nonce: Callable[[str], None]
) -> None:
    """The sealers cut, pad and seal the messages into the same bytes."""
    vector = exchange_vector
    fixed_nonce(vector["response"]["response_nonce"])
    bridge, response = both_ends(vector, key_of_seed)
    request_key = bytes.fromhex(vector["request"]["key"])
    sealer = RequestSealer(lambda _: bytearray(request_key))
    sealed: list[bytes] = []
    for part in map(bridge.request.open, sealed_of(vector["request"])):
        if part.HasField("head"):
            sealer.head(part.head)
        sealed += sealer.body(part.body)
    assert sealed + sealer.end() == sealed_of(vector["request"])
    check_response_sealed_again(vector["response"], response, bridge.response)


def check_response_sealed_again(stream: Vector, opener: ResponseOpener, sealer: ResponseSealer) -> None:
    sealed: list[bytes] = []
    for record in sealed_of(stream):
        fields: dict[str, Any] = {field.name: value for field, value in opener.open(record).ListFields()}
        sealed += sealer.seal(**fields) if fields else []
    assert sealed == sealed_of(stream)
    opener.close()


def test_exchange_adds_up_to_a_padded_size(exchange_vector: Vector) -> None:
    for stream in (exchange_vector["request"], exchange_vector["response"]):
        total = sum(map(len, sealed_of(stream)))
        assert total >= 4_096
        exponent = total.bit_length() - 1
        assert total % (1 << (exponent - exponent.bit_length())) == 0


def test_tunnel(tunnel_vector: Vector) -> None:
    """The parts are the stated ones, and the sealers make the same records of them."""
    opener = opener_of(tunnel_vector)
    parts = [opener.open(record) for record in sealed_of(tunnel_vector)]
    opener.close()
    assert [part.SerializeToString(deterministic=True).hex() for part in parts] == tunnel_vector["parts"]
    derive_key, again = derive_key_of(tunnel_vector), opener_of(tunnel_vector)
    if isinstance(again, ResponseOpener):
        nonce = bytes.fromhex(tunnel_vector["response_nonce"])
        check_response_sealed_again(tunnel_vector, again, ResponseSealer(derive_key, nonce))
        return
    sealer = RequestSealer(derive_key)
    sealed = sealer.open_tunnel(parts[0].head)  # type: ignore[arg-type]
    for part in parts[1:-1]:
        sealed += sealer.frame(part.frame)
    assert sealed + sealer.end() == sealed_of(tunnel_vector)
