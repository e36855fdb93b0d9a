"""gRPC server options, the same for relay and bridge but for the number of streams."""

from __future__ import annotations

from typing import Final

from blindrelay.v1.grpc_profile import MESSAGE_OPTIONS
from blindrelay.v1.limits import DEADLINE_SECONDS

STREAMS_PER_CLIENT: Final = 100
"""Concurrent calls on one connection of a client; more are refused by HTTP/2 itself (rapid reset)."""

STREAMS_PER_RELAY: Final = 2_000
"""Concurrent calls on one connection of a relay: it carries everybody's, and has admitted them already."""

MAX_CONNECTIONS: Final = 1_024
"""Connections at once; with the streams and the message limit it bounds what half-sent messages hold."""

MAX_METADATA_SIZE: Final = 4_096
"""Bytes of headers: the envelope takes 700 in base64, a token 60. Soft and hard limit are the same one.

gRPC enforces it once the peer has acknowledged its settings; until then handlers.py does, for what is whole.
"""

CLIENT_IDLE_SECONDS: Final = 30
"""Without a call, a client's connection is closed: 1,024 that say nothing keep newcomers out as long."""

RELAY_IDLE_SECONDS: Final = 120
"""Of a relay's connection to a bridge, on which a directory is fetched every minute."""

_MAX_CONNECTION_AGE: Final = 1_800_000
_AGE_GRACE: Final = (DEADLINE_SECONDS[-1] + 120) * 1_000


def server_options(
    streams_per_connection: int, idle_seconds: int = RELAY_IDLE_SECONDS, *, share_port: bool = False
) -> tuple[tuple[str, int], ...]:
    """Options for grpc.aio.server: the limits …_PER_CLIENT and CLIENT_… on a relay, …RELAY… on a bridge.

    `share_port` lets several processes listen on one port; without it, a second one there is an error and
    not a silent half of the traffic.
    """
    return (
        *_SERVER_OPTIONS,
        ("grpc.max_concurrent_streams", streams_per_connection),
        ("grpc.max_connection_idle_ms", idle_seconds * 1_000),
        ("grpc.so_reuseport", int(share_port)),
    )


MAX_PENDING: Final = 4_096
"""Calls that wait for their handler to begin, some 20 KiB each; how many run is for Admission to say."""

_SERVER_OPTIONS: Final = (
    *MESSAGE_OPTIONS,
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    ("grpc.max_metadata_size", MAX_METADATA_SIZE),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_SIZE),
    # A peer that says nothing, or never confirms the limits above, is let go after five seconds.
    ("grpc.http2.settings_timeout", 5_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Our channels ping every 10 s while a call runs, quiet or not; twice as often is still polite.
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    # Proxies cut what is silent for 60 s: two pings come before that. They also find a peer that vanished.
    ("grpc.keepalive_time_ms", 25_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Calls that came in a burst and wait for our event loop. Beyond the first number gRPC cuts some off
    # without a status, beyond the second all; its own, 1,000 and 3,000, are fewer than one relay may send.
    ("grpc.server.max_pending_requests", MAX_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING),
    # Connections are renewed; the grace lets the longest exchange finish on the old one.
    ("grpc.max_connection_age_ms", _MAX_CONNECTION_AGE),
    ("grpc.max_connection_age_grace_ms", _AGE_GRACE),
)
