"""What Envoy watches while it runs: bridges, keys, and who is admitted, each as one DiscoveryResponse."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from blindrelay.relay_node.config import ReplicaConfig
from blindrelay.serving import ChannelTls, read_token
from blindrelay.serving.leases import base64url, rate_claim
from blindrelay.v1.envelope import METADATA_KEY, ROUTING_KEY, routing_text
from blindrelay.v1.grpc_profile import AUTHORIZATION_KEY, EXCHANGE_METHOD, authorization
from blindrelay.v1.limits import DEADLINE_SECONDS

Resource = dict[str, Any]

CONTROL: Final = "control"
"""The cluster of the control process."""

_ACCOUNT: Final = "blindrelay-account"
"""A header inside Envoy: the account of a valid lease. Clients cannot set it, and bridges do not see it."""

_USUAL_END: Final = "MMCEPQ"
"""How base64 of an envelope ends that has the usual max_units, 1,000,000, and no service class.

Envoy cannot compare another max_units with the lease's, so such exchanges go to the control process.
"""

_LEASE: Final = "lease"
_JWT: Final = "envoy.filters.http.jwt_authn"
_LONGEST_SECONDS: Final = DEADLINE_SECONDS[-1] + 90
_STREAM_WINDOW: Final = 65_536
_CONNECTION_WINDOW: Final = 268_435_456
"""Bytes. 50 clients that do not read must not stop the others on the connection to a bridge."""

_CACHED_LEASES: Final = 10_000
_ACCOUNTS: Final = 100_000


@dataclass(frozen=True)
class Rate:
    """Exchanges per second, and how many may come at once."""

    per_second: float
    burst: float


def clusters(replicas: Mapping[str, ReplicaConfig]) -> list[Resource]:
    """One cluster for each replica, by name."""
    return [_cluster(name, replica) for name, replica in replicas.items()]


def routes(
    keys: Mapping[bytes, str], replicas: Mapping[str, ReplicaConfig], careful: Iterable[str]
) -> list[Resource]:
    """Sends an exchange to the replica that holds its key, and everything else to the control process.

    `keys` gives the replica's name for each key ID. What belongs to one of the `careful` accounts, or has an
    unusual envelope, goes to the control process, too.
    """
    control = _action(CONTROL, {"route": {"cluster": CONTROL, "timeout": "0s"}})
    found = {name: _action(name, _forwarded(name, replica)) for name, replica in replicas.items()}
    by_key = _matched_by(ROUTING_KEY, {routing_text(key): found[name] for key, name in keys.items()}, control)
    by_account = _matched_by(_ACCOUNT, dict.fromkeys(careful, control), {"matcher": by_key})
    usual = {"input": _header_input(METADATA_KEY), "value_match": {"suffix": _USUAL_END}}
    matcher = {
        "matcher_list": {
            "matchers": [{"predicate": {"single_predicate": usual}, "on_match": {"matcher": by_account}}]
        },
        "on_no_match": control,
    }
    virtual_host = {"name": "all", "domains": ["*"], "matcher": matcher}
    kind = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    return [{"@type": kind, "name": "routes", "virtual_hosts": [virtual_host]}]


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
        # The route takes it away from what goes to a bridge.
        "forward": True,
        "payload_in_metadata": _LEASE,
        "claim_to_headers": [{"header_name": _ACCOUNT, "claim_name": "sub"}],
        "clear_route_cache": True,
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
            "rate_limits": [{"actions": [_claim("sub"), _claim("rate")]}],
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


def _cluster(name: str, replica: ReplicaConfig) -> Resource:
    address = {
        "socket_address": {"address": replica.address.host.strip("[]"), "port_value": replica.address.port}
    }
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    windows = {
        "initial_stream_window_size": _STREAM_WINDOW,
        "initial_connection_window_size": _CONNECTION_WINDOW,
    }
    keep_alive = {"connection_keepalive": {"interval": "10s", "timeout": "10s"}}
    cluster: Resource = {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": {"thresholds": [{"max_requests": 10_000, "max_pending_requests": 10_000}]},
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http2_protocol_options": windows | keep_alive},
            }
        },
    }
    if replica.tls is not None:
        cluster["transport_socket"] = _upstream_tls(replica, replica.tls)
    return cluster


def _upstream_tls(replica: ReplicaConfig, tls: ChannelTls) -> Resource:
    host = replica.address.host.strip("[]")
    names = [{"san_type": kind, "matcher": {"exact": host}} for kind in ("DNS", "IP_ADDRESS")]
    trusted = (
        {"filename": str(tls.ca)}
        if tls.ca is not None
        else {"filename": "/etc/ssl/certs/ca-certificates.crt"}
    )
    context: Resource = {
        "alpn_protocols": ["h2"],
        "validation_context": {"trusted_ca": trusted, "match_typed_subject_alt_names": names},
    }
    if tls.certificate is not None and tls.key is not None:
        context["tls_certificates"] = [certificate(str(tls.certificate), str(tls.key))]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": host,
            "common_tls_context": context,
        },
    }


def certificate(chain: str, key: str) -> Resource:
    """A TLS certificate that Envoy reads again when its folder changes."""
    folder = chain.rpartition("/")[0] or "."
    return {
        "certificate_chain": {"filename": chain},
        "private_key": {"filename": key},
        "watched_directory": {"path": folder},
    }


def _forwarded(name: str, replica: ReplicaConfig) -> Resource:
    added = []
    if replica.token_file is not None:
        added.append(authorization(read_token(replica.token_file)))
    removed = {"user-agent", "x-forwarded-proto", ROUTING_KEY, _ACCOUNT}
    if replica.token_file is None:
        removed.add(AUTHORIZATION_KEY)
    return {
        "route": {
            "cluster": name,
            "timeout": "0s",
            # Replaces the client's deadline, which could tell clients apart.
            "max_stream_duration": {"max_stream_duration": f"{_LONGEST_SECONDS}s"},
        },
        "request_headers_to_remove": sorted(removed),
        "request_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in added
        ],
    }


def _matched_by(header: str, values: Mapping[str, Resource], otherwise: Resource) -> Resource:
    """A matcher by a header's exact value. An empty map is not allowed, so one value stands for none."""
    return {
        "matcher_tree": {
            "input": _header_input(header),
            "exact_match_map": {"map": values or {"-": otherwise}},
        },
        "on_no_match": otherwise,
    }


def _header_input(header: str) -> Resource:
    kind = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
    return {"name": header, "typed_config": {"@type": kind, "header_name": header}}


def _action(name: str, route: Resource) -> Resource:
    kind = "type.googleapis.com/envoy.config.route.v3.Route"
    return {"action": {"name": name, "typed_config": {"@type": kind, "match": {"prefix": "/"}, **route}}}


def _filter(name: str, kind: str, config: Resource) -> list[Resource]:
    extension = {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{kind}", **config}
    kind = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
    return [{"@type": kind, "name": name, "typed_config": extension}]


def _claim(name: str) -> Resource:
    """Takes a claim of the lease into the descriptor of a limit. Without the claim there is no limit."""
    place = {"key": _JWT, "path": [{"key": _LEASE}, {"key": name}]}
    return {"metadata": {"metadata_key": place, "descriptor_key": name, "source": "DYNAMIC"}}


def _bucket(rate: Rate) -> Resource:
    """Envoy fills whole tokens, at most 20 times a second."""
    per_fill = max(1, int(rate.per_second / 20))
    seconds = per_fill / rate.per_second
    return {"max_tokens": int(rate.burst), "tokens_per_fill": per_fill, "fill_interval": f"{seconds:.3f}s"}
