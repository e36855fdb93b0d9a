"""The bridge at a provider: it opens sealed exchanges, calls the provider and seals the responses.

It implements section 11 of spec/protocol.md on top of blindrelay.sealing.
"""

from blindrelay.v1.extras import needs_extra

with needs_extra("bridge"):
    from blindrelay.provider_bridge.audit_log import AuditLog, Event, Outcome
    from blindrelay.provider_bridge.bridge import Bridge
    from blindrelay.provider_bridge.config import BridgeConfig, DelegatedKey, read_bridge_config
    from blindrelay.provider_bridge.errors import (
        BridgeError,
        DelegationEndedError,
        ProviderError,
        RequestError,
        SealedError,
        UnclaimedError,
    )
    from blindrelay.provider_bridge.keys.key_files import load_identity, load_or_make_identity
    from blindrelay.provider_bridge.keys.signatory import DelegatedIdentity, HeldIdentity, Signatory
    from blindrelay.provider_bridge.presets import presets
    from blindrelay.provider_bridge.providers import AllowedCall, Provider, parse_calls

__all__ = [
    "AllowedCall",
    "AuditLog",
    "Bridge",
    "BridgeConfig",
    "BridgeError",
    "DelegatedIdentity",
    "DelegatedKey",
    "DelegationEndedError",
    "Event",
    "HeldIdentity",
    "Outcome",
    "Provider",
    "ProviderError",
    "RequestError",
    "SealedError",
    "Signatory",
    "UnclaimedError",
    "load_identity",
    "load_or_make_identity",
    "parse_calls",
    "presets",
    "read_bridge_config",
]
