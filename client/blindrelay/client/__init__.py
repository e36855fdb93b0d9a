"""The client of BlindRelay: seals what an SDK sends, so that the relay on the way cannot read it.

::

    from blindrelay.client import SealedTransport
    from openai import OpenAI

    sealed = SealedTransport.from_env()
    client = OpenAI(api_key="the-bridge-has-it", http_client=sealed.httpx2_client())
"""

import blindrelay.v1.quiet_grpc  # noqa: F401 - before the first import of grpc

# isort: split
from blindrelay.client.connection import Connection
from blindrelay.client.errors import (
    AlteredAnswerError,
    BlindRelayError,
    BridgeError,
    ClosedError,
    ConfigurationError,
    CutAnswerError,
    ForkError,
    KeyTrustError,
    ProtocolError,
    RelayError,
    RequestError,
    TimedOutError,
    UnreachableError,
)
from blindrelay.client.transport import SealedTransport

__all__ = [
    "AlteredAnswerError",
    "BlindRelayError",
    "BridgeError",
    "ClosedError",
    "ConfigurationError",
    "Connection",
    "CutAnswerError",
    "ForkError",
    "KeyTrustError",
    "ProtocolError",
    "RelayError",
    "RequestError",
    "SealedTransport",
    "TimedOutError",
    "UnreachableError",
]
