"""What gRPC's C core reads from the environment, once, when `grpc` is first imported.

Its own log lines carry peers' addresses and go straight to stderr, past everything that we log
through, and into the terminal of whoever runs a script; so they are off unless somebody asks for them by
setting the variable, or has imported grpc before.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
