"""Environment variables that gRPC's C core reads once, when `grpc` is first imported.

Its own log lines contain peers' addresses and go straight to stderr. So its log is off, unless the variable
is set or grpc has been imported already.
"""

from __future__ import annotations

import os
from typing import Final

_SETTINGS: Final = {
    "GRPC_VERBOSITY": "NONE",
    # With gRPC's fork handlers, one child in six crashes if it is forked during an asynchronous call
    # (https://github.com/grpc/grpc/issues/32992). Set it to 1 to fork while using the synchronous API.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
}

OURS: Final = frozenset(_SETTINGS) - frozenset(os.environ)
"""The variables that were not set before. They are meant for this process, not for programs it starts."""

for _name in OURS:
    os.environ[_name] = _SETTINGS[_name]
