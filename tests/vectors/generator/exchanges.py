"""Scenarios of whole exchanges: encapsulated secret, request and answer, as the two ends make them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from generator.directions import BROKE_OFF, REQUEST_HEAD, RESPONSE_HEAD, TAIL
from generator.fixed import ALICE, BOB, CONFIG, KEM_KEY, NONCE, Exchange
from generator.primitives import FULL_RECORD, RECORD_ADDS, padded, seal
from generator.scenario import Scenario

from blindrelay.v1.inner_pb2 import Header, RequestEnd, RequestHead, RequestPart, ResponseHead, ResponsePart

PROMPT = b'{"model":"gpt-5","messages":[{"role":"user","content":"What is the capital of France?"}]}'
ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"Paris."}}]}'


def scenarios() -> Iterator[Scenario]:
    small = _exchange(ALICE, [_request(PROMPT)], [ResponsePart(head=RESPONSE_HEAD, body=ANSWER, tail=TAIL)])
    yield Scenario("exchange", "small", "One record each way.", "accept", small)
    nothing = [
        RequestPart(head=RequestHead(**_head("GET", "https://api.openai.com/v1/models")), end=RequestEnd())
    ]
    failed = [ResponsePart(head=RESPONSE_HEAD), ResponsePart(body=b'{"choi'), ResponsePart(error=BROKE_OFF)]
    yield Scenario(
        "exchange", "broken_off", "A request without a body, and an answer that breaks off.", "accept",
        _exchange(BOB, nothing, failed),
    )  # fmt: skip
    pieces = [
        ResponsePart(head=RESPONSE_HEAD),
        *(ResponsePart(body=piece) for piece in _long(6_000, 2_500)),
    ]
    yield Scenario(
        "exchange", "large", "A request of more than one record, and an answer that streams.", "accept",
        _exchange(ALICE, _long_request(66_000), [*pieces, ResponsePart(tail=TAIL)]),
    )  # fmt: skip


def _head(method: str, url: str) -> dict[str, Any]:
    kept = {field.name: value for field, value in REQUEST_HEAD.ListFields()}
    return kept | {"method": method, "url": url, "headers": []}


def _request(body: bytes) -> RequestPart:
    return RequestPart(head=REQUEST_HEAD, body=body, end=RequestEnd())


def _long(size: int, piece: int) -> list[bytes]:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    return [data[start : start + piece] for start in range(0, size, piece)]


def _long_request(size: int) -> list[RequestPart]:
    """All that fits into the first record, the rest in the next: its bytes are those of one full record."""
    (data,) = _long(size, size)
    first = FULL_RECORD["request"] - RECORD_ADDS - (REQUEST_HEAD.ByteSize() + 4) - 4 - 2
    return [
        RequestPart(head=REQUEST_HEAD, body=data[:first]),
        RequestPart(body=data[first:], end=RequestEnd()),
    ]


def _exchange(
    exchange: Exchange, request: Sequence[RequestPart], response: Sequence[ResponsePart]
) -> dict[str, Any]:
    request_key, response_key = exchange.request_key, exchange.response_key(NONCE)
    return {
        "kem_seed": KEM_KEY.seed,
        "config": CONFIG,
        "envelope": exchange.envelope,
        "encapsulated_secret": exchange.encapsulated_secret,
        "request": {"key": request_key, "records": seal(request_key, padded("request", request))},
        "response": {
            "response_nonce": NONCE,
            "key": response_key,
            "records": seal(response_key, padded("response", response, NONCE), NONCE),
        },
        "request_message": _request_message(request),
        "response_message": _response_message(response),
    }


def _request_message(parts: Sequence[RequestPart]) -> dict[str, Any]:
    head = parts[0].head
    return {
        "method": head.method,
        "url": head.url,
        "headers": _headers(head.headers),
        "body": b"".join(part.body for part in parts),
    }


def _response_message(parts: Sequence[ResponsePart]) -> dict[str, Any]:
    head: ResponseHead = parts[0].head
    stated: dict[str, Any] = {
        "status": head.status,
        "headers": _headers(head.headers),
        "body": b"".join(part.body for part in parts),
    }
    if parts[-1].HasField("error"):
        stated["errors"] = [parts[-1].error.message]
    return stated


def _headers(headers: Sequence[Header]) -> list[list[bytes]]:
    return [[header.name, header.value] for header in headers]
