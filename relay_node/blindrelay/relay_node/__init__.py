"""The relay node: authenticates calls, reads envelopes, forwards sealed bytes, and keeps nothing.

It decodes no message of an exchange and imports no cryptography. It hashes only access tokens, key
configurations and the text of identities, with Python's hashlib (in serving and v1).
"""

from __future__ import annotations

import blindrelay.relay_node.grpc_env  # noqa: F401 - before the first import of grpc

# isort: split
from blindrelay.v1.extras import needs_extra

with needs_extra("relay"):
    from blindrelay.relay_node.config import RelayConfig, ReplicaConfig, read_relay_config

    # isort: split
    from blindrelay.relay_node.audit_log import AuditLog, Event, Reason
    from blindrelay.relay_node.channel import ChannelFactory, open_channel
    from blindrelay.relay_node.relay import Relay

__all__ = [
    "AuditLog",
    "ChannelFactory",
    "Event",
    "Reason",
    "Relay",
    "RelayConfig",
    "ReplicaConfig",
    "open_channel",
    "read_relay_config",
]
