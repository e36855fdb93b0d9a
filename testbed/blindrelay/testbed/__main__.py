"""`python -m blindrelay.testbed`."""

from __future__ import annotations

import sys

from blindrelay.v1.extras import needs_extra

with needs_extra("testbed"):
    from blindrelay.testbed.cli import main

    sys.exit(main())
