"""How gRPC is used on every hop: method paths and channel options (spec/protocol.md, section 7.1)."""

from __future__ import annotations

from typing import Final

from blindrelay.v1.limits import DEADLINE_SECONDS, MAX_MESSAGE_SIZE, deadline_seconds

SERVICE: Final = "blindrelay.v1.ExchangeService"
EXCHANGE: Final = "Exchange"
KEY_DIRECTORY: Final = "GetKeyDirectory"
EXCHANGE_METHOD: Final = f"/{SERVICE}/{EXCHANGE}"
KEY_DIRECTORY_METHOD: Final = f"/{SERVICE}/{KEY_DIRECTORY}"

MESSAGE_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_SIZE),
    ("grpc.max_send_message_length", MAX_MESSAGE_SIZE),
    # Only the identity encoding: compressing what an attacker partly chose would leak the rest.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # Otherwise 50 readers that stall cost a relay 245 MiB; with fixed windows 20 MiB.
    ("grpc.http2.bdp_probe", 0),
)

CHANNEL_OPTIONS: Final = (
    *MESSAGE_OPTIONS,
    # gRPC's own retries would send identical ciphertext again, which the bridge must refuse.
    ("grpc.enable_retries", 0),
    # A proxy named in the environment is not a party that anyone has agreed to.
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    # A relay or bridge that comes back is found within about a second; an attempt may take five.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # A relay that has moved is looked up again at once, and not 30 s later.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Whoever slept or changed networks notices within 20 s, also under a quiet call; what TCP does not
    # confirm for 10 s is lost (TCP_USER_TIMEOUT is the second of these). Lines that pause for less are kept.
    # A line that is slow but busy is not asked: whatever arrives counts. There is no limit on pings.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)

_CLIENT_SLACK: Final = 30
_RELAY_SLACK: Final = 60


def client_deadline(deadline_class: int) -> float:
    """Seconds for gRPC's own deadline, from a DeadlineClass (0 to 4): the bridge's sealed one comes first.

    Raises ValueError for a number that is no class.
    """
    return float(deadline_seconds(deadline_class) + _CLIENT_SLACK)


def forwarded_deadline(remaining: float | None) -> float:
    """Seconds that a relay gives the bridge: the next class up, so that no value identifies a client."""
    limits = [float(seconds + _RELAY_SLACK) for seconds in DEADLINE_SECONDS]
    if remaining is None:
        return limits[-1]
    return next((limit for limit in limits if remaining <= limit), limits[-1])
