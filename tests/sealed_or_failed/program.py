"""A program for `blindrelay run`: it goes where the environment says, and then past it.

python -m tests.sealed_or_failed.program CANARIES, which are JSON; prints how it went, as JSON.
"""

from __future__ import annotations

import json
import os
import sys

import httpx

from .canaries import Canaries
from .content import ORIGIN, endings


def main() -> None:
    canaries = Canaries(**json.loads(sys.argv[1]))
    sealed = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
    with httpx.Client(timeout=20) as client:
        ends = endings(client, sealed, canaries)
        past = [
            each
            for base in (ORIGIN, ORIGIN.replace("https", "http"))
            for each in endings(client, base, canaries)
        ]
    print(json.dumps({"program": ends, "past the endpoint": past}))


if __name__ == "__main__":
    main()
