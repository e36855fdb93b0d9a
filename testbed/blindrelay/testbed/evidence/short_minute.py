"""Runs a relay whose minute is shorter, so that a short evidence run sees one end.

python -m blindrelay.testbed.evidence.short_minute SECONDS MODULE ARGUMENT…
"""

from __future__ import annotations

import runpy
import sys

import blindrelay.relay_node  # noqa: F401 - keeps gRPC silent, before its first import

# isort: split
from blindrelay.serving import audit_log

if __name__ == "__main__":
    seconds, module, *arguments = sys.argv[1:]
    vars(audit_log)["REPORT_EVERY"] = float(seconds)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
