"""`python -m blindrelay.relay_node` is `blindrelay-relay`."""

from __future__ import annotations

import sys

from blindrelay.relay_node.cli import main

sys.exit(main())
