"""What `blindrelay-bridge import` writes, and what it never does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blindrelay.provider_bridge import read_bridge_config

from .conftest import Import, Result
from .test_litellm import WHOLE
from .test_new_api import channel

CHANNELS = json.dumps([channel(), channel(id=2, type=14, models="claude")])


def check_mistake(result: Result, complaint: str) -> None:
    """One line, and nothing is written."""
    assert (result.code, result.config) == (2, {})
    assert complaint in result.notes[-1]


@pytest.mark.parametrize("text", [WHOLE, CHANNELS], ids=["LiteLLM", "new-api"])
def test_bridge_reads_what_was_written(text: str, run_import: Import) -> None:
    folder = run_import(text).folder
    keys = dict.fromkeys(("AZURE", "OPENAI_KEY", "ANTHROPIC_API_KEY"), "sk-test")
    config = read_bridge_config(folder / "bridge.toml", keys)
    assert "anthropic" in [provider.name for provider in config.providers]


@pytest.mark.parametrize("existing", ["bridge.toml", "openai-2.key"])
def test_no_file_is_replaced(existing: str, tmp_path: Path, run_import: Import) -> None:
    (tmp_path / existing).write_text("# mine\n")
    result = run_import(WHOLE)
    assert result.code == 2
    assert f"{existing} exists" in result.notes[-1]
    assert (tmp_path / existing).read_text() == "# mine\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["given", existing])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2", "neither JSON nor YAML"),
        ("api_key: 'sk-secret\nmodel_list: \"", "neither JSON nor YAML: see line"),
        ("models: []", "neither LiteLLM's model_list nor a list of new-api's channels"),
        ("just text", "neither LiteLLM's model_list nor a list of new-api's channels"),
        ("model_list: []", "nothing in it could be taken"),
        ("[1]", "nothing in it could be taken"),
        ("model_list: [1, null]", "nothing in it could be taken"),
    ],
)
def test_file_that_cannot_be_imported(text: str, complaint: str, run_import: Import) -> None:
    result = run_import(text)
    check_mistake(result, complaint)
    assert "sk-secret" not in "".join(result.notes)
