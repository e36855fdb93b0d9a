"""The salt that keeps one client's prompts apart from all others' in a provider's cache (ADR 20).

With the bridge's credential all customers share an account, and a cache that finds their prompts for one
another tells each whether a guess at another's prompt is right. Where an API has a field that keeps caches
apart, this puts a secret into it. A secret that stays the same would be a name: the bridge would know its
client again. So there is one for each conversation, which its growing text links anyway. It is derived from
the conversation's beginning by a key that lives as long as this process and is never written down.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Collection
from typing import Any, Final

CACHE_SALT: Final = "cache_salt"
"""vLLM's and SGLang's field."""

FIELDS: Final = {
    "api.deepseek.com": "user_id",
    "api.fireworks.ai": "prompt_cache_isolation_key",
    "api.inference.wandb.ai": CACHE_SALT,
}
"""Public APIs that document a field by which cached prompts are kept apart. OpenAI's prompt_cache_key and
Anthropic's metadata.user_id do not do that; and most APIs refuse fields that they do not know."""

BEGINNING: Final = 256
"""Characters of a plain prompt that begin it: one that is continued keeps them."""

_SALTED: Final = ("/completions", "/responses")
_KEY: Final = os.urandom(32)


def salt_field(host: str, path: str, named: Collection[str] | None) -> str | None:
    """The body's field for a salt, or None if there is none.

    `named` are more hosts that take vLLM's field; None turns salts off.
    """
    if named is None or not path.endswith(_SALTED):
        return None
    return CACHE_SALT if host in named else FIELDS.get(host)


def salt_of(body: dict[str, Any], token: str | None) -> str:
    """64 hexadecimal digits: the same for each request of one conversation in this process.

    One process may serve several customers, each with a token of their own: they are kept apart, too.
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
    except RecursionError:  # nested too deeply for a bridge as well, which says so
        return os.urandom(32).hex()
    return hmac.digest(_KEY, text.encode(), "sha256").hex()


def _to_first_question(messages: Any) -> Any:
    """Messages up to the user's first one, which a conversation keeps."""
    if not isinstance(messages, list):
        return messages
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    return messages[: roles.index("user") + 1] if "user" in roles else messages[:1]
