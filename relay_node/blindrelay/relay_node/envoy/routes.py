"""Which exchanges Envoy forwards alone: its routes, and the same decision about a line of usage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from blindrelay.relay_node.envoy.usage_pipe import Start
from blindrelay.serving.leases import Lease
from blindrelay.v1.channel import Metadata
from blindrelay.v1.envelope import METADATA_KEY, ROUTING_KEY, routing_text
from blindrelay.v1.grpc_profile import AUTHORIZATION_KEY
from blindrelay.v1.limits import DEADLINE_SECONDS

Resource = dict[str, Any]

CONTROL: Final = "control"
"""The cluster of the control process."""

ADDRESS_KEY: Final = "blindrelay-address"
"""A header that only the control process gets: the address from which a client has connected to Envoy."""

_ACCOUNT: Final = "blindrelay-account"
_UNITS: Final = "blindrelay-units"
_SCOPES: Final = {f"blindrelay-{claim}": claim for claim in ("bridges", "classes", "addresses")}

RATED_BY: Final = {"sub": _ACCOUNT, "rate": "blindrelay-rate"}
"""The headers with the claims to which a limit of the rate belongs."""

CLAIM_HEADERS: Final = {_UNITS: "units", **_SCOPES, **{header: claim for claim, header in RATED_BY.items()}}
"""Headers inside Envoy: what a valid lease claims. Clients cannot set them, and bridges do not see them."""

LONGEST_SECONDS: Final = DEADLINE_SECONDS[-1] + 90
"""When Envoy ends an exchange. This replaces the client's deadline, which could tell clients apart."""

_USUAL: Final = "[A-Za-z0-9+/]+MMCEPQ(==)?"
"""One envelope with the usual max_units, 1,000,000, and no service class, in base64.

Envoy cannot compare another max_units with the lease's, so such exchanges go to the control process.
"""

_BEARER: Final = "Bearer [A-Za-z0-9_.-]+"
"""One lease and nothing else. Envoy would find one among other words, but the reader of lines does not."""

_ENOUGH: Final = "[0-9]{7,18}"
"""A number of 1,000,000 or more."""

_ENOUGH_UNITS: Final = range(10**6, 10**18)
"""The same as numbers."""

_is_usual: Final = re.compile(_USUAL).fullmatch


def routes(
    keys: Mapping[bytes, str], bridges: Mapping[str, Metadata], careful: Iterable[str]
) -> list[Resource]:
    """Sends an exchange to the bridge that holds its key, and everything else to the control process.

    `keys` gives the bridge's name for each key ID, and `bridges` what the relay shows to each. Exchanges of
    the `careful` accounts, and those for which forwards() is false, go to the control process, too.
    """
    control = _action(CONTROL, _passed_on())
    found = {name: _action(name, _forwarded(name, shown)) for name, shown in bridges.items()}
    by_key = _matched_by(ROUTING_KEY, {routing_text(key): found[name] for key, name in keys.items()}, control)
    by_account = _matched_by(_ACCOUNT, dict.fromkeys(careful, control), {"matcher": by_key})
    matcher = {
        "matcher_list": {"matchers": [{"predicate": _forwardable(), "on_match": {"matcher": by_account}}]},
        "on_no_match": control,
    }
    virtual_host = {"name": "all", "domains": ["*"], "matcher": matcher}
    kind = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    return [{"@type": kind, "name": "routes", "virtual_hosts": [virtual_host]}]


def forwards(start: Start, lease: Lease) -> bool:
    """Whether Envoy decides this exchange, if the lease is valid and the key known. See _forwardable()."""
    unscoped = lease.bridges is None and lease.classes is None and lease.addresses is None
    return unscoped and lease.units in _ENOUGH_UNITS and _is_usual(start.text) is not None


def _forwardable() -> Resource:
    """The claims show that the lease was valid: only the filter sets them, and only for exchanges."""
    wanted = {_UNITS: _ENOUGH, AUTHORIZATION_KEY: _BEARER, METADATA_KEY: _USUAL}
    unwanted = [{"not_matcher": _matches(header, ".*")} for header in _SCOPES]
    every = [_matches(header, pattern) for header, pattern in wanted.items()] + unwanted
    return {"and_matcher": {"predicate": every}}


def _matches(header: str, pattern: str) -> Resource:
    return {
        "single_predicate": {
            "input": _header_input(header),
            "value_match": {"safe_regex": {"google_re2": {}, "regex": pattern}},
        }
    }


def _passed_on() -> Resource:
    address = {"key": ADDRESS_KEY, "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}
    return {
        "route": {"cluster": CONTROL, "timeout": "0s"},
        "request_headers_to_remove": sorted(CLAIM_HEADERS),
        "request_headers_to_add": [_set(address)],
    }


def _forwarded(name: str, shown: Metadata) -> Resource:
    removed = {"user-agent", "x-forwarded-proto", ROUTING_KEY, *CLAIM_HEADERS}
    if not shown:
        removed.add(AUTHORIZATION_KEY)
    return {
        "route": {
            "cluster": name,
            "timeout": "0s",
            "max_stream_duration": {"max_stream_duration": f"{LONGEST_SECONDS}s"},
        },
        "request_headers_to_remove": sorted(removed),
        "request_headers_to_add": [_set({"key": key, "value": value}) for key, value in shown],
    }


def _set(header: Resource) -> Resource:
    return {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


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
