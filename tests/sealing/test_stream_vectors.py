"""The vectors of sealed streams, exchanges and tunnels, each run several ways (spec/vectors/README.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nacl import bindings

from blindrelay.sealing import (
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
    records,
)
from blindrelay.v1.inner_pb2 import RequestPart, ResponsePart
from blindrelay.v1.keys_pb2 import KeyConfig

Vector = dict[str, Any]
FixHeader = Callable[[Vector], None]

ERRORS: dict[str, type[SealingError]] = {
    "open_failure": OpenError,
    "violation": ViolationError,
    "truncated": TruncatedError,
}


def key_of(stream: Vector) -> bytes:
    return bytes.fromhex(stream["key"])


def sealed_of(stream: Vector) -> list[bytes]:
    return [bytes.fromhex(record) for record in stream["records"]]


def opener_of(stream: Vector) -> RequestOpener | ResponseOpener:
    is_request = stream.get("direction", stream["kind"]) == "request"
    return RequestOpener(key_of(stream)) if is_request else ResponseOpener(key_of(stream))


@pytest.fixture
def fix_header(monkeypatch: pytest.MonkeyPatch) -> FixHeader:
    """Makes later streams begin with a vector's header: init_pull makes the same state as init_push."""

    def fix(stream: Vector) -> None:
        header = sealed_of(stream)[0][: records.HEADER_SIZE]

        def begin(state: bindings.crypto_secretstream_xchacha20poly1305_state, key: bytes) -> bytes:
            bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
            return header

        monkeypatch.setattr(records, "init_push", begin)

    return fix


def test_stream(stream_vector: Vector) -> None:
    """The valid prefix opens to its parts, then comes the outcome, which is final."""
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


def test_stream_sealed_again(stream_vector: Vector, fix_header: FixHeader) -> None:
    """Decoding and encoding gives the same bytes, padding included."""
    valid = sealed_of(stream_vector)[: len(stream_vector["parts"])]
    if not valid:
        return
    fix_header(stream_vector)
    key = key_of(stream_vector)
    opener, sealer = records.RecordOpener(key), records.RecordSealer(key)
    for record in valid:
        part, final = opener.open(record)
        zeros = len(record) - sealer.size_of(len(part))
        assert sealer.seal(part, zeros=zeros, final=final) == record


def test_exchange(exchange_vector: Vector, key_of_seed: Callable[..., SealingKey]) -> None:
    """Both ends open the messages that the vector states."""
    vector = exchange_vector
    config = KeyConfig.FromString(bytes.fromhex(vector["config"]))
    key = key_of_seed(vector["kem_seed"], config.not_before, config.not_after)
    envelope, secret = (bytes.fromhex(vector[name]) for name in ("envelope", "encapsulated_secret"))
    request, response = decapsulate(envelope, secret, key).request, ResponseOpener(key_of(vector["response"]))
    sent = opened(request, vector["request"], vector["request_message"])
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


def test_exchange_sealed_again(exchange_vector: Vector, fix_header: FixHeader) -> None:
    """The sealers cut, pad and seal the messages into the same bytes."""
    request, response = exchange_vector["request"], exchange_vector["response"]
    fix_header(request)
    opener, sealer = RequestOpener(key_of(request)), RequestSealer(key_of(request))
    sealed: list[bytes] = []
    for part in map(opener.open, sealed_of(request)):
        if part.HasField("head"):
            sealer.head(part.head)
        sealed += sealer.body(part.body)
    assert sealed + sealer.end() == sealed_of(request)
    fix_header(response)
    check_response_sealed_again(response)


def check_response_sealed_again(stream: Vector) -> None:
    opener, sealer = ResponseOpener(key_of(stream)), ResponseSealer(key_of(stream))
    for record in sealed_of(stream):
        fields: dict[str, Any] = {field.name: value for field, value in opener.open(record).ListFields()}
        assert sealer.seal(**fields) == [record]
    opener.close()


def test_exchange_adds_up_to_a_padded_size(exchange_vector: Vector) -> None:
    for stream in (exchange_vector["request"], exchange_vector["response"]):
        total = sum(map(len, sealed_of(stream)))
        assert total >= 4_096
        exponent = total.bit_length() - 1
        assert total % (1 << (exponent - exponent.bit_length())) == 0


def test_tunnel(tunnel_vector: Vector, fix_header: FixHeader) -> None:
    """The parts are the stated ones, and the sealers make the same records of them."""
    opener = opener_of(tunnel_vector)
    parts = [opener.open(record) for record in sealed_of(tunnel_vector)]
    opener.close()
    assert [part.SerializeToString(deterministic=True).hex() for part in parts] == tunnel_vector["parts"]
    fix_header(tunnel_vector)
    if isinstance(opener, ResponseOpener):
        check_response_sealed_again(tunnel_vector)
        return
    sealer = RequestSealer(key_of(tunnel_vector))
    sealed = sealer.open_tunnel(parts[0].head)  # type: ignore[arg-type]
    for part in parts[1:-1]:
        sealed += sealer.frame(part.frame)
    assert sealed + sealer.end() == sealed_of(tunnel_vector)
