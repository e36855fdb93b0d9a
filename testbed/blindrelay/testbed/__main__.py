"""`python -m blindrelay.testbed`."""

from __future__ import annotations

import sys

from blindrelay.testbed.cli import main

sys.exit(main())
