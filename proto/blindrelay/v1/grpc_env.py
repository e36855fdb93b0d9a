"""What gRPC's C core reads from the environment, once, when `grpc` is first imported.

Its own log lines carry peers' addresses and go straight to stderr, past everything that we log
through, and into the terminal of whoever runs a script; so they are off unless somebody asks for them by
setting the variable, or has imported grpc before.
"""

from __future__ import annotations

import os
from typing import Final

_SETTINGS: Final = {
    "GRPC_VERBOSITY": "NONE",
    # With gRPC's handlers for forks, one child in six crashes if it is forked during an asynchronous call,
    # whatever it does. A program that forks while it uses gRPC's synchronous interface sets this to 1 itself.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
}

OURS: Final = frozenset(_SETTINGS) - frozenset(os.environ)
"""The variables that nobody had set before: they are for this process, and not for programs it starts."""

for _name in OURS:
    os.environ[_name] = _SETTINGS[_name]
