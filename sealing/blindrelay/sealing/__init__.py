"""The message path, sans-IO: bytes in, bytes out, no sockets, clock or threads.

It implements sections 4.2 and 8 to 10 of spec/protocol.md. Client and bridge use it; the relay must not.
"""

from blindrelay.sealing.cell_sealer import CellSealer
from blindrelay.sealing.cells import BALANCED, SHAPES, STRICT, CellShape
from blindrelay.sealing.encapsulation import BridgeExchange, ClientExchange, decapsulate, encapsulate
from blindrelay.sealing.errors import (
    KeyConfigError,
    OpenError,
    SealingError,
    StateError,
    SuiteError,
    TruncatedError,
    ViolationError,
)
from blindrelay.sealing.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    TEXT,
    close_frame,
    close_reason,
    data_frames,
    is_close_code,
)
from blindrelay.sealing.keys import SealingKey
from blindrelay.sealing.messages import joined
from blindrelay.sealing.part_order import TUNNEL_STATUS
from blindrelay.sealing.records import Buffer
from blindrelay.sealing.requests import RequestOpener, RequestSealer
from blindrelay.sealing.responses import ResponseOpener, ResponseSealer

__all__ = [
    "BALANCED",
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "SHAPES",
    "STRICT",
    "TEXT",
    "TUNNEL_STATUS",
    "BridgeExchange",
    "Buffer",
    "CellSealer",
    "CellShape",
    "ClientExchange",
    "KeyConfigError",
    "OpenError",
    "RequestOpener",
    "RequestSealer",
    "ResponseOpener",
    "ResponseSealer",
    "SealingError",
    "SealingKey",
    "StateError",
    "SuiteError",
    "TruncatedError",
    "ViolationError",
    "close_frame",
    "close_reason",
    "data_frames",
    "decapsulate",
    "encapsulate",
    "is_close_code",
    "joined",
]
