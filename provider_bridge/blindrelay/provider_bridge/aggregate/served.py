"""Headers of a response that say which provider answered (spec/protocol.md, section 11.8)."""

from __future__ import annotations

import re
from typing import Final

from blindrelay.provider_bridge.aggregate.brought import without_own
from blindrelay.provider_bridge.aggregate.health import Member
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse
from blindrelay.v1.http_headers import SERVED_BY, SERVED_MODEL

BEGINNING_SECONDS: Final = 0.02
"""Seconds that the head of a response waits for the beginning of its body, which names the model."""

# In a string of JSON the quotation marks would be escaped, so no text of the model is taken for its name.
_MODEL: Final = re.compile(rb'"model"\s*:\s*"([\x21\x23-\x5b\x5d-\x7e]{1,256})"')


async def name_server(response: ProviderResponse, member: Member) -> None:
    """Adds the provider that was asked, and the model that the response names if that is another one."""
    served_by = f"{member.provider}/{member.model}".encode()
    response.headers = [*without_own(response.headers), (SERVED_BY, served_by)]
    if 200 <= response.status < 300:
        named = _MODEL.search(await response.beginning(BEGINNING_SECONDS))
        if named and named[1] != member.model.encode():
            response.headers.append((SERVED_MODEL, named[1]))
