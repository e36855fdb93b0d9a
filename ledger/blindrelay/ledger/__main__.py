"""`python -m blindrelay.ledger` is `blindrelay-ledger`."""

from __future__ import annotations

import sys

from blindrelay.ledger.cli import main

sys.exit(main())
