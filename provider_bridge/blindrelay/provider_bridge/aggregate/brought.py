"""The credentials that a client brings to the aggregated address: one for each provider."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from blindrelay.provider_bridge.errors import not_allowed
from blindrelay.v1.http_headers import ACCOUNT_HEADERS, BROUGHT_CREDENTIAL, OWN_PREFIX, Header

_FORM: Final = re.compile(rb"([A-Za-z0-9._-]{1,64}) ([\x21-\x7e]{1,4096})")


def brought_credentials(headers: Iterable[Header]) -> dict[str, bytes]:
    """The secrets by the names of their providers. Raises RequestError, which quotes none of them."""
    secrets: dict[str, bytes] = {}
    for name, value in headers:
        if name in ACCOUNT_HEADERS:
            raise not_allowed(
                f"the header {name.decode()} does not say for which provider it is: "
                f"bring each credential as {BROUGHT_CREDENTIAL.decode()}: PROVIDER VALUE"
            )
        if name != BROUGHT_CREDENTIAL:
            continue
        form = _FORM.fullmatch(value)
        if form is None:
            raise not_allowed(f"the header {name.decode()} is not PROVIDER VALUE, with one space")
        provider = form[1].decode()
        if provider in secrets:
            raise not_allowed(f"the header {name.decode()} is given twice for {provider}")
        secrets[provider] = form[2]
    return secrets


def without_own(headers: Iterable[Header]) -> list[Header]:
    """The headers, except those between client and bridge."""
    return [header for header in headers if not header[0].startswith(OWN_PREFIX)]
