"""Descriptions: how they are written, extended by an operator, and refused when they are wrong."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from blindrelay.provider_bridge.presets import presets
from blindrelay.provider_bridge.stateless.description import (
    Description,
    DescriptionError,
    api_description,
    read_description,
)
from blindrelay.provider_bridge.stateless.json_check import StoredObjectError, check_json

OPENAI = api_description("openai")
_PRESETS = tomllib.loads(files("blindrelay.provider_bridge").joinpath("presets.toml").read_text("utf-8"))


def judged(description: Description, body: Any, path: str = "/v1/chat/completions") -> None:
    rule = description.rule("bodies", path)
    assert rule is not None, path
    check_json(body, rule)


def read(folder: Path, text: str, base: Description = OPENAI) -> Description:
    path = folder / "own.toml"
    path.write_text(text)
    return read_description(path, base)


def test_operators_file_may_allow_a_field(tmp_path: Path) -> None:
    own = read(tmp_path, '[Chat]\n"$values" = "vault_id"\n')
    judged(own, {"vault_id": "v", "model": "m"})
    with pytest.raises(StoredObjectError, match="vault_id is not known"):
        judged(OPENAI, {"vault_id": "v"})


def test_operators_file_may_forbid_a_field(tmp_path: Path) -> None:
    own = read(tmp_path, '[Chat]\nprompt_cache_key = "stored: is shared by all customers"\n')
    with pytest.raises(StoredObjectError, match="prompt_cache_key is shared by all customers"):
        judged(own, {"prompt_cache_key": "k"})


def test_operators_file_may_describe_a_path(tmp_path: Path) -> None:
    own = read(
        tmp_path, '[bodies]\n"summaries" = "Summary"\n"notes" = "content"\n[Summary]\ntext = "value"\n'
    )
    judged(own, {"text": "t"}, "/v1/summaries")
    judged(own, {"any": {"thing": 1}}, "/v1/notes")
    with pytest.raises(StoredObjectError, match="id is not known"):
        judged(own, {"id": "i"}, "/v1/summaries")
    assert OPENAI.rule("bodies", "/v1/summaries") is None


def test_operators_file_may_extend_another_api(tmp_path: Path) -> None:
    judged(read(tmp_path, 'extends = "self_hosted"\n'), {"min_p": 0.1})
    judged(read(tmp_path, 'extends = "mistral"\n'), {"safe_prompt": True})


@pytest.mark.parametrize(
    ("path", "described"),
    [
        ("/v1/chat/completions", True),
        ("/openai/deployments/d/chat/completions", True),
        ("/v1/completions", True),
        ("/v1/xcompletions", False),
        ("/v1/chat/completions/x", False),
    ],
)
def test_path_is_known_by_its_end(path: str, described: bool) -> None:
    assert (OPENAI.rule("bodies", path) is not None) is described
    assert OPENAI.rule("bodies", "/v1/chat/completions") is not OPENAI.rule("bodies", "/v1/completions")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[Chat", "not TOML"),
        ('extends = "nobody"', '"nobody" is not one of anthropic, bedrock'),
        ('[bodies]\n"x" = "Nobody"', "there is no shape Nobody"),
        ('[Chat]\nx = "vlaue"', '"vlaue" is not a rule'),
        ('[Chat]\nx = "[value] | [content]"', "two alternatives"),
        ('[Chat]\n"$like" = "Nobody"', "there is no shape Nobody"),
        ('[Chat]\n"$vlaues" = "x"', "has a key \\$vlaues"),
        ('[chat]\nx = "value"', r"table \[chat\] has no meaning"),
        ('x = "value"', "key x has no meaning"),
        ('[Chat]\n"$values" = 1', "not a string"),
        ('[Chat]\n"$required" = "x"', "not a string"),
        ('[A]\n"$like" = "B"\n[B]\n"$like" = "A"', "in a circle"),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DescriptionError, match=reason):
        read(tmp_path, text)


@pytest.mark.parametrize("name", presets())
def test_every_allowed_call_is_described(name: str) -> None:
    preset, calls = presets()[name], _PRESETS[name]["injected"]
    for call in calls:
        method, path, *more = call.split()
        path = re.sub(r"\{\+?[a-z_]+\}", "x", _PRESETS[name]["base"] + path)
        kind = "messages" if "websocket" in more else "forms" if "multipart" in more else "bodies"
        if method == "POST" or "websocket" in more:
            assert preset.stateless.rule(kind, path), call


def test_every_api_that_comes_with_the_bridge_can_be_read() -> None:
    folder = Path(__file__).parents[3] / "provider_bridge/blindrelay/provider_bridge/stateless/apis"
    names = [path.stem for path in folder.glob("*.toml")]
    assert len(names) >= 9
    for name in names:
        assert api_description(name).paths("bodies")
