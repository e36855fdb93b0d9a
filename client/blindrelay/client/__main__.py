"""python -m blindrelay.client is the command blindrelay."""

import sys

from blindrelay.client.cli import main

sys.exit(main())
