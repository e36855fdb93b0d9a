"""Client, relay and bridge with one protection taken out: what the twins of the attacks succeed against.

A double patches names in this process, for as long as its block runs; nothing that ships has such a switch.
Each is named by what is missing.
"""

from blindrelay.testbed.attacks.doubles.double import (
    Double,
    nothing_missing,
    together,
)
from blindrelay.testbed.attacks.doubles.of_bridge import (
    with_shared_keys,
    without_claim,
    without_deadline,
    without_envelope_check,
    without_request_end,
)
from blindrelay.testbed.attacks.doubles.of_client import (
    with_fallback_to_clear,
    without_directory_check,
    without_end,
    without_final,
    without_history,
    without_idle_limit,
    without_reseal_rule,
    without_suite_check,
)
from blindrelay.testbed.attacks.doubles.of_core import (
    KNOWN_KEY,
    without_authentication,
    without_binding,
    without_encapsulation,
    without_exchange_keys,
    without_order,
    without_padding_check,
)
from blindrelay.testbed.attacks.doubles.of_relay import without_replica_identities
from blindrelay.testbed.attacks.doubles.of_wire import (
    with_compression,
    without_size_limits,
    without_typed_errors,
)

__all__ = [
    "KNOWN_KEY",
    "Double",
    "nothing_missing",
    "together",
    "with_compression",
    "with_fallback_to_clear",
    "with_shared_keys",
    "without_authentication",
    "without_binding",
    "without_claim",
    "without_deadline",
    "without_directory_check",
    "without_encapsulation",
    "without_end",
    "without_envelope_check",
    "without_exchange_keys",
    "without_final",
    "without_history",
    "without_idle_limit",
    "without_order",
    "without_padding_check",
    "without_replica_identities",
    "without_request_end",
    "without_reseal_rule",
    "without_size_limits",
    "without_suite_check",
    "without_typed_errors",
]
