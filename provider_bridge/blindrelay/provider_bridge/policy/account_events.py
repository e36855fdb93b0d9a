"""Events in a tunnel about the account, which all customers share if the credential is INJECTED."""

from __future__ import annotations

import json
from typing import Final

from blindrelay.sealing import TEXT
from blindrelay.v1.inner_pb2 import Frame

MAX_EVENT: Final = 8_192
"""Bytes. An event about limits has a few hundred; longer messages are content, and are not looked into."""

_LIMITS: Final = "rate_limits"


def is_about_limits(frame: Frame) -> bool:
    """Whether a frame is a whole event about rate limits, such as OpenAI's rate_limits.updated."""
    data = frame.data
    if frame.opcode != TEXT or not frame.fin or len(data) > MAX_EVENT or _LIMITS.encode() not in data:
        return False
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(event, dict) and _LIMITS in str(event.get("type"))
