"""gRPC server options. Relay and bridge differ only in the number of streams and the idle time."""

from __future__ import annotations

from typing import Final

from blindrelay.v1.grpc_profile import MESSAGE_OPTIONS, RUN_AHEAD
from blindrelay.v1.limits import DEADLINE_SECONDS

STREAMS_PER_CLIENT: Final = 100
"""Concurrent calls on one connection of a client. HTTP/2 itself refuses more."""

STREAMS_PER_RELAY: Final = 2_000
"""Concurrent calls on one connection of a relay. It carries the calls of all clients, already admitted."""

MAX_CONNECTIONS: Final = 1_024
"""Connections at once. With the limits on streams and messages it bounds the memory of half-sent messages."""

MAX_METADATA_SIZE: Final = 4_096
"""Bytes of headers: the envelope takes 700 in base64, a token 60. Soft and hard limit are the same.

gRPC enforces it once the peer has acknowledged its settings. Until then handlers.py does.
"""

CLIENT_IDLE_SECONDS: Final = 30
"""A client's connection is closed after this time without a call. 1,024 idle ones would keep others out."""

RELAY_IDLE_SECONDS: Final = 120
"""The same for a relay's connection to a bridge, on which a directory is fetched every minute."""

_MAX_CONNECTION_AGE: Final = 1_800_000
_AGE_GRACE: Final = (DEADLINE_SECONDS[-1] + 120) * 1_000


def server_options(
    streams_per_connection: int, idle_seconds: int = RELAY_IDLE_SECONDS, *, share_port: bool = False
) -> tuple[tuple[str, int], ...]:
    """Options for grpc.aio.server. A relay uses the limits for clients, a bridge those for relays.

    `share_port` lets several processes listen on one port. Without it, a second process there fails to start
    instead of taking half of the traffic.
    """
    return (
        *_SERVER_OPTIONS,
        ("grpc.max_concurrent_streams", streams_per_connection),
        ("grpc.max_connection_idle_ms", idle_seconds * 1_000),
        ("grpc.so_reuseport", int(share_port)),
    )


MAX_PENDING: Final = 4_096
"""Calls that wait for their handler to start, some 20 KiB each. Admission limits how many run."""

_SERVER_OPTIONS: Final = (
    *MESSAGE_OPTIONS,
    RUN_AHEAD,
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    ("grpc.max_metadata_size", MAX_METADATA_SIZE),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_SIZE),
    # A peer that sends nothing, or never confirms the limits above, is disconnected after five seconds.
    ("grpc.http2.settings_timeout", 5_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Our channels ping every 10 s while a call runs. Twice as often is allowed.
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    # Proxies close a connection that is silent for 60 s. Two pings come before that, and find lost peers.
    ("grpc.keepalive_time_ms", 25_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Calls of a burst wait for our event loop. Above the first number gRPC drops some without a status, above
    # the second all. gRPC's defaults, 1,000 and 3,000, are fewer than one relay may send.
    ("grpc.server.max_pending_requests", MAX_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING),
    # Connections are renewed. The grace period lets the longest exchange finish on the old one.
    ("grpc.max_connection_age_ms", _MAX_CONNECTION_AGE),
    ("grpc.max_connection_age_grace_ms", _AGE_GRACE),
)
