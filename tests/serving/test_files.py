"""Secrets are read from files that nobody else can read, by a path or from the credential directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.serving import ConfigError, read_bytes, read_config, read_secret


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_secret_may_be_readable_for_its_owner_and_group(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s")
    secret.chmod(mode)
    assert read_secret(secret, "key") == b"s"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o601, 0o660, 0o777])
def test_a_secret_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s")
    secret.chmod(mode)
    with pytest.raises(ConfigError) as failure:
        read_secret(secret, "key")
    assert str(failure.value) == f"{secret}: the key is open to others (mode {mode:04o}); run chmod 600 on it"
    assert read_bytes(secret, "certificate") == b"s"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent: the key does not exist"):
        read_secret(tmp_path / "absent", "key")
    with pytest.raises(ConfigError, match="the key cannot be read"):
        read_secret(tmp_path, "key")


def read_path(folder: Path, value: str) -> Path:
    """What a configuration makes of a path."""
    file = folder / "some.toml"
    file.write_text(f'key = "{value}"\n')
    return read_config(file, lambda table: table.path("key"))


def test_credentials_are_in_the_credential_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/relay")
    assert read_path(tmp_path, "credential:tls.key") == Path("/run/credentials/relay/tls.key")
    assert read_path(tmp_path, "./credential:tls.key") == tmp_path / "credential:tls.key"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "../a"])
def test_a_credential_is_one_file_of_that_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"some\.toml: key = .* does not name a file in the credential directory"
    ):
        read_path(tmp_path, f"credential:{name}")


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_credential_directory_the_error_says_what_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if value is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", value)
    with pytest.raises(ConfigError, match=r"CREDENTIALS_DIRECTORY, which is not set.*LoadCredential=tls:"):
        read_path(tmp_path, "credential:tls")
