"""Which exchanges Envoy forwards alone: its routes, and the same decision about a line of usage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from blindrelay.relay_node.envoy.usage_pipe import Start
from blindrelay.serving import authorization
from blindrelay.serving.leases import beginning_of
from blindrelay.v1.channel import Metadata
from blindrelay.v1.envelope import METADATA_KEY, ROUTING_KEY, routing_text
from blindrelay.v1.grpc_profile import AUTHORIZATION_KEY, EXCHANGE_METHOD
from blindrelay.v1.limits import DEADLINE_SECONDS

Resource = dict[str, Any]

CONTROL: Final = "control"
"""The cluster of the control process."""

ADDRESS_KEY: Final = "blindrelay-address"
"""A header that only the control process gets: the address from which a client has connected to Envoy."""

RATED_BY: Final = {"sub": "blindrelay-account", "rate": "blindrelay-rate"}
"""Headers inside Envoy, by the claims of a valid lease to which a limit of the rate belongs.

Clients cannot set them, and bridges do not see them.
"""

LONGEST_SECONDS: Final = DEADLINE_SECONDS[-1] + 90
"""When Envoy ends an exchange. This replaces the client's deadline, which could tell clients apart."""

_USUAL: Final = "[A-Za-z0-9+/]+MMCEPQ(==)?"
"""One envelope with the usual max_units, 1,000,000, and no service class, in base64.

Envoy cannot compare another max_units with the lease's, so such exchanges go to the control process. What is
not base64 must not reach a bridge, whose gRPC may then break off the calls of others.
"""

_is_usual: Final = re.compile(_USUAL).fullmatch

_PLAIN: Final = f"{re.escape(beginning_of())}[A-Za-z0-9_.-]+[AEIMQUYcgkosw048]"
"""One plain lease, in its only spelling.

Envoy's filter also takes a lease with spaces or padding in it, and a signature whose last character has bits
to spare. The reader of lines does not, and the exchange would be in no books.
"""

_is_plain: Final = re.compile(_PLAIN).fullmatch


def routes(
    keys: Mapping[bytes, str], bridges: Mapping[str, Metadata], careful: Iterable[str]
) -> list[Resource]:
    """Sends an exchange to the bridge that holds its key, and everything else to the control process.

    `keys` gives the bridge's name for each key ID, and `bridges` what the relay shows to each. Exchanges of
    the `careful` accounts, and those for which forwards() is false, go to the control process, too.
    """
    control = _action(CONTROL, {"prefix": "/"}, _passed_on())
    # The only method whose leases Envoy checks. Others that name a key and an envelope find no route.
    exchange = {"path": EXCHANGE_METHOD}
    found = {name: _action(name, exchange, _forwarded(name, shown)) for name, shown in bridges.items()}
    by_key = _matched_by(ROUTING_KEY, {routing_text(key): found[name] for key, name in keys.items()}, control)
    near_limit = {_bearer(beginning_of(account)): control for account in careful}
    by_lease = _matched_by(AUTHORIZATION_KEY, near_limit, {"matcher": by_key}, "prefix_match_map")
    checked = {"matcher": by_lease if near_limit else by_key}
    matcher = {
        "matcher_list": {"matchers": [{"predicate": _forwardable(), "on_match": checked}]},
        "on_no_match": control,
    }
    virtual_host = {"name": "all", "domains": ["*"], "matcher": matcher}
    kind = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    return [{"@type": kind, "name": "routes", "virtual_hosts": [virtual_host]}]


def forwards(start: Start) -> bool:
    """Whether Envoy decides this exchange, if the lease is valid and the key known: as routes() says it."""
    return _is_plain(start.lease) is not None and _is_usual(start.text) is not None


def _forwardable() -> Resource:
    every = (_matches(AUTHORIZATION_KEY, _bearer(_PLAIN)), _matches(METADATA_KEY, _USUAL))
    return {"and_matcher": {"predicate": [*every]}}


def _matches(header: str, pattern: str) -> Resource:
    return {
        "single_predicate": {
            "input": _header_input(header),
            "value_match": {"safe_regex": {"google_re2": {}, "regex": pattern}},
        }
    }


def _bearer(lease: str) -> str:
    return authorization(lease)[1]


def _passed_on() -> Resource:
    address = {"key": ADDRESS_KEY, "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}
    return {
        "route": {"cluster": CONTROL, "timeout": "0s"},
        "request_headers_to_remove": sorted(RATED_BY.values()),
        "request_headers_to_add": [_set(address)],
    }


def _forwarded(name: str, shown: Metadata) -> Resource:
    removed = {"user-agent", "x-forwarded-proto", ROUTING_KEY, *RATED_BY.values()}
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


def _matched_by(
    header: str, values: Mapping[str, Resource], otherwise: Resource, how: str = "exact_match_map"
) -> Resource:
    """A matcher by a header's value, or by how it begins; the longest beginning counts.

    An empty map is not allowed, so one value stands for none.
    """
    return {
        "matcher_tree": {
            "input": _header_input(header),
            how: {"map": values or {"-": otherwise}},
        },
        "on_no_match": otherwise,
    }


def _header_input(header: str) -> Resource:
    kind = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
    return {"name": header, "typed_config": {"@type": kind, "header_name": header}}


def _action(name: str, match: Resource, route: Resource) -> Resource:
    kind = "type.googleapis.com/envoy.config.route.v3.Route"
    return {"action": {"name": name, "typed_config": {"@type": kind, "match": match, **route}}}
