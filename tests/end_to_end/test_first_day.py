"""What goes wrong on a first day: each with one clear line, and nothing sent where nothing may be sent."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from anthropic import Anthropic, PermissionDeniedError
from openai import APIConnectionError, AuthenticationError, BadRequestError, OpenAI

from blindrelay.client import BlindRelayError, SealedTransport
from blindrelay.testbed import Testbed
from blindrelay.trust import IdentityKey, format_identity

URL = "https://api.openai.com/v1/chat/completions"
QUESTION: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
HOUR = 3_600
OTHER_IDENTITY = format_identity(IdentityKey.from_seed(bytes(32)).public_key)
SOON = 15.0
"""Seconds in which every mistake is told. Most take milliseconds; a connect timeout takes five seconds."""


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """One with parts that may be stopped."""
    with Testbed("scripted") as bed:
        yield bed


@pytest.fixture
def without(bed: Testbed, request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """The same without one part."""
    bed.stop(request.param)
    yield bed
    bed.start(request.param)
    bed.wait_until_ready()


def complaint(
    sealed: SealedTransport, url: str = URL, body: dict[str, Any] | None = None, method: str = "POST"
) -> tuple[str, str]:
    """Where an error comes from and its words, whether it is raised or answered."""
    started = time.monotonic()
    with sealed, sealed.httpx2_client() as client:
        try:
            answer = client.request(method, url, json=body or QUESTION)
        except httpx2.TransportError as raised:
            error = cast(BlindRelayError, raised)
            told = f"{error.origin}/{error.kind}", str(error)
        else:
            assert answer.headers["x-should-retry"] == "false"
            told = answer.headers["x-blindrelay-error"], str(answer.json()["error"]["message"])
    assert time.monotonic() - started < SOON
    assert told[1]
    assert "\n" not in told[1]
    return told


def test_unknown_token_is_refused(bed: Testbed) -> None:
    sealed = SealedTransport(bed.relay.replace(bed.token, "brt_" + "A" * 43))
    origin, words = complaint(sealed)
    assert origin == "relay/token_unknown"
    assert "does not know this access token" in words
    assert "AAAA" not in words


@pytest.mark.parametrize(
    ("without", "origin", "words"),
    [
        ("relay", "relay/relay_unreachable", "no connection to the relay"),
        ("bridge", "relay/bridge_unavailable", "could not reach the bridge"),
        ("provider", "bridge/provider_unreachable", "the bridge answered: the provider could not be reached"),
    ],
    indirect=["without"],
)
def test_stopped_part_is_named(without: Testbed, origin: str, words: str) -> None:
    told = complaint(SealedTransport(without.relay))
    assert told[0] == origin
    assert words in told[1]


def test_sdks_show_the_error_and_do_not_retry(bed: Testbed) -> None:
    unknown = SealedTransport(bed.relay.replace(bed.token, "brt_" + "A" * 43))
    with pytest.raises(AuthenticationError, match="does not know this access token"):
        OpenAI(api_key="none", http_client=unknown.httpx2_client()).models.list()
    sealed = SealedTransport(bed.relay)
    client = OpenAI(api_key="none", http_client=sealed.httpx2_client())
    with pytest.raises(BadRequestError, match="store"):
        client.responses.create(model="m", input="Hello.", store=True)
    with pytest.raises(PermissionDeniedError, match="BlindRelay"):
        Anthropic(api_key="none", http_client=sealed.httpx2_client()).beta.files.list()
    seen = httpx2.get(f"{bed.provider}/scripted/requests").json()
    assert all(entry["path"] == "/v1/chat/completions" for entry in seen)


@pytest.mark.parametrize("without", ["relay"], indirect=True)
def test_sdk_error_has_ours_as_its_cause(without: Testbed) -> None:
    sealed = SealedTransport(without.relay)
    client = OpenAI(api_key="none", http_client=sealed.httpx2_client(), max_retries=0)
    with pytest.raises(APIConnectionError) as raised:
        client.models.list()
    assert isinstance(raised.value.__cause__, BlindRelayError)
    assert "no connection to the relay" in str(raised.value.__cause__)


@pytest.mark.parametrize("part", ["relay", "bridge"])
def test_taken_port_is_reported(bed: Testbed, part: str) -> None:
    config = bed.folder / f"{part}-again.toml"
    listening = f'listen = "{bed.parts[part].listening}"'
    config.write_text(re.sub("listen = .*", listening, (bed.folder / f"{part}.toml").read_text()))
    code, words = _serve(part, config)
    assert code == 1
    assert "the port is taken" in words


@pytest.mark.parametrize(("part", "file"), [("relay", "tokens"), ("bridge", "identity.key")])
def test_unreadable_key_file_is_named(bed: Testbed, tmp_path: Path, part: str, file: str) -> None:
    config = tmp_path / f"{part}.toml"
    for path in bed.folder.glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / file).mkdir()
    code, words = _serve(part, config)
    assert code == 2
    assert str(tmp_path / file) in words


def _serve(part: str, config: Path) -> tuple[int, str]:
    """The exit code and the one line of a part that cannot serve."""
    module = {"relay": "blindrelay.relay_node", "bridge": "blindrelay.provider_bridge"}[part]
    command = [sys.executable, "-m", module, "serve", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == ""
    *records, line = done.stderr.splitlines()
    assert line.startswith(f"blindrelay-{part}: ")
    # Of what it did before it failed, it may have kept records; never a traceback.
    assert all(record.startswith(("{", "20")) for record in records)
    return done.returncode, line
