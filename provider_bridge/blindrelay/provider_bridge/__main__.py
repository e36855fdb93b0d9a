"""python -m blindrelay.provider_bridge is the command blindrelay-bridge."""

import sys

from blindrelay.provider_bridge.cli import main

sys.exit(main())
