"""Environment variables that send a program's calls to the local endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from blindrelay.client.connection_config import CONNECTION_VARIABLE, PROXY_VARIABLE
from blindrelay.v1.grpc_env import OURS

_BASES: Final = {
    "OPENAI_BASE_URL": "/openai/v1",
    "OPENAI_API_BASE": "/openai/v1",
    "ANTHROPIC_BASE_URL": "/anthropic",
    "ANTHROPIC_API_BASE": "/anthropic",
    "GOOGLE_GEMINI_BASE_URL": "/gemini",
    "GEMINI_API_BASE": "/gemini",
    "MISTRAL_BASE_URL": "/mistral",
    "MISTRAL_API_BASE": "/mistral/v1",
    "MISTRAL_AZURE_API_BASE": "/mistral/v1",
    "CO_API_URL": "/cohere",
    "COHERE_API_BASE": "/cohere/v2/chat",
}
"""The variables that SDKs read their base URL from, and the endpoint's path for each."""

_MODELS: Final = {
    "OPENAI_BASE_URL": "/models/v1",
    "OPENAI_API_BASE": "/models/v1",
    "ANTHROPIC_BASE_URL": "/models/anthropic",
    "ANTHROPIC_API_BASE": "/models/anthropic",
}
"""The same for all models of the bridge, at one address."""

_KEYS: Final = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "MISTRAL_API_KEY",
    "MISTRAL_AZURE_API_KEY",
    "CO_API_KEY",
    "COHERE_API_KEY",
)
"""The variables that SDKs read their key from. They get the endpoint's token."""

_OTHER_KEYS: Final = ("ANTHROPIC_AUTH_TOKEN", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
"""Credentials that a call would carry in addition to the token, or instead of it."""

_ELSEWHERE: Final = (
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "GOOGLE_GENAI_USE_VERTEXAI",
)
"""Variables that make a program call another service and ignore its base URL."""

_KEPT_BACK: Final = OURS | {CONNECTION_VARIABLE, PROXY_VARIABLE}
"""Variables for this process only. The relay's token outlives the run and works without the endpoint. The
address of a proxy may contain a password."""

_NODE_PRELOAD: Final = Path(__file__).with_name("node_preload.cjs")
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY")
_LOCAL: Final = "127.0.0.1,localhost,::1"


def sealed_environment(
    environ: Mapping[str, str],
    endpoint: str,
    token: str,
    *,
    own_keys: bool = False,
    all_models: bool = False,
) -> dict[str, str]:
    """The environment for a program.

    `endpoint` is the local endpoint's URL without a final slash; `token` is its key. With `own_keys`, the
    keys stay as they are and the token is part of the URLs. With `all_models`, the SDKs of OpenAI and
    Anthropic get all models of the bridge. The endpoint is the proxy for everything else, which it refuses.
    Node ignores proxy variables, so it loads a file that asks the endpoint.
    """
    base = f"{endpoint}/{token}" if own_keys else endpoint
    bases = _BASES | (_MODELS if all_models else {})
    changed = dict(environ) | {name: base + path for name, path in bases.items()}
    if not own_keys:
        changed = {name: value for name, value in changed.items() if name not in _OTHER_KEYS}
        changed |= dict.fromkeys(_KEYS, token)
    for name in _PROXIES:
        changed |= {name: endpoint, name.lower(): endpoint}
    for name in (*_ELSEWHERE, *_KEPT_BACK):
        changed.pop(name, None)
    return changed | {
        "NO_PROXY": _LOCAL,
        "no_proxy": _LOCAL,
        "NODE_OPTIONS": f"{environ.get('NODE_OPTIONS', '')} --require={_quoted(_NODE_PRELOAD)}".strip(),
        "BLINDRELAY_RUN_ENDPOINT": endpoint,
        # Otherwise LiteLLM downloads a list of prices when it is imported.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def _quoted(path: Path) -> str:
    """Quoted for NODE_OPTIONS: in double quotes, with quotes and backslashes escaped."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
