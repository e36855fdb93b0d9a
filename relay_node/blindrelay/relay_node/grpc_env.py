"""What a relay sets before `grpc` is first imported, which reads it then, once.

gRPC's own log has clients' addresses in it, and its trace their access tokens. A relay writes nothing but its
audit log, whatever the environment asks for.
"""

from __future__ import annotations

import os

os.environ["GRPC_VERBOSITY"] = "NONE"
os.environ.pop("GRPC_TRACE", None)
