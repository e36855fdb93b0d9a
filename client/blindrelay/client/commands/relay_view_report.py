"""What the relay could see, as `blindrelay chat --show-relay-view` prints it: text or JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from blindrelay.client.relay_view import Passing, RelayView
from blindrelay.trust import format_identity

_SHOWN: Final = 20
"""How many messages are listed; the others are counted."""


def view_json(view: RelayView) -> dict[str, Any]:
    """All of it; times are Unix seconds, identifiers hexadecimal."""
    envelope = view.envelope
    return {
        "envelope": {
            "version": envelope.version,
            "exchange_id": envelope.exchange_id.hex(),
            "identity": format_identity(envelope.identity),
            "key_id": envelope.key_id.hex(),
            "issued_at": envelope.issued_at,
            "max_units": envelope.max_units,
            "service_class": envelope.service_class,
            "size": view.envelope_size,
        },
        "began": view.began,
        "messages": [
            {"seconds": round(each.seconds, 6), "direction": each.direction, "size": each.size}
            for each in view.passings
        ],
        "passed": view.passed,
        "bytes_up": view.total("up"),
        "bytes_down": view.total("down"),
        "seconds": round(view.seconds, 6),
    }


def view_text(view: RelayView) -> Iterator[str]:
    """The same as lines."""
    envelope = view.envelope
    issued = time.strftime("%H:%M:%S", time.localtime(envelope.issued_at))
    yield "What the relay could see: your access token and address, and"
    yield f"  exchange  {envelope.exchange_id.hex()}"
    yield f"  bridge    {format_identity(envelope.identity)}"
    yield f"  key       {envelope.key_id.hex()}"
    yield f"  issued    {issued}, in steps of 10 s; at most {envelope.max_units:,} units"
    yield f"  envelope  {view.envelope_size:,} bytes"
    yield from map(_line, view.passings[:_SHOWN])
    if view.passed > _SHOWN:
        yield f"  …         {view.passed - _SHOWN:,} more"
    up, down = view.total("up"), view.total("down")
    yield f"  total     {up:,} bytes up, {down:,} bytes down, in {view.seconds:.3f} s, all sealed"


def _line(passing: Passing) -> str:
    arrow = "to bridge" if passing.direction == "up" else "to client"
    return f"  {passing.seconds:7.3f} s {arrow} {passing.size:>8,} bytes"
