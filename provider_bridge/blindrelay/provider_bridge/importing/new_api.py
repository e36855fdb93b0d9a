"""Reads the channels of new-api and one-api: rows of their table, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from blindrelay.provider_bridge.credential_config import MAX_CREDENTIALS
from blindrelay.provider_bridge.importing.deployments import (
    Api,
    Deployment,
    Imported,
    Key,
    NotTakenError,
    api_at,
    number_of,
    text_of,
)

_PRESETS: Final = {
    1: "openai",
    3: "azure",
    4: "ollama",
    14: "anthropic",
    20: "openrouter",
    24: "gemini",
    34: "cohere",
    42: "mistral",
    43: "deepseek",
    48: "xai",
}
"""The bridge's presets by a channel's type."""

_COMPATIBLE: Final = {
    25: "https://api.moonshot.cn",
    31: "https://api.lingyiwanwu.com",
    40: "https://api.siliconflow.cn",
    47: None,
}
"""Types that new-api calls as OpenAI's API below /v1, and their usual address, if they have one: Moonshot,
LingYiWanWu, SiliconFlow, Xinference."""

_CUSTOM: Final = 8
"""The type whose base_url is the whole URL of a call."""

_CHAT: Final = "/chat/completions"

_OFFICIAL: Final = {
    "anthropic": "https://api.anthropic.com",
    "cohere": "https://api.cohere.ai",
    "deepseek": "https://api.deepseek.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "mistral": "https://api.mistral.ai",
    "ollama": "http://localhost:11434",
    "openai": "https://api.openai.com",
    "openrouter": "https://openrouter.ai/api",
    "xai": "https://api.x.ai",
}
"""new-api's base URLs for a provider's own address, which the presets have already."""

_ENABLED: Final = 1

_CHANGING: Final = ("param_override", "header_override", "status_code_mapping", "setting")
"""Columns that change requests or responses. The bridge has no such settings."""


def read_new_api(channels: Iterable[object]) -> Imported:
    """What a list of channels says."""
    imported = Imported()
    for index, channel in enumerate(channels):
        values = channel if isinstance(channel, dict) else {}
        label = f"channel {values.get('id', index)} ({values.get('name')})"
        try:
            imported.deployments += _deployments(values)
        except NotTakenError as error:
            imported.leave(label, f"not taken: {error}")
        else:
            _leave_overrides(imported, label, values)
    imported.rank()
    _drop_weightless(imported)
    return imported


def _deployments(values: dict[str, Any]) -> list[Deployment]:
    """One for each of a channel's models. Raises NotTakenError."""
    if values.get("status", _ENABLED) != _ENABLED:
        raise NotTakenError("it is disabled")
    api = _api(values)
    keys = _keys(values)
    if not keys and api.preset != "ollama":
        raise NotTakenError(
            "it has no key: export the table with its keys, since the API's list leaves them out"
        )
    mapping = _mapping(values)
    names = [name.strip() for name in (text_of(values, "models") or "").split(",") if name.strip()]
    if not names:
        raise NotTakenError("it has no models")
    weight, priority = number_of(values, "weight") or 0, values.get("priority") or 0
    if not isinstance(priority, int):
        raise NotTakenError("its priority is not an integer")
    return [
        # In new-api, a higher number goes first.
        Deployment(name, mapping.get(name, name), api, keys, weight=weight, priority=-priority)
        for name in dict.fromkeys(names)
    ]


def _api(values: dict[str, Any]) -> Api:
    """Where a channel leads. Raises NotTakenError."""
    kind, url = values.get("type"), text_of(values, "base_url")
    if not isinstance(kind, int):
        raise NotTakenError("its type is not a number")
    if kind == _CUSTOM:
        base = (url or "").removesuffix(_CHAT)
        if base == (url or ""):
            raise NotTakenError(f"its base_url does not end in {_CHAT}")
        return api_at("openai", base, adds_version=False)
    if kind in _COMPATIBLE:
        url, preset = url or _COMPATIBLE[kind], "openai"
    elif kind in _PRESETS:
        preset = _PRESETS[kind]
        url = None if url is None or url.rstrip("/") == _OFFICIAL.get(preset) else url
    else:
        raise NotTakenError(f"the bridge has no preset for channels of type {kind}")
    if not url and (preset == "azure" or kind in _COMPATIBLE):
        raise NotTakenError("it has no base_url, and its provider has no address of its own")
    return api_at(preset, url, adds_version=True)


def _keys(values: dict[str, Any]) -> tuple[Key, ...]:
    """The keys that are enabled, one a line if the channel has several; as many as the bridge takes."""
    text = text_of(values, "key")
    if text is None:
        return ()
    info = _json_object(values, "channel_info")
    if not info.get("is_multi_key"):
        return (Key(secret=text),)
    statuses = info.get("multi_key_status_list")
    statuses = statuses if isinstance(statuses, dict) else {}
    lines = [line.strip() for line in text.splitlines()]
    enabled = [
        line for index, line in enumerate(lines) if line and statuses.get(str(index), _ENABLED) == _ENABLED
    ]
    return tuple(Key(secret=line) for line in list(dict.fromkeys(enabled))[:MAX_CREDENTIALS])


def _mapping(values: dict[str, Any]) -> dict[str, str]:
    """The provider's names of models by their public names; a chain is followed, as new-api does."""
    given = {str(key): str(value) for key, value in _json_object(values, "model_mapping").items()}
    return {name: _end_of_chain(name, given) for name in given}


def _end_of_chain(name: str, mapping: dict[str, str]) -> str:
    seen = {name}
    while (following := mapping.get(name)) is not None and following not in seen:
        name = following
        seen.add(name)
    return name


def _json_object(values: dict[str, Any], key: str) -> dict[str, Any]:
    """A column with a JSON object, as an object or as its text. Raises NotTakenError."""
    value = values.get(key)
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            raise NotTakenError(f"its {key} is not JSON") from None
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        raise NotTakenError(f"its {key} is not a JSON object")
    return value


def _leave_overrides(imported: Imported, label: str, values: dict[str, Any]) -> None:
    ignored = [key for key in _CHANGING if values.get(key) not in (None, "", "{}", {})]
    if len((text_of(values, "key") or "").splitlines()) > MAX_CREDENTIALS:
        ignored.append(f"the keys after the {MAX_CREDENTIALS}th that is enabled")
    if values.get("group") not in (None, "", "default"):
        ignored.append(f"group {values['group']}")
    if ignored:
        imported.leave(label, f"without {', '.join(ignored)}")


def _drop_weightless(imported: Imported) -> None:
    """new-api never chooses weight 0 beside a higher one of the same priority, and equally if all are 0."""
    kept = []
    for each in imported.deployments:
        beside = [other for other in imported.of(each.name) if other.priority == each.priority]
        if each.weight == 0 and any(other.weight for other in beside):
            imported.leave(f"{each.name} at {each.api.preset}", "not taken: its weight is 0 beside others")
            continue
        kept.append(replace(each, weight=each.weight or 1))
    imported.deployments = kept
