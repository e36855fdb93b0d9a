"""What an INJECTED body may say to the provider's prompt cache (spec/protocol.md, section 11.5).

All customers are one account there, and a cache that they share tells one of them what another sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from blindrelay.provider_bridge.providers import CacheRules

CONTROLS: Final = frozenset(
    {
        "cachecontrol",
        "cachedcontent",
        "cacheprompt",
        "idslot",
        "ncachereuse",
        "promptcachebreakpoint",
        "promptcachekey",
        "promptcachemaxlen",
        "promptcacheoptions",
        "promptcacheretention",
    }
)
"""Fields of Anthropic's, OpenAI's, Google's, Fireworks' and llama.cpp's, without case and underscores."""

SALT: Final = re.compile(r"[A-Za-z0-9_-]{32,512}")
"""Long enough that nobody guesses it. DeepSeek takes no other characters, and no more than 512."""

_PROMPTED: Final = ("/completions", "/responses")
"""The calls whose prompts are cached, and which have a field for a salt."""

_HOLDERS: Final = ("content", "contents", "input", "messages", "parts", "system", "tools")
"""Where lists of blocks are in these APIs. What a tool was called with is an object, and is not looked at."""


class CacheError(ValueError):
    """The body shares the cache, or controls it, where it may not; the text says what to set instead."""


def check_cache_rules(rules: CacheRules, path: str, body: dict[str, Any]) -> None:
    """Judges a parsed JSON body on its way to `path`. Raises CacheError."""
    if rules.salt is not None and path.endswith(_PROMPTED):
        _check_salt(rules.salt, body)
    if not rules.controls:
        for key, value in (item for block in _blocks(body) for item in block.items()):
            if value is not None and value is not False and key.replace("_", "").casefold() in CONTROLS:
                raise CacheError(
                    f"{key} controls a cache that all customers share: leave it out, or bring your own "
                    "credential (credentials=brought)"
                )


def _check_salt(name: str, body: dict[str, Any]) -> None:
    salt = body.get(name)
    if not isinstance(salt, str) or not SALT.fullmatch(salt):
        raise CacheError(
            f"{name} must be a secret of 32 to 512 letters, digits, - and _, so that no other customer finds "
            "your prompts in the provider's cache: the client library sets it for hosts that its option "
            "cache_salt names, or you set it in the body"
        )


def _blocks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The body and its blocks, without recursion: the depth is the client's to choose."""
    waiting = [body, *(body[key] for key in ("response", "session") if isinstance(body.get(key), dict))]
    while waiting:
        block = waiting.pop()
        yield block
        for value in (block.get(holder) for holder in _HOLDERS):
            if isinstance(value, list):
                waiting += [each for each in value if isinstance(each, dict)]
