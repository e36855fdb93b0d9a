"""Which headers of a sealed response reach the program."""

from __future__ import annotations

from typing import Final

from blindrelay.client.httpx_compat import Request
from blindrelay.client.sealed_address import is_for_all_models, with_sealed_addresses
from blindrelay.v1.http_headers import SERVED_BY, Header
from blindrelay.v1.inner_pb2 import ResponseHead

_OURS: Final = b"x-blindrelay-"
_ERROR: Final = b"x-blindrelay-error"


def response_headers(head: ResponseHead, request: Request) -> list[Header]:
    """The headers, except those that only this library may set.

    At the address of all models, a bridge marks errors of its own (spec/protocol.md, section 11.8). It names
    the provider in every other response from there.
    """
    given = [(header.name.lower(), header) for header in head.headers]
    is_the_bridges = is_for_all_models(request.url) and all(name != SERVED_BY for name, _ in given)
    headers = [
        (header.name, header.value)
        for name, header in given
        if not name.startswith(_OURS) or (is_the_bridges and name == _ERROR)
    ]
    return with_sealed_addresses(headers, request)
