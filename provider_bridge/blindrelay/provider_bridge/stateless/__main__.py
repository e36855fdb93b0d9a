"""python -m blindrelay.provider_bridge.stateless is the process that checks bodies (checker_process.py).

It is a module that nothing imports. Python would warn on stderr of one that its package had imported.
"""

import signal
import sys

from blindrelay.provider_bridge.stateless.checker_worker import serve
from blindrelay.serving.process import leave_no_traces

leave_no_traces()
signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal; the bridge ends this process when it ends
serve(sys.stdin.buffer, sys.stdout.buffer)
