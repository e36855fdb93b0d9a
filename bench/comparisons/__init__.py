"""Every comparison, by name, in the order in which a run makes them."""

from __future__ import annotations

from collections.abc import Callable

from bench.comparisons.accounts import accounts
from bench.comparisons.arrival import arrival
from bench.comparisons.chain import added_time, payloads, side_by_side, throughput
from bench.comparisons.earlier import earlier
from bench.comparisons.forwarders import forwarders_apart, forwarders_together
from bench.comparisons.gateway import gateway
from bench.comparisons.idle import idle_streams
from bench.comparisons.large import heartbeat, large_response, upload
from bench.comparisons.libraries import libraries, record_layer
from bench.comparisons.sdk import sdk
from bench.comparisons.stalled import stalled_readers
from bench.comparisons.workers import workers
from bench.plan import Plan
from bench.results import Comparison
from bench.session import Session

COMPARISONS: dict[str, Callable[[Plan, Session], Comparison]] = {
    "throughput": throughput,
    "added_time": added_time,
    "forwarders_together": forwarders_together,
    "forwarders_apart": forwarders_apart,
    "gateway": gateway,
    "libraries": libraries,
    "record_layer": record_layer,
    "sdk": sdk,
    "upload": upload,
    "heartbeat": heartbeat,
    "earlier": earlier,
    "large_response": large_response,
    "payloads": payloads,
    "side_by_side": side_by_side,
    "idle_streams": idle_streams,
    "stalled_readers": stalled_readers,
    "workers": workers,
    "accounts": accounts,
    "arrival": arrival,
}
