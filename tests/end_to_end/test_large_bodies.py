"""Large bodies stream through client and relay in bounded memory. Too large ones are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

MIB = 1024 * 1024
UPLOAD = 16 * MIB
ANSWER = 64 * MIB
LIMIT = 32 * MIB
"""Bytes of a request body that a bridge accepts by default."""
ROOM = 8 * MIB
"""The peak may grow by the buffers of gRPC. A buffered body would be more."""

BEFORE = (
    b'{"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", '
    b'"image_url": {"url": "data:image/png;base64,'
)
AFTER = b'"}}]}]}'

CLIENT = Path(__file__).with_name("measured_client.py")

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read in /proc")


@pytest.fixture
def bed() -> Iterator[Testbed]:
    with Testbed("scripted") as bed:
        yield bed


def _run_client(bed: Testbed, upload: int, answer: int) -> dict[str, str | int]:
    command = [sys.executable, str(CLIENT), bed.relay, str(upload), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    result: dict[str, str | int] = json.loads(done.stdout)
    return result


def _peak(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def test_large_bodies_pass_in_bounded_memory(bed: Testbed) -> None:
    _run_client(bed, 1, 1)
    before = _peak(bed.pids["relay"])
    result = _run_client(bed, UPLOAD, ANSWER)
    assert result["sent"] == result["seen"]
    assert result["received"] == ANSWER
    assert int(result["growth"]) < ROOM
    assert _peak(bed.pids["relay"]) - before < ROOM


def image(size: int) -> Iterator[bytes]:
    """A question with a picture in it, of so many bytes."""
    yield BEFORE
    left = size - len(BEFORE) - len(AFTER)
    while left:
        piece = b"A" * min(left, MIB)
        yield piece
        left -= len(piece)
    yield AFTER


def test_body_limit_is_exact(scripted: SealedTransport) -> None:
    url, headers = "https://api.openai.com/v1/chat/completions", {"content-type": "application/json"}
    with scripted.httpx2_client() as client:
        within, beyond = (client.post(url, content=image(LIMIT + more), headers=headers) for more in (0, 1))
    assert (within.status_code, "x-blindrelay-error" in within.headers) == (200, False)
    assert (beyond.status_code, beyond.headers["x-blindrelay-error"]) == (413, "bridge/too_large")
    assert beyond.headers["x-should-retry"] == "false"
