"""The vectors of sealed streams and whole exchanges, each run several ways (spec/vectors/README.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
Part = RequestPart | ResponsePart
Opener = RequestOpener | ResponseOpener
FixHeader = Callable[[bytes], None]

ERRORS: dict[str, type[SealingError]] = {
    "open_failure": OpenError,
    "violation": ViolationError,
    "truncated": TruncatedError,
}


@pytest.fixture
def fix_header(monkeypatch: pytest.MonkeyPatch) -> FixHeader:
    """Has later streams begin with a header of ours: init_pull makes the very state that init_push does."""

    def fix(header: bytes) -> None:
        def begin(state: bindings.crypto_secretstream_xchacha20poly1305_state, key: bytes) -> bytes:
            bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
            return header

        monkeypatch.setattr(records, "init_push", begin)

    return fix


def test_request(request_vector: Vector) -> None:
    check_stream(RequestOpener, RequestPart, request_vector)


def test_response(response_vector: Vector) -> None:
    check_stream(ResponseOpener, ResponsePart, response_vector)


def check_stream(opener_type: type[Opener], part_type: type[Part], vector: Vector) -> None:
    """The valid prefix opens to its parts and no more; then the outcome, which is final."""
    opener, sealed = opener_type(bytes.fromhex(vector["key"])), sealed_of(vector)
    opened = len(vector["parts"])
    for record, part in zip(sealed, vector["parts"], strict=False):
        assert opener.open(record) == part_type.FromString(bytes.fromhex(part))
    if vector["expect"] == "accept":
        assert (opened, opener.ended, opener.finished) == (len(sealed), True, True)
        opener.close()
        return
    error = ERRORS[vector["expect"]]
    with pytest.raises(SealingError) as caught:
        opener.open(sealed[opened]) if opened < len(sealed) else opener.close()
    assert type(caught.value) is error
    for record in (*sealed, b""):
        with pytest.raises(error, match=str(caught.value)):
            opener.open(record)
    with pytest.raises(error):
        opener.close()


def test_request_cut_anywhere(request_vector: Vector) -> None:
    check_cuts(RequestOpener, request_vector)


def test_response_cut_anywhere(response_vector: Vector) -> None:
    check_cuts(ResponseOpener, response_vector)


def check_cuts(opener_type: type[Opener], vector: Vector) -> None:
    """The end of the stream after any record of the valid prefix is truncation, but for the final one."""
    valid = sealed_of(vector)[: len(vector["parts"])]
    for kept in range(len(valid) + 1):
        opener = opener_type(bytes.fromhex(vector["key"]))
        for record in valid[:kept]:
            opener.open(record)
        if opener.finished:
            assert kept == len(valid)
            opener.close()
            continue
        with pytest.raises(TruncatedError):
            opener.close()


def test_request_sealed_again(request_vector: Vector, fix_header: FixHeader) -> None:
    check_records_sealed_again(request_vector, fix_header)


def test_response_sealed_again(response_vector: Vector, fix_header: FixHeader) -> None:
    check_records_sealed_again(response_vector, fix_header)


def check_records_sealed_again(vector: Vector, fix_header: FixHeader) -> None:
    """Decode then encode gives the same bytes, padding and all."""
    key, sealed = bytes.fromhex(vector["key"]), sealed_of(vector)
    valid = sealed[: len(vector["parts"])]
    if not valid:
        return
    fix_header(valid[0][: records.HEADER_SIZE])
    opener, sealer = records.RecordOpener(key), records.RecordSealer(key)
    for record in valid:
        part, final = opener.open(record)
        zeros = len(record) - sealer.size_of(len(part))
        assert sealer.seal(part, zeros=zeros, final=final) == record


def test_exchange_at_the_bridge(exchange_vector: Vector, key_of_seed: Callable[..., SealingKey]) -> None:
    vector = exchange_vector
    config = KeyConfig.FromString(bytes.fromhex(vector["config"]))
    key = key_of_seed(vector["kem_seed"], config.not_before, config.not_after)
    envelope, secret = (bytes.fromhex(vector[name]) for name in ("envelope", "encapsulated_secret"))
    request = decapsulate(envelope, secret, key).request
    parts = [request.open(record) for record in sealed_of(vector["request"])]
    request.close()
    head, stated = parts[0].head, vector["request_message"]
    assert (head.method, head.url) == (stated["method"], stated["url"])
    assert [[header.name.hex(), header.value.hex()] for header in head.headers] == stated["headers"]
    assert b"".join(part.body for part in parts).hex() == stated["body"]


def test_exchange_at_the_client(exchange_vector: Vector) -> None:
    side, stated = exchange_vector["response"], exchange_vector["response_message"]
    response = ResponseOpener(bytes.fromhex(side["key"]))
    parts = [response.open(record) for record in sealed_of(side)]
    response.close()
    head = parts[0].head
    assert head.status == stated["status"]
    assert [[header.name.hex(), header.value.hex()] for header in head.headers] == stated["headers"]
    assert b"".join(part.body for part in parts).hex() == stated["body"]
    assert [part.error.message for part in parts if part.HasField("error")] == stated.get("errors", [])


def test_exchange_sealed_again(exchange_vector: Vector, fix_header: FixHeader) -> None:
    """The sealers cut, pad and seal the messages into the same bytes."""
    request, response = exchange_vector["request"], exchange_vector["response"]
    fix_header(bytes.fromhex(request["header"]))
    opener, sealer = RequestOpener(key_of(request)), RequestSealer(key_of(request))
    sealed: list[bytes] = []
    for part in map(opener.open, sealed_of(request)):
        if part.HasField("head"):
            sealer.head(part.head)
        sealed += sealer.body(part.body)
    assert sealed + sealer.end() == sealed_of(request)

    fix_header(bytes.fromhex(response["header"]))
    answer, answering = ResponseOpener(key_of(response)), ResponseSealer(key_of(response))
    again = [record for part in map(answer.open, sealed_of(response)) for record in seal(answering, part)]
    assert again == sealed_of(response)


def seal(sealer: ResponseSealer, part: ResponsePart) -> list[bytes]:
    return sealer.seal(
        head=part.head if part.HasField("head") else None,
        body=part.body if part.HasField("body") else None,
        frame=part.frame if part.HasField("frame") else None,
        tail=part.tail if part.HasField("tail") else None,
        error=part.error if part.HasField("error") else None,
    )


def test_exchange_sizes(exchange_vector: Vector) -> None:
    """What a relay sees of an exchange adds up to a padded size each way."""
    for side in (exchange_vector["request"], exchange_vector["response"]):
        total = sum(map(len, sealed_of(side)))
        assert total >= 4_096
        exponent = total.bit_length() - 1
        assert total % (1 << (exponent - exponent.bit_length())) == 0


def test_tunnel_sealed_again(tunnel_vector: Vector, fix_header: FixHeader) -> None:
    """The sealers make the same records of the same parts, each padded by itself."""
    vector = tunnel_vector
    fix_header(bytes.fromhex(vector["header"]))
    is_request = vector["direction"] == "request"
    opener = RequestOpener(key_of(vector)) if is_request else ResponseOpener(key_of(vector))
    parts = [opener.open(record) for record in sealed_of(vector)]
    opener.close()
    assert [part.SerializeToString(deterministic=True).hex() for part in parts] == vector["parts"]
    if is_request:
        sealer = RequestSealer(key_of(vector))
        sealed = sealer.open_tunnel(parts[0].head)  # type: ignore[arg-type]
        for part in parts[1:-1]:
            sealed += sealer.frame(part.frame)
        assert sealed + sealer.end() == sealed_of(vector)
        return
    answering = ResponseSealer(key_of(vector))
    again = [record for part in parts for record in seal(answering, part)]  # type: ignore[arg-type]
    assert again == sealed_of(vector)


def key_of(side: Vector) -> bytes:
    return bytes.fromhex(side["key"])


def sealed_of(side: Vector) -> Sequence[bytes]:
    return [bytes.fromhex(record) for record in side["records"]]
