"""The demo's table: what each party saw of one exchange."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blindrelay.testbed.envelope_fields import envelope_fields, shortened
from blindrelay.testbed.tap import Direction, Forwarded
from blindrelay.v1.envelope import METADATA_KEY

if TYPE_CHECKING:
    from blindrelay.client import Bill
    from blindrelay.testbed.topology import Testbed

SHOWN_RECORDS: Final = 10
"""Longer exchanges are shown with their middle left out."""


@dataclass
class Sighting:
    """What the client saw: request line, size, when the pieces of the response came (seconds), its bill."""

    method: str = ""
    url: str = ""
    request_bytes: int = 0
    request_headers: int = 0
    piece_times: list[float] = field(default_factory=list)
    bill: Bill | None = None


def heading(text: str) -> str:
    """Bold on a terminal."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\N{ESCAPE}[1m{text}\N{ESCAPE}[0m"


def print_client(sighting: Sighting, connection: str) -> None:
    """The client's part: everything."""
    times = sighting.piece_times
    pieces = f"{len(times)} pieces, from {times[0]:.2f} s to {times[-1]:.2f} s" if times else "no text"
    pin = connection.partition("bridge=")[2].partition("&")[0]
    print_party(
        "client",
        "everything: question, response, and who asks",
        f"{sighting.method} {sighting.url}",
        f"{sighting.request_bytes:,} bytes of body, {sighting.request_headers} headers",
        f"the response in {pieces}",
        f"sealed to {shortened(pin)}, the bridge that is pinned",
    )


def print_relay(forwarded: Sequence[Forwarded]) -> None:
    """The relay's part: what it passed on, as the tap saw it."""
    exchange = max(entry.exchange for entry in forwarded)
    entries = [entry for entry in forwarded if entry.exchange == exchange]
    opening = next(entry for entry in entries if entry.direction is Direction.OPEN)
    messages = [entry for entry in entries if entry.direction is not Direction.OPEN]
    print_party(
        "relay",
        "who asks, when, how much, and this, taken by a tap in its process as it passed:",
        *_envelope(opening.metadata),
        "",
        *_records(messages, opening.at),
        "",
        f"{_sum(messages, Direction.UP)} up, {_sum(messages, Direction.DOWN)} down, all of it sealed",
    )


def print_envoy() -> None:
    """The relay's part where Envoy carries the bytes."""
    print_party(
        "relay",
        "who asks, when, how much, and sealed bytes (by design; nothing taps Envoy):",
        "the control process gave the client a lease, and counted the exchange",
        "Envoy checked the lease, and passed the bytes on",
    )


def print_others(method: str, url: str, bed: Testbed) -> None:
    """What the bridge and the provider see: the content, and not the caller."""
    real = bed.provider_kind == "openai"
    target = f"{url}, with a key of its own" if real else f"{bed.provider} in its place"
    print_party(
        "bridge",
        "question and response, but not who asks (by design; nothing taps it):",
        f"opened {method} {url}",
        f"and called {target}",
        "no address, no access token, no user agent, no header of the SDK's own",
    )
    print_party(
        "provider",
        "question and response, but not who asks (by design):",
        "called by the bridge, as all clients' calls are",
    )


def _envelope(metadata: dict[str, str]) -> list[str]:
    """All the metadata that went on, the envelope field by field."""
    others = sorted(set(metadata) - {METADATA_KEY})
    encoded = bytes.fromhex(metadata[METADATA_KEY])
    return [
        f"envelope     {len(encoded)} bytes, the only metadata" + (f" besides {others}" if others else ""),
        *(f"{name:11}  {value}" for name, value in envelope_fields(encoded).items()),
    ]


def _records(messages: Sequence[Forwarded], start: float) -> list[str]:
    lines = [
        f"{message.at - start:6.3f} s  {_ARROW[message.direction]}  {message.size:7,} bytes  "
        f"{bytes.fromhex(message.first).hex(' ')} …"
        for message in messages
    ]
    if len(lines) > SHOWN_RECORDS:
        left_out = len(lines) - SHOWN_RECORDS + 1
        lines[SHOWN_RECORDS - 2 : -1] = [f"            … {left_out} more …"]
    return lines


_ARROW: Final = {Direction.UP: "to bridge", Direction.DOWN: "to client"}


def _sum(messages: Sequence[Forwarded], direction: Direction) -> str:
    sizes = [message.size for message in messages if message.direction is direction]
    records = "1 record" if len(sizes) == 1 else f"{len(sizes)} records"
    return f"{records} of {sum(sizes):,} bytes"


def print_party(name: str, *lines: str) -> None:
    """One party's part: its name, and lines beside it."""
    first, *others = lines
    print(f"\n  {heading(f'{name:8}')}  {first}")
    for line in others:
        print(f"            {line}".rstrip())
