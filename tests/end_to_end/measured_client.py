"""A client process that sends and receives large bodies, and prints what memory that took.

    python measured_client.py CONNECTION UPLOAD_BYTES ANSWER_BYTES

Prints JSON: the SHA-256 of the upload here and at the provider, and the size of the response. The last field
is how many bytes the peak memory of the process grew after a small exchange.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2

from blindrelay.client import SealedTransport

BASE = "https://api.openai.com/v1"
PIECE = 65_536
HEAD = (
    b'--boundary\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n"
)
TAIL = b"\r\n--boundary--\r\n"


def main() -> None:
    connection, upload, answer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with SealedTransport(connection) as sealed, sealed.httpx2_client() as client:
        around = ask(client, 0)
        send(client, 1)
        before = peak()
        sent, seen = send(client, upload)
        received = ask(client, answer) - around
        print(json.dumps({"sent": sent, "seen": seen, "received": received, "growth": peak() - before}))


def send(client: httpx2.Client, size: int) -> tuple[str, str]:
    """Uploads a form that streams; returns the body's hash, here and at the provider."""
    digest = hashlib.sha256()

    def body() -> Iterator[bytes]:
        for piece in form(size):
            digest.update(piece)
            yield piece

    headers = {"content-type": "multipart/form-data; boundary=boundary"}
    answer = client.post(f"{BASE}/audio/transcriptions", content=body(), headers=headers)
    return digest.hexdigest(), answer.raise_for_status().json()["body_sha256"]


def form(size: int) -> Iterator[bytes]:
    yield HEAD
    for start in range(0, size, PIECE):
        yield b"\x5a" * min(PIECE, size - start)
    yield TAIL


def ask(client: httpx2.Client, size: int) -> int:
    """Streams a response that says "x" so many times; returns how many came."""
    question = {"model": "m", "messages": [], "scripted": {"answer_bytes": size}}
    with client.stream("POST", f"{BASE}/chat/completions", json=question) as answer:
        answer.raise_for_status()
        return sum(piece.count(b"x") for piece in answer.iter_raw())


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
