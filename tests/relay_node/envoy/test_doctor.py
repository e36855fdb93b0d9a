"""What doctor says about Envoy."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.relay_node.config import EnvoyConfig
from blindrelay.relay_node.doctor import check_envoy
from blindrelay.serving.doctor import CheckFailedError


def envoy_that_says(text: str, folder: Path) -> None:
    program = folder / "envoy"
    program.write_text(f"#!/bin/sh\necho '{text}'\n")
    program.chmod(0o755)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EnvoyConfig:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return EnvoyConfig(tmp_path / "folder")


@pytest.mark.parametrize("version", ["1.40.0", "1.41.2", "2.0.0"])
def test_new_envoy_is_found(config: EnvoyConfig, tmp_path: Path, version: str) -> None:
    envoy_that_says(f"envoy  version: 0f1a/{version}/Clean/RELEASE/BoringSSL", tmp_path)
    assert check_envoy(config) == f"Envoy {version.rpartition('.')[0]} can be run"


@pytest.mark.parametrize("said", ["envoy  version: 0f1a/1.39.9/Clean/RELEASE/BoringSSL", "something else"])
def test_old_envoy_fails(config: EnvoyConfig, tmp_path: Path, said: str) -> None:
    envoy_that_says(said, tmp_path)
    with pytest.raises(CheckFailedError, match="too old"):
        check_envoy(config)


def test_missing_envoy_fails(config: EnvoyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CheckFailedError, match="not in PATH"):
        check_envoy(config)


def test_folder_that_is_open_to_others_fails(config: EnvoyConfig) -> None:
    config.folder.mkdir(mode=0o755)
    with pytest.raises(CheckFailedError, match="not a private folder"):
        check_envoy(config)
