"""The real client and the real bridge, with Envoy between them and a ledger beside it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hyperframe.frame import HeadersFrame
from openai import OpenAI

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from blindrelay.testbed.configuration import official_providers
from blindrelay.testbed.evidence.canaries import Canaries
from blindrelay.testbed.evidence.facts import ENVOYS_STATISTICS
from blindrelay.testbed.evidence.forms import spellings, window
from blindrelay.testbed.evidence.memory import memory_of
from blindrelay.testbed.evidence.search import Needles
from blindrelay.testbed.evidence.traces import children_of, environment_of, files_below, written_files_of
from blindrelay.testbed.topology import BY_ENVOY
from tests.adversarial.h2_peer import header_block, peers
from tests.patience import PATIENCE

from ..client.endpoint.conftest import running
from ..provider_bridge.websocket_provider import WebSocketProvider
from .conftest import websocket

URL = "https://api.openai.com/v1/chat/completions"


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed("scripted", replicas=2, relay_start=BY_ENVOY, ledger=True) as bed:
        yield bed


@pytest.fixture
def sealed(bed: Testbed) -> Iterator[SealedTransport]:
    with SealedTransport(bed.relay) as sealed:
        yield sealed


def ask(client: OpenAI) -> None:
    """A whole answer, and one in pieces."""
    whole = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])
    assert whole.choices[0].message.content
    stream = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "?"}], stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


@pytest.mark.parametrize("shape", ["balanced", "off"])
def test_whole_and_streamed_answers(bed: Testbed, shape: str) -> None:
    with SealedTransport(f"{bed.relay}&shape={shape}") as sealed:
        client = OpenAI(api_key="none", http_client=sealed.httpx2_client(), max_retries=0)
        for _ in range(4):
            ask(client)


def test_upload_of_16_mib(sealed: SealedTransport) -> None:
    with sealed.httpx2_client(timeout=120) as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "x" * 16 * 2**20}]}
        assert client.post(URL, json=body).status_code == 200


def test_relay_starts_again_between_two_requests(bed: Testbed) -> None:
    """Envoy and its control process: the client gets new leases by itself, with the retries of its SDK."""
    with SealedTransport(bed.relay) as sealed:
        client = OpenAI(api_key="none", http_client=sealed.httpx2_client(), max_retries=8)
        ask(client)
        bed.restart("relay")
        bed.wait_until_ready()
        ask(client)


def test_books_balance(bed: Testbed, sealed: SealedTransport) -> None:
    """Each exchange is charged to the account that started it."""
    before = len(posted(bed))
    with sealed.httpx2_client() as client:
        for _ in range(5):
            body = {"model": "gpt-5.5", "messages": [], "scripted": {"text": "five words"}}
            assert client.post(URL, json=body).status_code == 200
    deadline = time.monotonic() + PATIENCE
    while len(posted(bed)) < before + 5 or (books := ledger(bed, "check"))["open"] or books["orphans"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert (books["balanced"], books["orphans"], books["contradictions"]) == (True, 0, 0)


def posted(bed: Testbed) -> list[dict[str, object]]:
    lines = ledger(bed, "statement", "testbed")["lines"]
    assert isinstance(lines, list)
    return [line for line in lines if line["state"] == "posted"]


def ledger(bed: Testbed, *command: str) -> dict[str, object]:
    """What a command of the ledger prints."""
    assert bed.ledger is not None
    line = (sys.executable, "-m", "blindrelay.ledger", *command, "--config", str(bed.ledger.config), "--json")
    printed: dict[str, object] = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
    return printed


async def test_envoys_memory_and_files_have_no_content(bed: Testbed) -> None:
    """Nor have those of the control process. What a client sends in clear is found."""
    canaries, in_clear = Canaries.fresh(), Canaries.fresh()["body"]
    pids = [bed.pids["relay"], *children_of(bed.pids["relay"])]
    assert any(b"/envoy\0-c\0" in environment_of(pid) for pid in pids)
    async with SealedTransport(bed.relay) as sealed, sealed.async_httpx2_client() as client:
        for _ in range(10):
            body = {
                "model": canaries["model name"],
                "messages": [{"role": "user", "content": canaries["body"]}],
            }
            headers = {"authorization": f"Bearer {canaries['provider key']}", "x-title": canaries["header"]}
            response = await client.post(URL, json=body, headers=headers)
            assert response.status_code == 200
        async with peers(bed.parts["relay"].listening, 1) as (peer,):
            await peer.send(HeadersFrame(peer.stream(), header_block([("user-agent", in_clear)])))
            await peer.answered()
            named = {"sealed": spell(canaries), "in clear": spellings(in_clear)}
            found = {name for pid in pids for name in searched(pid, Needles(named, window))}
    assert found == {"in clear"}
    assert [
        name for pid in pids for name in written_files_of(pid) if not name.startswith(ENVOYS_STATISTICS)
    ] == []
    files = [(path, data) for path, data in files_below(bed.folder / "envoy")]
    assert {path.name for path, _ in files} == {
        *("envoy.yaml", "admission.json", "clusters.json", "rates.json", "routes.json")
    }
    assert not any(bed.token.encode() in data for _, data in files)


def spell(canaries: Canaries) -> set[bytes]:
    return {spelling for word in canaries.words.values() for spelling in spellings(word)}


def searched(pid: int, needles: Needles) -> set[str]:
    return {name for piece in memory_of(pid, only_its_own=True) for name in needles.found_in(piece)}


@pytest.fixture
async def provider() -> AsyncIterator[WebSocketProvider]:
    async with WebSocketProvider().serving() as provider:
        yield provider


async def test_tunnel(provider: WebSocketProvider, tmp_path: Path) -> None:
    """With the relay's own tokens: there is no ledger."""
    providers = official_providers(provider.origin)
    bed = Testbed("scripted", providers=providers, relay_start=BY_ENVOY)
    await asyncio.to_thread(bed.up)
    try:
        with running(bed.relay, tmp_path) as endpoint:
            headers = {"authorization": f"Bearer {endpoint.token}"}
            address = endpoint.url.replace("http:", "ws:") + "/v1/realtime?model=m"
            async with websocket(address, additional_headers=headers) as connection:
                for size in (0, 125, 65_536, 1_000_000):
                    message = json.dumps({"type": "input_audio_buffer.append", "audio": "y" * size})
                    await connection.send(message)
                    assert await connection.recv() == message
    finally:
        await asyncio.to_thread(bed.down)
