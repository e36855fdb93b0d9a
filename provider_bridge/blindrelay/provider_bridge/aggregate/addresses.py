"""The paths of the aggregated address, in two dialects (spec/protocol.md, section 11.8)."""

from __future__ import annotations

from enum import Enum
from typing import Final

from blindrelay.provider_bridge.providers import Provider, parse_calls
from blindrelay.provider_bridge.stateless.description import Description


class Dialect(Enum):
    """Whose API a client speaks. The value is the beginning of its paths."""

    OPENAI = "/v1"
    ANTHROPIC = "/anthropic/v1"

    def at(self, provider: Provider) -> str | None:
        """Where a provider's API in this dialect begins, or None if it has none."""
        return provider.compatible if self is Dialect.OPENAI else provider.anthropic


_OPENAI: Final = (
    "POST /chat/completions",
    "POST /completions",
    "POST /responses",
    "POST /responses/input_tokens",
    "POST /responses/compact",
    "POST /embeddings",
    "POST /moderations",
    "POST /rerank",
    "POST /audio/speech",
    "POST /audio/transcriptions multipart",
    "POST /audio/translations multipart",
    "POST /images/generations",
    "POST /images/edits multipart",
    "POST /images/variations multipart",
    "GET /models",
    "GET /models/{+model}",
)
_ANTHROPIC: Final = (
    "POST /messages",
    "POST /messages/count_tokens",
    "GET /models",
    "GET /models/{+model}",
)

CALLS: Final = (
    *parse_calls(_OPENAI, Dialect.OPENAI.value),
    *parse_calls(_ANTHROPIC, Dialect.ANTHROPIC.value),
)
"""What can be asked for here. A target may have less."""


ANY_BODY: Final = Description(
    [
        {
            "bodies": {entry.split()[1][1:]: "content" for entry in (*_OPENAI, *_ANTHROPIC)},
            "forms": {entry.split()[1][1:]: "content" for entry in _OPENAI if entry.endswith("multipart")},
        }
    ]
)
"""Every body of these calls: it is checked by the description of the provider that is asked."""


def dialect_of(path: str) -> tuple[Dialect, str]:
    """The dialect of a path that one of CALLS matches, and the rest of it, such as "/chat/completions"."""
    anthropic = Dialect.ANTHROPIC.value + "/"
    dialect = Dialect.ANTHROPIC if path.startswith(anthropic) else Dialect.OPENAI
    return dialect, path.removeprefix(dialect.value)
