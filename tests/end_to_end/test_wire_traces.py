"""Bytes on the wire change on purpose only, together with spec/protocol.md and the recorded traces."""

from __future__ import annotations

import asyncio
import json

from .wire_traces import RECORDED, traces


async def test_messages_have_the_recorded_fields_and_sizes() -> None:
    recorded = json.loads(RECORDED.read_text())
    assert await asyncio.to_thread(traces) == recorded
