"""How gRPC is used on every hop: methods, tokens, options, deadlines (spec/protocol.md, section 7.1)."""

from __future__ import annotations

from typing import Final

from blindrelay.v1.limits import DEADLINE_SECONDS, MAX_MESSAGE_SIZE, deadline_seconds

SERVICE: Final = "blindrelay.v1.ExchangeService"
EXCHANGE: Final = "Exchange"
KEY_DIRECTORY: Final = "GetKeyDirectory"
EXCHANGE_METHOD: Final = f"/{SERVICE}/{EXCHANGE}"
KEY_DIRECTORY_METHOD: Final = f"/{SERVICE}/{KEY_DIRECTORY}"

SETTLEMENT_SERVICE: Final = "blindrelay.v1.SettlementService"
SETTLE: Final = "Settle"
SETTLE_METHOD: Final = f"/{SETTLEMENT_SERVICE}/{SETTLE}"

AUTHORIZATION_KEY: Final = "authorization"

RETRY_AFTER_KEY: Final = "blindrelay-retry-after"
"""Trailing metadata of a refusal: after how many whole seconds to try again."""

TOKEN_DIGEST_KEY: Final = "blindrelay-token-digest-bin"  # noqa: S105 - a name
"""Metadata from a relay to its ledger, in place of a client's token: its SHA-256."""

MESSAGE_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_SIZE),
    ("grpc.max_send_message_length", MAX_MESSAGE_SIZE),
    # Only the identity encoding: compressing what an attacker partly chose would leak the rest.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # With windows that grow, 50 stalled readers cost a relay 245 MiB. With fixed windows it is 20 MiB.
    ("grpc.http2.bdp_probe", 0),
)

CALL_WINDOW: Final = 262_144
"""Bytes of one call that its sender may be ahead of its reader. Over 50 ms that is 5 MiB a second.

With gRPC's own 64 KiB it would be 1.2. A call whose window is full holds up no other: gRPC opens the
connection's window again whether or not a call is read.
"""

RUN_AHEAD: Final = ("grpc.http2.lookahead_bytes", CALL_WINDOW)
"""For servers, and for a client's channel. A relay's channels to bridges go without: responses that nobody
reads wait there, so their windows decide how much memory stalled readers take."""

CHANNEL_OPTIONS: Final = (
    *MESSAGE_OPTIONS,
    # gRPC's own retries would send identical ciphertext again, which the bridge must refuse.
    ("grpc.enable_retries", 0),
    # Nobody has agreed to a proxy that the environment names.
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    # A relay or bridge that comes back is found within about a second. One attempt may take five.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # A relay that has moved is looked up again after a second. gRPC would wait for 30.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # A lost connection is noticed within 20 s, also during a silent call. It is lost when TCP has confirmed
    # nothing for 10 s (the second option sets TCP_USER_TIMEOUT). Any data that arrives replaces a ping, so
    # a slow but busy connection is not pinged. The number of pings is not limited.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)

_CLIENT_SLACK: Final = 30
_RELAY_SLACK: Final = 60


def authorization(token: str) -> tuple[str, str]:
    """The metadata entry that presents an access token."""
    return AUTHORIZATION_KEY, f"Bearer {token}"


def client_deadline(deadline_class: int) -> float:
    """Seconds for gRPC's deadline, from a DeadlineClass (0 to 4). The bridge's sealed deadline passes first.

    Raises ValueError for any other number.
    """
    return float(deadline_seconds(deadline_class) + _CLIENT_SLACK)


def forwarded_deadline(remaining: float | None) -> float:
    """Seconds that a relay gives the bridge: the next class up. An exact value could identify a client."""
    limits = [float(seconds + _RELAY_SLACK) for seconds in DEADLINE_SECONDS]
    if remaining is None:
        return limits[-1]
    return next((limit for limit in limits if remaining <= limit), limits[-1])
