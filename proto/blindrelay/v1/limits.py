"""Sizes and times that are part of the protocol (spec/protocol.md, section 13)."""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""The only protocol version of this package."""

SUITE: Final = 1
"""X-Wing, HKDF-SHA256, AES-256-GCM; STREAM records; Ed25519 signatures (section 3)."""

IDENTITY_SIZE: Final = 32
KEY_ID_SIZE: Final = 16
EXCHANGE_ID_SIZE: Final = 16
REPLICA_ID_SIZE: Final = 16
HASH_SIZE: Final = 32

MAX_ENVELOPE_SIZE: Final = 512
"""Bytes. A full envelope takes about 110. The rest is for a later version."""

TIME_STEP: Final = 10
"""Seconds. An exact issued_at would tell clients apart by their clocks."""

REPLAY_WINDOW: Final = 300
"""Seconds, W: how far an envelope's issued_at may be from the bridge's clock."""

CLOCK_TOLERANCE: Final = 300
"""Seconds, D: how far a directory's dates may be from a client's clock. Kerberos tolerates the same skew."""

DEFAULT_MAX_UNITS: Final = 1_000_000
"""One value for all clients, so that it does not tell them apart."""

MAX_DIRECTORIES: Final = 64
MAX_CONFIGS: Final = 8
MAX_DIRECTORIES_SIZE: Final = 65_536
"""Bytes: a GetKeyDirectoryResponse. It holds about 40 directories of one config, or 20 of two."""

MAX_PRICE_TABLE_SIZE: Final = 98_304
"""Bytes of a PriceTable: with its signatures it fits into one message. A row takes about 60."""

MAX_WATERMARK_KEYS: Final = 64
"""Keys that a watermark names: a key is drawn every half epoch, and is named for a while after it."""

MILLIONTHS: Final = 1_000_000
"""Millionths in a unit. Rates and costs are counted in them, so that money needs no fractions."""

MAX_LEASE_SIZE: Final = 2_048
"""Characters of a lease. With the envelope it has to fit a call's metadata of 4,096 bytes."""

LEASE_ROOM: Final = MAX_LEASE_SIZE + 16
"""Bytes that a relay which gives leases leaves free among those of MAX_DIRECTORIES_SIZE."""

ENCAPSULATED_SECRET_SIZE: Final = 1_168
"""Bytes: X-Wing's enc (1,120), the 32 sealed bytes, the tag (16)."""

RESPONSE_NONCE_SIZE: Final = 32
"""Bytes that a bridge draws for each response, before its first record (RFC 9458, section 4.4)."""

MAX_DIRECTION_RECORDS: Final = 2**32
MAX_DIRECTION_SIZE: Final = 2**38
"""Records, and their bytes, under one key (section 9.5): an attacker's advantage stays below 2**-60.

The longest exchange, six hours, would have to carry 12 MB a second.
"""

MAX_BODY_PIECE: Final = 65_536
"""Bytes of HTTP body in one record."""

MAX_FRAME_DATA: Final = 65_536
"""Bytes of one WebSocket frame in a tunnel. A longer frame is sent as several."""

MAX_HEAD_SIZE: Final = 32_768
"""Bytes of an encoded head: method, URL and headers. Common servers stop between 8 and 64 KiB."""

MAX_ERROR_MESSAGE: Final = 1_024
"""Bytes of an error's sentence: room for a cause and a remedy."""

MAX_SEALED_SIZE: Final = 65_536 + 4_096
"""Bytes of one sealed record: a full body piece, with room for the head's framing."""

MAX_MESSAGE_SIZE: Final = 131_072
"""Bytes: gRPC's limit for one message, on every hop."""

FIRST_MESSAGE_SECONDS: Final = 10.0
"""Seconds for the one small message of a unary call. gRPC itself would keep a silent call for ever."""

LEAST_BYTES_PER_SECOND: Final = 1_024
"""The average that a request must reach: a tenth of a bad mobile connection (section 7.1)."""

RECORD_SECONDS: Final = 75.0
"""Seconds for each record of a request, even the first. 69,632 bytes take 68 seconds at the least rate."""

DEADLINE_SECONDS: Final = (60, 600, 3_600, 21_600)
"""The deadline classes, in the order of DeadlineClass. Deadlines in gRPC's metadata are rounded to these."""

_DEFAULT_DEADLINE_CLASS: Final = 3
"""An hour, if the class is unspecified (section 10.2)."""


def deadline_seconds(deadline_class: int) -> int:
    """The seconds of a DeadlineClass, 0 (unspecified) to 4. Raises ValueError for any other number."""
    if not 0 <= deadline_class <= len(DEADLINE_SECONDS):
        raise ValueError(f"unknown deadline class {deadline_class}")
    return DEADLINE_SECONDS[(deadline_class or _DEFAULT_DEADLINE_CLASS) - 1]
