"""Whose error it is, at the one address with all models of a bridge."""

from __future__ import annotations

import httpx2
import pytest

from blindrelay.client.response_headers import response_headers
from blindrelay.v1.inner_pb2 import Header, ResponseHead

MODELS = "https://models.blindrelay.internal"
MARK = (b"x-blindrelay-error", b"bridge/model_not_found")
SERVED = (b"blindrelay-served-by", b"openai/gpt-5.5")


def passed(url: str, *headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    head = ResponseHead(status=404, headers=[Header(name=name, value=value) for name, value in headers])
    return response_headers(head, httpx2.Request("POST", url))


@pytest.mark.parametrize("host", [MODELS, f"{MODELS}.blindrelay.invalid"])
def test_bridge_marks_its_own_error(host: str) -> None:
    assert passed(f"{host}/v1/chat/completions", MARK) == [MARK]
    assert passed(f"{host}/v1/chat/completions", MARK, SERVED) == [SERVED], "a provider's answer"


def test_nobody_else_does() -> None:
    assert passed("https://api.openai.com/v1/chat/completions", MARK) == []
    assert passed(f"{MODELS}/v1/models", (b"X-BlindRelay-Endpoint", b"1")) == []
