"""python -m bench."""

import sys

from blindrelay.v1.extras import needs_extra

with needs_extra("dev"):
    from bench.cli import main

    sys.exit(main())
