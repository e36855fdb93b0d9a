"""Environment variables that a relay sets before it imports `grpc`, which reads them once.

gRPC's own log contains clients' addresses, and its trace their access tokens. A relay writes only its audit
log, whatever its environment says.
"""

from __future__ import annotations

import os

os.environ["GRPC_VERBOSITY"] = "NONE"
os.environ.pop("GRPC_TRACE", None)
