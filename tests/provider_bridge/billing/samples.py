"""Requests and responses of which a provider reports the usage."""

from __future__ import annotations

import json
from typing import Any

from blindrelay.v1.receipts_pb2 import ROUNDING_EXACT

from ..sealed_caller import request_head

CHAT = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}).encode()
STREAMED = json.dumps({"model": "gpt-5", "stream": True, "messages": []}).encode()
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}
ANSWER = json.dumps({"model": "gpt-5-2026-08-07", "choices": [{}], "usage": USAGE}).encode()
EXACT = request_head(rounding=ROUNDING_EXACT)


def event(**members: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(members).encode()


WORDS = [event(model="gpt-5", choices=[{"delta": {"content": word}}], usage=None) for word in "abcde"]
LAST = event(model="gpt-5", choices=[], usage=USAGE)
DONE = b"data: [DONE]\n\n"
