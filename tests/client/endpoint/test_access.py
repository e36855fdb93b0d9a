"""Who may use the endpoint: programs with its token, but no web page; and where the token is kept."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blindrelay.client import ConfigurationError
from blindrelay.client.endpoint import local_token
from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.refusal import RefusedError

from ..conftest import ScriptedBridge
from .conftest import Endpoint, running


@pytest.mark.parametrize(
    "header", ["x-blindrelay-token", "x-api-key", "x-goog-api-key", "api-key", "authorization"]
)
def test_token_is_accepted_in_every_key_header(bridged: Endpoint, header: str) -> None:
    for value in (bridged.token, f"Bearer {bridged.token}", f"bearer  {bridged.token}"):
        with bridged.client(headers={header: value}) as client:
            assert client.post("/v1/chat/completions", json={}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/messages", "/anything"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer brl_wrong"}, {"authorization": "Basic eDp5"}, {"x-api-key": "ä"}],
)
def test_without_the_token_nothing_leaves(
    bridged: Endpoint, bridge: ScriptedBridge, path: str, headers: dict[str, str]
) -> None:
    with bridged.client(headers={name: value.encode() for name, value in headers.items()}) as client:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["x-blindrelay-error"]) == (401, "endpoint/local_token")
        assert answer.headers["x-should-retry"] == "false"
        assert client.get(f"/brl_wrong{path}").status_code == 401
        assert client.get("/").status_code == 200
        assert client.get("/healthz").json() == {"status": "ok"}
    assert not bridge.received


@pytest.mark.parametrize("path", ["/v1/models", "/", "/healthz"])
@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("host", "evil.example", False),
        ("host", "evil.example:{port}", False),
        ("host", "127.0.0.1.evil.example:{port}", False),
        ("host", "127.0.0.1:1", False),
        ("host", "127.0.0.1", False),
        ("host", "192.0.2.1:{port}", False),
        ("host", "LOCALHOST:{port}", True),
        ("host", "[::1]:{port}", True),
        ("origin", "https://evil.example", False),
        ("origin", "http://127.0.0.1:1", False),
        ("origin", "https://127.0.0.1:{port}", False),
        ("origin", "null", False),
        ("origin", "http://127.0.0.1:{port}", True),
    ],
)
def test_web_pages_are_refused(
    bridged: Endpoint, bridge: ScriptedBridge, name: str, value: str, passes: bool, path: str
) -> None:
    """Even with the token, and under a name that resolves to loopback."""
    with bridged.client() as client:
        answer = client.get(path, headers={name: value.format(port=bridged.port)})
    if passes:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.headers["x-blindrelay-error"]) == (403, f"endpoint/{name}")
        assert not any(header.startswith("access-control-") for header in answer.headers)
        assert not bridge.received


def test_other_interfaces_accept_addresses_but_not_names() -> None:
    access = Access("brl_t", 80, open_to_others=True)
    access.check_names([(b"host", b"192.0.2.1")])
    for wrong in ([(b"host", b"evil.example")], [], [(b"host", b"192.0.2.1"), (b"host", b"192.0.2.1")]):
        with pytest.raises(RefusedError):
            access.check_names(wrong)


def test_allowed_host_needs_the_endpoints_port(bridge: ScriptedBridge, tmp_path: Path) -> None:
    name = "host.docker.internal"
    with running(bridge.connection, tmp_path, "--allow-host", name) as endpoint, endpoint.client() as client:
        for host, status in [
            (f"{name}:{endpoint.port}", 200),
            (f"{name.upper()}:{endpoint.port}", 200),
            (name, 403),
            (f"{name}:1", 403),
            (f"{name}.evil.example:{endpoint.port}", 403),
            (f"evil.{name}:{endpoint.port}", 403),
        ]:
            assert client.get("/v1/models", headers={"host": host}).status_code == status
        own = {"host": f"{name}:{endpoint.port}", "origin": f"http://localhost:{endpoint.port}"}
        assert client.get("/v1/models", headers=own).status_code == 403


@pytest.fixture(scope="module")
def brought(shared_bridge: ScriptedBridge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """With credentials=brought."""
    connection = f"{shared_bridge.connection}&credentials=brought"
    with running(connection, tmp_path_factory.mktemp("brought")) as endpoint:
        yield endpoint


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        ("/grok/chat/completions", False),
        ("/api/chat", False),
        ("/grok", False),
        ("/unheard-of/openai/v1/chat/completions", False),
        ("/mistral/v1/chat/completions", True),
    ],
)
def test_own_key_goes_only_to_a_named_provider(
    brought: Endpoint, bridge: ScriptedBridge, path: str, passes: bool
) -> None:
    for before, token in [("", {"x-blindrelay-token": brought.token}), (f"/{brought.token}", {})]:
        with brought.client(headers={"authorization": "Bearer sk-own"} | token) as client:
            answer = client.post(before + path, json={"prompt": "secret"})
        assert answer.status_code == (200 if passes else 404)
        if not passes:
            assert answer.headers["x-blindrelay-error"] == "endpoint/unknown_path"
            assert repr(path.split("/")[1]) in answer.json()["error"]["message"]
    urls = {each.head.url for each in bridge.received}
    assert urls == ({"https://api.mistral.ai/v1/chat/completions"} if passes else set())


def test_own_key_passes_and_the_token_does_not(brought: Endpoint, bridge: ScriptedBridge) -> None:
    own, token = {"authorization": "Bearer sk-own"}, brought.token
    for headers, path, status in [
        ({"x-blindrelay-token": token}, "/v1/models", 200),
        ({"x-api-key": token}, "/v1/models", 200),
        ({}, f"/{token}/v1/models", 200),
        ({}, "/v1/models", 401),
    ]:
        with brought.client(headers=own | headers) as client:
            assert client.get(path).status_code == status
    assert len(bridge.received) == 3
    for received in bridge.received:
        assert received.headers[b"authorization"] == b"Bearer sk-own"
        assert token.encode() not in received.head.SerializeToString()


def test_token_is_created_once_and_is_private(tmp_path: Path) -> None:
    first, second = local_token(tmp_path / "state"), local_token(tmp_path / "state")
    assert (first.is_new, second.is_new) == (True, False)
    assert first.text == second.text
    assert first.text not in repr(first)
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert list((tmp_path / "state").iterdir()) == [first.path]


def link(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.chmod(0o640), "open to others"),
        (lambda path: path.chmod(0o604), "open to others"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(b"brl_short"), "damaged"),
        (lambda path: path.write_bytes(b"x" * 1_000), "damaged"),
        (lambda path: path.write_bytes(b"\xff" * 47), "damaged"),
        (link, "endpoint-token"),
    ],
)
def test_token_that_others_know_or_could_have_written_is_rejected(
    harm: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    harm(local_token(tmp_path).path)
    with pytest.raises(ConfigurationError, match=message):
        local_token(tmp_path)
