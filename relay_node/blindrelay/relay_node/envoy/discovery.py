"""What Envoy watches while it runs, besides its routes: bridges, leases and rates, as DiscoveryResponses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from blindrelay.relay_node.config import ReplicaConfig
from blindrelay.relay_node.envoy.routes import RATED_BY, Resource
from blindrelay.relay_node.envoy.secrets import authorities_of, certificate_of
from blindrelay.serving import ChannelTls
from blindrelay.serving.leases import base64url, rate_claim
from blindrelay.v1.envelope import ROUTING_KEY
from blindrelay.v1.grpc_profile import AUTHORIZATION_KEY, EXCHANGE_METHOD

T = TypeVar("T")

_LEASE: Final = "lease"
_STREAM_WINDOW: Final = 65_536
_CONNECTION_WINDOW: Final = 268_435_456
"""Bytes. 50 clients that do not read must not stop the others on the connection to a bridge."""

CHECK_SECONDS: Final = 1
"""Between two looks at the control process. After two in vain, Envoy starts nothing by itself."""

_PLAIN: Final = {"plain": True}
_RAW: Final = {
    "name": "envoy.transport_sockets.raw_buffer",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
    },
}
_CONTROL_LISTENS: Final = {
    # A connection and no call: clients reach the health service, too, and could keep it busy.
    "tcp_health_check": {},
    "transport_socket_match_criteria": _PLAIN,
    "interval": f"{CHECK_SECONDS}s",
    "no_traffic_interval": f"{CHECK_SECONDS}s",
    "unhealthy_interval": "0.25s",
    "timeout": "1s",
    "unhealthy_threshold": 2,
    "healthy_threshold": 1,
}

_ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"
_CACHED_LEASES: Final = 10_000
_ACCOUNTS: Final = 100_000


@dataclass(frozen=True, order=True)
class Rate:
    """Exchanges per second, and how many may come at once."""

    per_second: float
    burst: float


def by_name(replicas: Iterable[T]) -> dict[str, T]:
    """The bridges, or what belongs to them, by the names of their clusters."""
    return {f"bridge-{number}": replica for number, replica in enumerate(replicas)}


def clusters(replicas: Mapping[str, ReplicaConfig], control: Path, max_exchanges: int) -> list[Resource]:
    """One cluster for each replica, by name. It takes so many exchanges at once.

    `control` is the socket of the control process. While nobody listens there, no bridge can be used: the
    exchange would be in no books.
    """
    return [_cluster(name, replica, control, max_exchanges) for name, replica in replicas.items()]


def admission(node: str, lease_keys: Iterable[bytes]) -> list[Resource]:
    """Checks the lease of every exchange that names its key. `lease_keys` are HS256 keys of 32 bytes."""
    keys = [
        {"kty": "oct", "alg": "HS256", "kid": str(number), "k": base64url(key)}
        for number, key in enumerate(lease_keys)
    ]
    provider = {
        "audiences": [node],
        "local_jwks": {"inline_string": json.dumps({"keys": keys})},
        "from_headers": [{"name": AUTHORIZATION_KEY, "value_prefix": "Bearer "}],
        # The route removes it before a bridge sees the rest.
        "forward": True,
        "claim_to_headers": [
            {"header_name": header, "claim_name": claim} for claim, header in RATED_BY.items()
        ],
        "clock_skew_seconds": 1,
        "jwt_cache_config": {"jwt_cache_size": _CACHED_LEASES},
    }
    exchange = {"path": EXCHANGE_METHOD, "headers": [{"name": ROUTING_KEY, "present_match": True}]}
    return _filter(
        "admission",
        "jwt_authn.v3.JwtAuthentication",
        {
            "providers": {_LEASE: provider},
            "rules": [{"match": exchange, "requires": {"provider_name": _LEASE}}],
        },
    )


def rates(in_use: Iterable[Rate]) -> list[Resource]:
    """Limits each account to the rate that its lease names. Only rates that are `in_use` are enforced."""
    used = list(in_use)
    all_of_it = {"default_value": {"numerator": 100 if used else 0, "denominator": "HUNDRED"}}
    return _filter(
        "rates",
        "local_ratelimit.v3.LocalRateLimit",
        {
            "stat_prefix": "rates",
            "rate_limited_as_resource_exhausted": True,
            "filter_enabled": all_of_it,
            "filter_enforced": all_of_it,
            "token_bucket": _bucket(Rate(1_000_000, 1_000_000)),
            "max_dynamic_descriptors": _ACCOUNTS,
            "rate_limits": [{"actions": [_claim(name, header) for name, header in RATED_BY.items()]}],
            "descriptors": [
                {
                    "entries": [
                        {"key": "sub"},
                        {"key": "rate", "value": rate_claim(rate.per_second, rate.burst)},
                    ],
                    "token_bucket": _bucket(rate),
                }
                for rate in used
            ],
        },
    )


def _cluster(name: str, replica: ReplicaConfig, control: Path, max_exchanges: int) -> Resource:
    address = {
        "socket_address": {"address": replica.address.host.strip("[]"), "port_value": replica.address.port}
    }
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    windows = {
        "initial_stream_window_size": _STREAM_WINDOW,
        "initial_connection_window_size": _CONNECTION_WINDOW,
    }
    keep_alive = {"connection_keepalive": {"interval": "10s", "timeout": "10s"}}
    endpoint = {"address": address, "health_check_config": {"address": {"pipe": {"path": str(control)}}}}
    cluster: Resource = {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        # Its name may have an IPv6 address on which nothing listens. Envoy tries all, as gRPC does.
        "type": "LOGICAL_DNS",
        "dns_lookup_family": "ALL",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
        "health_checks": [_CONTROL_LISTENS],
        "transport_socket_matches": [{"name": "plain", "match": _PLAIN, "transport_socket": _RAW}],
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {
            "thresholds": [{"max_requests": max_exchanges, "max_pending_requests": max_exchanges}]
        },
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http2_protocol_options": windows | keep_alive},
            }
        },
    }
    if replica.tls is not None:
        cluster["transport_socket"] = _upstream_tls(name, replica, replica.tls, control.parent)
    return cluster


def _upstream_tls(name: str, replica: ReplicaConfig, tls: ChannelTls, folder: Path) -> Resource:
    host = replica.address.host.strip("[]")
    names = [{"san_type": kind, "matcher": {"exact": host}} for kind in ("DNS", "IP_ADDRESS")]
    validation: Resource = {"match_typed_subject_alt_names": names}
    context: Resource = {"alpn_protocols": ["h2"]}
    if tls.ca is None:
        context["validation_context"] = validation | {"trusted_ca": {"filename": _ROOTS}}
    else:
        context["combined_validation_context"] = {
            "default_validation_context": validation,
            "validation_context_sds_secret_config": authorities_of(name, folder),
        }
    if tls.certificate is not None:
        context["tls_certificate_sds_secret_configs"] = [certificate_of(name, folder)]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": host,
            "common_tls_context": context,
        },
    }


def _filter(name: str, kind: str, config: Resource) -> list[Resource]:
    extension = {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{kind}", **config}
    kind = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
    return [{"@type": kind, "name": name, "typed_config": extension}]


def _claim(name: str, header: str) -> Resource:
    """Puts a claim of the lease into the descriptor of a limit. Without the claim there is no limit."""
    return {"request_headers": {"header_name": header, "descriptor_key": name}}


def _bucket(rate: Rate) -> Resource:
    """Envoy fills whole tokens, at most 20 times a second."""
    per_fill = max(1, int(rate.per_second / 20))
    seconds = per_fill / rate.per_second
    return {"max_tokens": int(rate.burst), "tokens_per_fill": per_fill, "fill_interval": f"{seconds:.3f}s"}
