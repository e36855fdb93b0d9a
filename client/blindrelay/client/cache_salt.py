"""The salt that separates the prompts of clients in a provider's cache (ADR 20).

With the bridge's credential, all customers share one account. If they also share a prompt cache, each can
test guesses at another's prompts. Some APIs have a field that separates caches, and the client puts a secret
into it. With a constant secret, the bridge could recognize the client. So each conversation has its own: the
requests of a conversation are linked anyway by its growing text. It is derived from the beginning of the
conversation with a key that exists only in the memory of this process.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit

from blindrelay.client.provider_apis import MODELS_ORIGIN

CACHE_SALT: Final = "cache_salt"
"""The field in vLLM and SGLang."""

FIELDS: Final = {
    "api.deepseek.com": "user_id",
    "api.fireworks.ai": "prompt_cache_isolation_key",
    "api.inference.wandb.ai": CACHE_SALT,
}
"""Public APIs with a documented field that separates cached prompts. The fields prompt_cache_key (OpenAI) and
metadata.user_id (Anthropic) do not. Most APIs reject unknown fields."""

BEGINNING: Final = 256
"""The characters of a plain prompt that count as its beginning. A continued prompt keeps them."""

_MODELS_HOST: Final = urlsplit(MODELS_ORIGIN).hostname
_SALTED: Final = ("/completions", "/responses")
_KEY: Final = os.urandom(32)


def salt_field(host: str, path: str, named: Collection[str] | None) -> str | None:
    """The name of the salt field in a request's body, or None if it has none.

    `named` are further hosts that take the field of vLLM. None turns salts off.
    """
    if named is None or not path.endswith(_SALTED):
        return None
    return CACHE_SALT if host in named else FIELDS.get(host)


def has_salt_in_head(host: str, path: str, named: Collection[str] | None) -> bool:
    """Whether the bridge gets the salt in the head, since it alone knows the provider. As salt_field()."""
    return named is not None and host == _MODELS_HOST and path.endswith(_SALTED)


def salt_of(body: dict[str, Any], token: str | None) -> str:
    """64 hexadecimal digits, the same for all requests of one conversation in this process.

    They depend on the token, because one process may serve several customers.
    """
    beginning = [
        token,
        body.get("system"),
        body.get("instructions"),
        _to_first_question(body.get("messages")),
        _to_first_question(body.get("input")),
        str(body.get("prompt"))[:BEGINNING],
    ]
    try:
        text = json.dumps(beginning)
    except RecursionError:  # the bridge refuses it, too, and reports the nesting
        return os.urandom(32).hex()
    return hmac.digest(_KEY, text.encode(), "sha256").hex()


def _to_first_question(messages: Any) -> Any:
    """The messages up to the first one of the user, which stay the same in a conversation."""
    if not isinstance(messages, list):
        return messages
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    return messages[: roles.index("user") + 1] if "user" in roles else messages[:1]
