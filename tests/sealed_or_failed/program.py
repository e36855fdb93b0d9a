"""A program for `blindrelay run`: it uses the endpoint of its environment, then bypasses it.

python -m tests.sealed_or_failed.program CANARIES takes the words as JSON and prints the ends as JSON.
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
