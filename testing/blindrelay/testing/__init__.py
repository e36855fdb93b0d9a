"""BlindRelay for your tests: a relay, a bridge and a scripted provider in one process.

```python
from blindrelay.testing import LocalBlindRelay
from openai import OpenAI

with LocalBlindRelay() as local:
    local.provider.reply("Hello")
    client = OpenAI(api_key="any", http_client=local.sealed.httpx2_client())
```

With pytest, the fixture `blindrelay` is a running `LocalBlindRelay`. See docs/testing.md.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from blindrelay.testing.local import LocalBlindRelay
    from blindrelay.testing.relay_view import RelayedExchange
    from blindrelay.testing.replies import Gate, Reply
    from blindrelay.testing.requests import ReceivedRequest
    from blindrelay.testing.scripted_provider import ScriptedProvider

__all__ = [
    "Gate",
    "LocalBlindRelay",
    "ReceivedRequest",
    "RelayedExchange",
    "Reply",
    "ScriptedProvider",
]

_MODULES = {
    "Gate": "replies",
    "LocalBlindRelay": "local",
    "ReceivedRequest": "requests",
    "RelayedExchange": "relay_view",
    "Reply": "replies",
    "ScriptedProvider": "scripted_provider",
}


def __getattr__(name: str) -> object:
    """Imports what is used: pytest loads our plugin, and with it this module, in every run."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from blindrelay.v1.extras import needs_extra

    with needs_extra("testing"):
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
