"""The environment in which a program's calls go to the local endpoint, or nowhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

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
"""Where each SDK looks for its base URL: the endpoint's path for that provider."""

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
"""What each SDK takes for its key: the endpoint's own token."""

_OTHER_KEYS: Final = ("ANTHROPIC_AUTH_TOKEN", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
"""What would go with a call beside or in the place of the token."""

_ELSEWHERE: Final = (
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "GOOGLE_GENAI_USE_VERTEXAI",
)
"""What would have a program call another service, whatever its base URL."""

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY")
_LOCAL: Final = "127.0.0.1,localhost,::1"


def sealed_environment(
    environ: Mapping[str, str], endpoint: str, token: str, dead_end: str, *, own_keys: bool = False
) -> dict[str, str]:
    """The environment for a program.

    `endpoint` is the local endpoint's URL, without a slash at its end; `token` what it takes for a key.
    With `own_keys` the keys stay as they are, and the token stands in the URLs. Whatever does not go to the
    endpoint is sent to the proxy `dead_end`, where nothing listens.
    """
    base = f"{endpoint}/{token}" if own_keys else endpoint
    changed = dict(environ) | {name: base + path for name, path in _BASES.items()}
    if not own_keys:
        changed = {name: value for name, value in changed.items() if name not in _OTHER_KEYS}
        changed |= dict.fromkeys(_KEYS, token)
    for name in _PROXIES:
        changed |= {name: dead_end, name.lower(): dead_end}
    for name in _ELSEWHERE:
        changed.pop(name, None)
    # Without the last one it fetches a list of prices when it is imported.
    return changed | {"NO_PROXY": _LOCAL, "no_proxy": _LOCAL, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


@contextmanager
def dead_end() -> Iterator[str]:
    """The URL of a proxy that refuses every connection: a port that is held, and not listened on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
