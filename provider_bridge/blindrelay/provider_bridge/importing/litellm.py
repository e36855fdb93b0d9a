"""Reads LiteLLM's config.yaml: model_list, aliases and fallbacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from blindrelay.provider_bridge.importing.deployments import (
    Deployment,
    Imported,
    Key,
    NotTakenError,
    api_at,
    number_of,
    text_of,
)

_PRESETS: Final = {
    "anthropic": "anthropic",
    "azure": "azure",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "custom_openai": "openai",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "gemini": "gemini",
    "groq": "groq",
    "hosted_vllm": "vllm",
    "llamafile": "openai",
    "lm_studio": "openai",
    "mistral": "mistral",
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "openai": "openai",
    "openai_like": "openai",
    "openrouter": "openrouter",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "xai": "xai",
}
"""The bridge's presets by the prefix of LiteLLM's model names."""

_VARIABLES: Final = {
    "anthropic": "ANTHROPIC_API_KEY",
    "azure": "AZURE_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "cohere": "COHERE_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "together": "TOGETHERAI_API_KEY",
    "xai": "XAI_API_KEY",
}
"""Where LiteLLM finds a key that an entry does not name."""

_BARE: Final = {
    "openai": ("chatgpt-", "dall-e-", "gpt-", "o1", "o3", "o4", "text-embedding-", "tts-", "whisper-"),
    "anthropic": ("claude-",),
}
"""How the names begin whose provider LiteLLM knows without a prefix."""

_ELSEWHERE: Final = {
    "bedrock": "its own API is not OpenAI's: customers reach it by its own address, with the preset bedrock",
    "vertex_ai": "Vertex AI signs its requests with a service account, which the bridge does not have",
    "azure_ai": "Azure AI has a surface for each model: write a [[provider]] with its origin and base",
}

_OWN_SERVERS: Final = ("azure", "ollama", "vllm")
_FROM_ENVIRONMENT: Final = "os.environ/"
_TAKEN: Final = frozenset(
    {
        "api_base",
        "api_key",
        "api_version",
        "base_url",
        "custom_llm_provider",
        "litellm_credential_name",
        "model",
        "order",
        "weight",
    }
)
"""The litellm_params that are taken. Azure's v1 API needs no version."""

_SECTIONS: Final = frozenset({"model_list", "credential_list", "environment_variables"})
_LAST: Final = 1_000_000_000
"""The order of an entry that has none."""

_FALLBACKS: Final = "fallbacks"
_ALIASES: Final = "model_group_alias"


class _Reader:
    """Reads one configuration. `environment` replaces what the file says about addresses."""

    def __init__(self, config: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._config = config
        self._own = _texts(config.get("environment_variables"))
        self._environment = {**environment, **self._own}
        self._credentials = _credentials(config.get("credential_list"))
        self.imported = Imported()

    def read(self) -> None:
        for index, entry in enumerate(_list(self._config.get("model_list"))):
            self._add(f"model_list[{index}]", entry)
        self.imported.rank()
        for section, settings in self._config.items():
            if section not in _SECTIONS:
                self._leave_settings(section, settings)
        for settings in (self._config.get("router_settings"), self._config.get("litellm_settings")):
            for fallback in _list(_dict(settings).get(_FALLBACKS)):
                self._add_fallbacks(_dict(fallback))
        for alias, target in _dict(_dict(self._config.get("router_settings")).get(_ALIASES)).items():
            self._add_alias(str(alias), target)

    def _add(self, place: str, entry: object) -> None:
        values = _dict(entry)
        label = f"{place} ({values.get('model_name')})"
        try:
            self.imported.deployments.append(self._deployment(label, values))
        except NotTakenError as error:
            self.imported.leave(label, f"not taken: {error}")

    def _deployment(self, label: str, values: dict[str, Any]) -> Deployment:
        name = text_of(values, "model_name")
        given = _dict(values.get("litellm_params"))
        credential = text_of(given, "litellm_credential_name")
        params = {**self._credentials.get(credential or "", {}), **given}
        model = text_of(params, "model")
        if name is None or model is None:
            raise NotTakenError("it needs model_name and litellm_params.model")
        url = self._resolved(text_of(params, "api_base") or text_of(params, "base_url"))
        preset, model = _preset(model, text_of(params, "custom_llm_provider"), has_url=url is not None)
        if preset in _OWN_SERVERS and preset != "ollama" and url is None:
            raise NotTakenError("it has no api_base, and its provider has no address of its own")
        weight, order = number_of(params, "weight"), number_of(params, "order")
        if weight == 0:
            raise NotTakenError("its weight is 0")
        deployment = Deployment(
            name,
            model,
            api_at(preset, url, adds_version=preset == "anthropic"),
            self._keys(params, preset, url),
            weight=1 if weight is None else weight,
            priority=_LAST if order is None else int(order),
        )
        self._leave_params(label, values, params)
        return deployment

    def _keys(self, params: dict[str, Any], preset: str, url: str | None) -> tuple[Key, ...]:
        given = text_of(params, "api_key")
        if given is None:
            variable = None if url is not None and preset == "openai" else _VARIABLES.get(preset)
            return () if variable is None else (self._in_environment(variable),)
        if given.startswith(_FROM_ENVIRONMENT):
            return (self._in_environment(given.removeprefix(_FROM_ENVIRONMENT)),)
        return (Key(secret=given),)

    def _in_environment(self, variable: str) -> Key:
        secret = self._own.get(variable)
        return Key(variable=variable) if secret is None else Key(secret=secret)

    def _resolved(self, url: str | None) -> str | None:
        if url is None or not url.startswith(_FROM_ENVIRONMENT):
            return url
        variable = url.removeprefix(_FROM_ENVIRONMENT)
        if not self._environment.get(variable):
            raise NotTakenError(f"its api_base is in {variable}, which is not set here")
        return self._environment[variable]

    def _leave_params(self, label: str, values: dict[str, Any], params: dict[str, Any]) -> None:
        further = [key for key in values if key not in ("model_name", "litellm_params", "model_info")]
        ignored = sorted({*map(str, params)} - _TAKEN) + sorted(map(str, further))
        if ignored:
            self.imported.leave(label, f"without {', '.join(ignored)}")

    def _leave_settings(self, section: str, settings: object) -> None:
        known = {
            "router_settings": {_FALLBACKS, _ALIASES},
            "litellm_settings": {_FALLBACKS},
        }
        ignored = [str(key) for key in _dict(settings) if key not in known.get(section, ())]
        if ignored or not isinstance(settings, dict):
            self.imported.leave(section, f"not taken: {', '.join(ignored) or 'the whole section'}")

    def _add_fallbacks(self, fallbacks: dict[str, Any]) -> None:
        """Appends the deployments of the models to fall back on, after the model's own."""
        for name, others in fallbacks.items():
            own = self.imported.of(name)
            for other in _list(others):
                found = self.imported.of(other) if isinstance(other, str) and other != name else []
                if not own or not found or "*" in f"{name}{other}":
                    self.imported.leave(f"fallbacks ({name})", f"not taken: {_named(other)}")
                    continue
                last = max(each.priority for each in self.imported.of(name))
                self.imported.deployments += _after(last, name, found)

    def _add_alias(self, alias: str, target: object) -> None:
        name = target if isinstance(target, str) else _dict(target).get("model")
        if name not in self.imported.names or alias in self.imported.names or "*" in f"{alias}{name}":
            self.imported.leave(
                f"{_ALIASES} ({alias})", "not taken: it names no model, or another one's name"
            )
        else:
            self.imported.aliases[alias] = str(name)


def read_litellm(config: Mapping[str, Any], environment: Mapping[str, str]) -> Imported:
    """What a config.yaml says, after YAML. `environment` may have its os.environ/… addresses."""
    reader = _Reader(config, environment)
    reader.read()
    return reader.imported


def _preset(model: str, provider: str | None, *, has_url: bool) -> tuple[str, str]:
    """The preset, and the model's name at the provider. Raises NotTakenError."""
    prefix, slash, rest = model.partition("/")
    if provider is not None:
        prefix, rest = provider, rest if slash and prefix == provider else model
    elif not slash or prefix not in {**_PRESETS, **_ELSEWHERE}:
        known = (preset for preset, starts in _BARE.items() if model.startswith(starts))
        guess = next(known, "openai" if has_url else None)
        if guess is None:
            raise NotTakenError(f"the bridge has no preset for {prefix}" if slash else "it names no provider")
        return guess, model
    if prefix in _ELSEWHERE:
        raise NotTakenError(_ELSEWHERE[prefix])
    if prefix not in _PRESETS:
        raise NotTakenError(f"the bridge has no preset for {prefix}")
    if prefix in ("custom_openai", "llamafile", "lm_studio", "openai_like") and not has_url:
        raise NotTakenError("it has no api_base, and its provider has no address of its own")
    return _PRESETS[prefix], rest


def _after(priority: int, name: str, deployments: list[Deployment]) -> Iterator[Deployment]:
    first = min(each.priority for each in deployments)
    for each in deployments:
        yield replace(each, name=name, priority=priority + 1 + each.priority - first)


def _credentials(entries: object) -> dict[str, dict[str, Any]]:
    """What credential_list has by name."""
    named = [
        (_dict(entry).get("credential_name"), _dict(entry).get("credential_values"))
        for entry in _list(entries)
    ]
    return {str(name): _dict(values) for name, values in named}


def _named(value: object) -> str:
    return value if isinstance(value, str) else "an entry with parameters of its own"


def _texts(values: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in _dict(values).items() if value is not None}


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
