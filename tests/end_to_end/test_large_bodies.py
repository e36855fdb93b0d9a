"""Large bodies stream through client and relay in bounded memory. Too large ones are refused.

python -m tests.end_to_end.test_large_bodies CONNECTION UPLOAD_BYTES ANSWER_BYTES is the client.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
API = "https://api.openai.com/v1"
MIB = 1024 * 1024
UPLOAD = 16 * MIB
ANSWER = 64 * MIB
LIMIT = 32 * MIB
"""Bytes of a request body that a bridge accepts by default."""
ROOM = 12 * MIB
"""The peak may grow by the buffers of gRPC, which are some 3 MiB. A buffered body would be more."""

FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n', b"\r\n--x--\r\n"
IMAGE = (
    b'{"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", '
    b'"image_url": {"url": "data:image/png;base64,',
    b'"}}]}]}',
)


def filled(ends: tuple[bytes, bytes], size: int) -> Iterator[bytes]:
    """A body of so many bytes, in pieces."""
    yield ends[0]
    left = size - len(b"".join(ends))
    for start in range(0, left, 65_536):
        yield b"A" * min(65_536, left - start)
    yield ends[1]


def peak(process: int | str) -> int:
    """The most memory that a process has had, in bytes."""
    return int(Path(f"/proc/{process}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def main(connection: str, upload: str, answer: str) -> None:
    """Prints what was sent and received, and how much this process grew after a small exchange."""
    with SealedTransport(connection) as sealed, sealed.httpx2_client(timeout=PATIENCE) as client:
        around = asked(client, 0)
        send(client, 1_000)
        before = peak("self")
        sent, seen = send(client, int(upload))
        received = asked(client, int(answer)) - around
        print(json.dumps({"sent": sent, "seen": seen, "received": received, "growth": peak("self") - before}))


def send(client: httpx2.Client, size: int) -> tuple[str, str]:
    """Uploads a form that streams; returns the body's hash, here and at the provider."""
    digest = hashlib.sha256()

    def body() -> Iterator[bytes]:
        for piece in filled(FORM, size):
            digest.update(piece)
            yield piece

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post(f"{API}/audio/transcriptions", content=body(), headers=headers)
    return digest.hexdigest(), answer.raise_for_status().json()["body_sha256"]


def asked(client: httpx2.Client, size: int) -> int:
    """Streams a response that says "x" so many times; returns how many came."""
    question = {"model": "m", "messages": [], "scripted": {"answer_bytes": size}}
    with client.stream("POST", f"{API}/chat/completions", json=question) as answer:
        return sum(piece.count(b"x") for piece in answer.raise_for_status().iter_raw())


def run_client(bed: Testbed, upload: int, answer: int) -> Any:
    command = [
        sys.executable,
        "-m",
        "tests.end_to_end.test_large_bodies",
        bed.relay,
        f"{upload}",
        f"{answer}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read in /proc")
def test_large_bodies_pass_in_bounded_memory() -> None:
    with Testbed("scripted") as bed:
        run_client(bed, 1_000, 1)
        before = peak(bed.pids["relay"])
        result = run_client(bed, UPLOAD, ANSWER)
        assert peak(bed.pids["relay"]) - before < ROOM
    assert (result["sent"], result["received"]) == (result["seen"], ANSWER)
    assert result["growth"] < ROOM


def test_body_limit_is_exact(scripted: SealedTransport) -> None:
    url, headers = f"{API}/chat/completions", {"content-type": "application/json"}
    with scripted.httpx2_client() as client:
        bodies = (filled(IMAGE, LIMIT + more) for more in (0, 1))
        within, beyond = (client.post(url, content=body, headers=headers) for body in bodies)
    assert (within.status_code, "x-blindrelay-error" in within.headers) == (200, False)
    assert (beyond.status_code, beyond.headers["x-blindrelay-error"]) == (413, "bridge/too_large")
    assert beyond.headers["x-should-retry"] == "false"


if __name__ == "__main__":
    main(*sys.argv[1:])
