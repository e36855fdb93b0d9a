"""What gRPC's C core reads from the environment, once, when `grpc` is first imported.

Its own log lines carry peers' addresses and go straight to stderr, past everything that we log
through, and into the terminal of whoever runs a script; so they are off unless somebody asks for them by
setting the variable, or has imported grpc before.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# With gRPC's handlers for forks, one child in six crashes if it is forked during an asynchronous call,
# whatever it does. A program that forks while it uses gRPC's synchronous interface sets this to 1 itself.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
