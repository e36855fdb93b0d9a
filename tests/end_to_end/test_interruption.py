"""Leaving a stream, or Ctrl-C, ends everything at once, also the work of the provider."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from tests.patience import PATIENCE

ASKING = """
messages = [{"role": "user", "content": "Well?"}]
body = {"scripted": {"hold": "never-released"}}
options = {"model": "m", "messages": messages, "stream": True, "extra_body": body}
"""

SEALED = f"""
import asyncio, sys, threading
from openai import AsyncOpenAI, OpenAI
from blindrelay.client import SealedTransport
{ASKING}
def synchronous():
    client = OpenAI(api_key="none", http_client=SealedTransport.from_env().httpx2_client())
    for event in client.chat.completions.create(**options):
        print("begun", flush=True)
async def asynchronously():
    client = AsyncOpenAI(api_key="none", http_client=SealedTransport.from_env().async_httpx2_client())
    async for event in await client.chat.completions.create(**options):
        print("begun", flush=True)
def asynchronous():
    asyncio.run(asynchronously())
def threaded():
    threading.Thread(target=synchronous, daemon=True).start()
    threading.Event().wait()
globals()[sys.argv[1]]()
"""

UNSEALED = f"""
from openai import OpenAI
{ASKING}
for event in OpenAI().chat.completions.create(**options):
    print("begun", flush=True)
"""

HELD = {"model": "m", "messages": [], "stream": True, "scripted": {"hold": "never-released"}}
PYTHON = [sys.executable, "-c"]
BLINDRELAY = [sys.executable, "-m", "blindrelay.client"]


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed("scripted") as bed:
        yield bed


def outcomes(bed: Testbed) -> list[str]:
    url = f"{bed.provider}/scripted/requests"
    asked = httpx.get(url, trust_env=False, timeout=PATIENCE).json()
    return [each["outcome"] for each in asked if each["path"] == "/v1/chat/completions"]


def started(bed: Testbed, command: Sequence[str], state: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"BLINDRELAY_CONNECTION": bed.relay, "BLINDRELAY_STATE": str(state)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    "command",
    [
        [*PYTHON, SEALED, "synchronous"],
        [*PYTHON, SEALED, "asynchronous"],
        [*PYTHON, SEALED, "threaded"],
        [*BLINDRELAY, "run", "--", *PYTHON, UNSEALED],
    ],
    ids=["synchronous", "asynchronous", "threaded", "through run"],
)
def test_ctrl_c_ends_the_providers_work(bed: Testbed, command: Sequence[str], tmp_path: Path) -> None:
    before, process = len(outcomes(bed)), started(bed, command, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    assert outcomes(bed)[before:] == ["open"]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    assert "KeyboardInterrupt" in err.decode().splitlines()
    assert b"Exception ignored" not in err
    ends(bed, before)


def test_ctrl_c_at_the_endpoint_ends_the_providers_work(bed: Testbed, tmp_path: Path) -> None:
    before = len(outcomes(bed))
    process = started(bed, [*BLINDRELAY, "proxy", "--port", "0"], tmp_path)
    assert process.stdout is not None
    url = process.stdout.readline().split()[2].decode()
    token = (tmp_path / "endpoint-token").read_text().strip()
    headers = {"authorization": f"Bearer {token}"}
    with (
        httpx.Client(trust_env=False, headers=headers, timeout=PATIENCE) as program,
        program.stream("POST", f"{url}/v1/chat/completions", json=HELD) as answer,
    ):
        pieces = answer.iter_raw()
        assert next(pieces)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (130, b"")
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    ends(bed, before)


def test_leaving_a_stream_ends_the_providers_work(bed: Testbed) -> None:
    before = len(outcomes(bed))
    with (
        SealedTransport(bed.relay) as sealed,
        sealed.httpx_client(base_url="https://api.openai.com") as client,
        client.stream("POST", "/v1/chat/completions", json=HELD) as answer,
    ):
        assert next(answer.iter_raw())
        assert outcomes(bed)[before:] == ["open"]
    ends(bed, before)


def ends(bed: Testbed, before: int) -> None:
    """Waits until the provider has noticed that its only request was abandoned."""
    deadline = time.monotonic() + PATIENCE
    while outcomes(bed)[before:] != ["abandoned"]:
        assert time.monotonic() < deadline, outcomes(bed)[before:]
        time.sleep(0.02)
