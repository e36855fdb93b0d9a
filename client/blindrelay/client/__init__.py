"""The client of BlindRelay. It seals what an SDK sends, so that the relay cannot read it.

```python
from blindrelay.client import SealedTransport
from openai import OpenAI

sealed = SealedTransport.from_env()
client = OpenAI(api_key="the-bridge-has-it", http_client=sealed.httpx2_client())
```
"""

from __future__ import annotations

from importlib import import_module

import blindrelay.v1.grpc_env  # noqa: F401 - before the first import of grpc

TYPE_CHECKING = False  # True for type checkers; importing typing takes longer than everything else
if TYPE_CHECKING:
    from blindrelay.client.bill import Bill
    from blindrelay.client.connection_config import ConnectionConfig
    from blindrelay.client.errors import (
        AlteredResponseError,
        BlindRelayError,
        BridgeError,
        ClosedError,
        ConfigurationError,
        CutResponseError,
        ForkError,
        KeyTrustError,
        ProtocolError,
        RelayError,
        RequestError,
        TimedOutError,
        UnreachableError,
        UnsupportedRuntimeError,
    )
    from blindrelay.client.transport import SealedTransport

__all__ = [
    "AlteredResponseError",
    "Bill",
    "BlindRelayError",
    "BridgeError",
    "ClosedError",
    "ConfigurationError",
    "ConnectionConfig",
    "CutResponseError",
    "ForkError",
    "KeyTrustError",
    "ProtocolError",
    "RelayError",
    "RequestError",
    "SealedTransport",
    "TimedOutError",
    "UnreachableError",
    "UnsupportedRuntimeError",
]

_MODULES = {"Bill": "bill", "ConnectionConfig": "connection_config", "SealedTransport": "transport"}
"""The modules of the names that are not in errors."""


def __getattr__(name: str) -> object:
    """Imports a name when it is used: `blindrelay --help` needs neither gRPC nor cryptography."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
