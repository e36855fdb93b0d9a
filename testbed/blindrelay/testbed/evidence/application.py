"""Applications of an evidence run: processes that send requests through a relay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any

from blindrelay.testbed.evidence.asker import Asker
from blindrelay.testbed.evidence.plan import Request


class Application:
    """A process that runs driver.py for an asker."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "blindrelay.testbed.evidence.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **asker.environment},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, to: str, requests: Sequence[Request]) -> None:
        """Tells it to send requests; answered() waits until they have ended."""
        headed = [{**each, "headers": self._asker.headers | each["headers"]} for each in requests]
        self._write({"to": to, "requests": headed})

    def release(self) -> None:
        """Tells it to read to the end what it holds; answered() waits for that."""
        self._write({})

    def answered(self) -> dict[str, int]:
        """How many of the exchanges have ended, or begun where they are held, in which way."""
        output: IO[str] | None = self._process.stdout
        line = output.readline() if output is not None else ""
        if not line:
            raise RuntimeError("the application of the evidence run has died")
        ends: dict[str, int] = json.loads(line)
        return ends

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _write(self, order: dict[str, Any]) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the application of the evidence run has died")
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
