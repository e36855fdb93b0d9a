"""Keys of your own for several providers, at the one address that takes several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from blindrelay.client import ConfigurationError, ConnectionConfig
from blindrelay.client.request_head import request_head

from .conftest import BROUGHT, RELAY

MODELS = "https://models.blindrelay.internal"
KEYS = (("openai", "sk-one"), ("anthropic", "sk-two"))
SEVERAL = replace(BROUGHT, keys=KEYS)
SDK = {"authorization": "Bearer any", "x-api-key": "any", "idempotency-key": "stainless-python-retry-1"}


def sent(url: str, config: ConnectionConfig = SEVERAL, **more: str) -> dict[bytes, list[bytes]]:
    """The headers that are sealed, by name."""
    headers = SDK | {name.replace("_", "-"): value for name, value in more.items()}
    head = request_head(httpx2.Request("POST", url, headers=headers), config)
    names = {header.name for header in head.headers}
    return {name: [header.value for header in head.headers if header.name == name] for name in names}


@pytest.mark.parametrize(
    "url", [f"{MODELS}/v1/responses", f"{MODELS}/anthropic/v1/messages", f"{MODELS}:443/v1"]
)
def test_all_keys_go_to_the_address_of_all_models_in_place_of_the_sdks(url: str) -> None:
    headers = sent(url)
    assert sorted(headers[b"blindrelay-credential"]) == [b"anthropic sk-two", b"openai sk-one"]
    assert not {name.encode() for name in SDK} & headers.keys()


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1/responses",
        "https://models.blindrelay.internal.example/v1/responses",
        "http://models.blindrelay.internal/v1/responses",
        f"{MODELS}:8443/v1/responses",
    ],
)
def test_no_key_goes_to_any_other_address(url: str) -> None:
    headers = sent(url)
    assert b"blindrelay-credential" not in headers
    assert headers[b"authorization"] == [b"Bearer any"]


def test_key_that_a_program_gives_itself_replaces_the_sdks() -> None:
    headers = sent(f"{MODELS}/v1/responses", BROUGHT, blindrelay_credential="openai sk-one")
    assert headers[b"blindrelay-credential"] == [b"openai sk-one"]
    assert not {name.encode() for name in SDK} & headers.keys()


def test_without_keys_the_sdks_own_is_sent() -> None:
    assert sent(f"{MODELS}/v1/responses", BROUGHT)[b"authorization"] == [b"Bearer any"]


def test_keys_come_from_a_private_file_and_are_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# mine\n\nopenai sk-one\r\n  anthropic\tsk-two  \n")
    file.chmod(0o600)
    profile = tmp_path / "config.toml"
    profile.write_text(
        f'[profiles.default]\nrelay = "r"\nbridge = "{RELAY.partition("bridge=")[2]}"\n'
        'credentials = "brought"\nkeys = "keys"\nprovider = "models"\n'
    )
    connection = ConnectionConfig.from_profile(profile, "default")
    assert (connection.keys, connection.provider) == (KEYS, "models")
    assert "sk-" not in repr(connection)
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        ConnectionConfig.from_profile(profile, "default")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("openai\n", "&credentials=brought", "line 1 of .* is not"),
        ("# a\nopenai sk-secret more\n", "&credentials=brought", "line 2 of .* is not"),
        ("openai sk-sécret\n", "&credentials=brought", "line 1 of .* is not"),
        ("openai sk-one\nopenai sk-secret\n", "&credentials=brought", "two keys for openai"),
        ("open/ai sk-secret\n", "&credentials=brought", "line 1 of .* is not"),
        ("# none\n", "&credentials=brought", "has no line"),
        ("openai sk-secret\n", "", "add credentials=brought"),
    ],
)
def test_file_that_is_wrong(text: str, options: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigurationError, match=message) as raised:
        ConnectionConfig.from_string(f"{RELAY}&keys={file}{options}")
    assert "cret" not in str(raised.value)
