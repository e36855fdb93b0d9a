"""aimock, a mock of many providers' APIs, as a process on a free port of loopback.

Its answers are in fixtures/. It is an npm package, which `make .npm/aimock/ready` installs.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.patience import PATIENCE

_FOLDER: Final = Path(__file__).parent
INSTALLED: Final = _FOLDER.parents[1] / ".npm" / "aimock"


class Aimock:
    """A running one.

    Attributes:
        url: where it listens: "http://127.0.0.1:PORT".
        mistral: where it answers as Mistral, at paths that are OpenAI's elsewhere.
    """

    def __init__(self, url: str, mistral: str) -> None:
        self.url = url
        self.mistral = mistral
        self._http = httpx.Client(trust_env=False, timeout=PATIENCE)

    def requests(self, path: str) -> list[dict[str, Any]]:
        """What was received at this path, oldest first: method, path, headers, body, response."""
        return self._journal(self.url, path)

    def mistrals(self, path: str) -> list[dict[str, Any]]:
        """What was received as Mistral."""
        return self._journal(self.mistral, path)

    def _journal(self, url: str, path: str) -> list[dict[str, Any]]:
        answer = self._http.get(f"{url}/__aimock/journal", params={"path": path})
        entries: list[dict[str, Any]] = answer.raise_for_status().json()
        return entries

    def close(self) -> None:
        self._http.close()


@contextmanager
def running_aimock(installed: Path = INSTALLED) -> Iterator[Aimock]:
    """Starts one. It ends with the block, and with this process whatever ends it: it watches its stdin."""
    process = subprocess.Popen(
        ["node", str(_FOLDER / "serve.mjs"), str(installed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        aimock = Aimock(**json.loads(process.stdout.readline()))
        try:
            yield aimock
        finally:
            aimock.close()
            process.stdin.close()
            process.wait(PATIENCE)


@pytest.fixture(scope="session")
def aimock() -> Iterator[Aimock]:
    """Skips where npm has not installed it, but not in continuous integration."""
    if not (INSTALLED / "ready").exists():
        message = "aimock is not installed: make .npm/aimock/ready"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with running_aimock() as aimock:
        yield aimock
