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


CHAT = "/v1/chat/completions"
SUMMARIES = '[bodies]\n"summaries" = "Summary"\n"notes" = "content"\n[Summary]\ntext = "value"\n'


@pytest.mark.parametrize(
    ("text", "path", "passing", "refused"),
    [
        ('[Chat]\n"$values" = "vault_id"\n', CHAT, {"vault_id": "v", "model": "m"}, {"vault": "v"}),
        ('[Chat]\nprompt_cache_key = "stored: is shared"\n', CHAT, {}, {"prompt_cache_key": "k"}),
        (SUMMARIES, "/v1/summaries", {"text": "t"}, {"id": "i"}),
        (SUMMARIES, "/v1/notes", {"any": {"thing": 1}}, None),
        ('extends = "self_hosted"\n', CHAT, {"min_p": 0.1}, {"safe_prompt": True}),
        ('extends = "mistral"\n', CHAT, {"safe_prompt": True}, {"min_p": 0.1}),
    ],
)
def test_operators_file_describes(tmp_path: Path, text: str, path: str, passing: Any, refused: Any) -> None:
    own = read(tmp_path, text)
    judged(own, passing, path)
    if refused is not None:
        with pytest.raises(StoredObjectError, match=r"is not known|is shared"):
            judged(own, refused, path)
    assert OPENAI.rule("bodies", "/v1/summaries") is None, "the description that comes with the bridge stays"


def test_path_is_known_by_its_end() -> None:
    for path in (CHAT, "/openai/deployments/d/chat/completions", "/v1/completions"):
        assert OPENAI.rule("bodies", path) is not None
    for path in ("/v1/xcompletions", "/v1/chat/completions/x"):
        assert OPENAI.rule("bodies", path) is None
    assert OPENAI.rule("bodies", CHAT) is not OPENAI.rule("bodies", "/v1/completions")


def test_wrong_file_is_refused(tmp_path: Path) -> None:
    for text, reason in (
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
    ):
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
