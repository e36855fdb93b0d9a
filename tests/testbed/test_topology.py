"""A testbed as a whole: everything is up on entering, and nothing is left on leaving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import (
    Direction,
    PartDiedError,
    Testbed,
    TestbedError,
    UnavailableError,
)

URL = "https://api.openai.com/v1/chat/completions"
ANSWER = "This answer was written before the question was asked."
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "the secret question"}]}


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed("scripted", replicas=2, tap=100_000) as bed:
        yield bed


def _response(connection: str) -> str:
    with SealedTransport(connection) as sealed, sealed.httpx2_client() as client:
        answer = client.post(URL, json=QUESTION)
    return str(answer.raise_for_status().json()["choices"][0]["message"]["content"])


def test_tap_shows_what_passes_the_relay_sealed(bed: Testbed) -> None:
    """A client needs only the connection string; a direct connection does not pass the relay."""
    before = len(bed.forwarded)
    assert _response(bed.direct) == ANSWER
    assert len(bed.forwarded) == before
    assert _response(bed.relay) == ANSWER
    opened, *messages = bed.forwarded[before:]
    assert opened.direction is Direction.OPEN
    assert list(opened.metadata) == ["blindrelay-envelope-bin"]
    assert {message.direction for message in messages} == {Direction.UP, Direction.DOWN}
    assert {message.exchange for message in messages} == {opened.exchange}
    passed = b"".join(bytes.fromhex(message.first) for message in messages)
    assert len(passed) == sum(message.size for message in messages)
    for word in ("the secret question", ANSWER, "chat/completions", "api.openai.com", bed.token):
        assert word.encode() not in passed


def test_stopped_or_failed_testbed_leaves_no_process_and_no_folder() -> None:
    failed = Testbed("scripted", relay_options={"colour": "blue"})
    with pytest.raises(PartDiedError, match=r"relay ended with exit code 2(.|\n)*colour"):
        failed.up()
    assert not any(part.is_running for part in failed.parts.values())
    with Testbed("scripted") as bed:
        assert list(bed.pids) == ["provider", "bridge", "relay"]
        folder, parts = bed.folder, bed.parts.values()
    assert not any(part.is_running for part in parts)
    assert not folder.exists()
    with pytest.raises(TestbedError, match="not up"):
        _ = bed.folder


def test_provider_that_is_unknown_or_has_no_key_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UnavailableError, match="set OPENAI_API_KEY"):
        Testbed("openai")
    with pytest.raises(TestbedError, match="there is no provider 'llama'"):
        Testbed("llama")  # type: ignore[arg-type]


def test_openai_is_called_with_its_key_and_has_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    with Testbed("openai") as bed:
        assert list(bed.pids) == ["bridge", "relay"]
        config = (bed.folder / "bridge.toml").read_text()
        assert 'credential = { env = "OPENAI_API_KEY" }' in config
        assert not any(word in config for word in ("target", "sk-of-a-test"))
        with pytest.raises(TestbedError, match="not a local provider"):
            _ = bed.provider
