"""Addresses that only the transport knows: under ``.invalid``, which is in no DNS (RFC 6761, section 6.4).

A framework may take a transport and not use it, for its asynchronous side or its embeddings say. With the
provider's own base URL such a call leaves in clear, and nobody notices. With one of these it fails.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from blindrelay.client.errors import ConfigurationError
from blindrelay.client.httpx_compat import Request
from blindrelay.client.provider_apis import OFFICIAL

_SUFFIX: Final = ".blindrelay.invalid"
_ABSOLUTE: Final = ("http://", "https://", "ws://", "wss://")

_WITHOUT_VERSION: Final = ("anthropic", "gemini", "mistral", "cohere")
"""Whose SDKs put the version in by themselves. OpenAI's, which the others are used with, does not."""


def sealed_address(provider: str) -> str:
    """The base URL of a provider, by name as its SDK wants it, or any base URL, under ``.invalid``.

    Raises ConfigurationError for a name that is not known, and for a URL whose host cannot be spelt so.
    """
    url = provider
    if provider in OFFICIAL:
        url = OFFICIAL[provider]
        if provider in _WITHOUT_VERSION:
            url = url.rpartition("/")[0]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or ":" in host or "@" in parts.netloc or not url.startswith(_ABSOLUTE):
        known = ", ".join(OFFICIAL)
        raise ConfigurationError(f"{provider!r} is neither one of {known} nor a base URL with a host's name")
    return parts._replace(netloc=_netloc(_marked(host), port)).geturl()


def real_host(host: str) -> str:
    """The provider's own host, in lower case."""
    return host.lower().removesuffix(_SUFFIX)


def with_real_address(request: Request) -> Any:
    """The request with the provider's own address in URL and Host, where it was one of these."""
    host = request.url.host.lower()
    if not host.endswith(_SUFFIX):
        return request
    # Not copy.copy(): that leaves the body out.
    real: Any = object.__new__(type(request))
    vars(real).update(vars(request))
    real.url = request.url.copy_with(host=real_host(host))
    real.headers = request.headers.copy()
    real.headers["host"] = real.url.netloc.decode("ascii")
    return real


def with_sealed_addresses(headers: list[tuple[bytes, bytes]], request: Request) -> list[tuple[bytes, bytes]]:
    """A response's headers, with every URL spelt as the request's was."""
    if not request.url.host.lower().endswith(_SUFFIX):
        return headers
    return [(name, _respelt(value)) for name, value in headers]


def _respelt(value: bytes) -> bytes:
    text = value.decode("latin-1").strip()
    if not text.lower().startswith(_ABSOLUTE):
        return value
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return value
    if not host or ":" in host:
        return value
    return parts._replace(netloc=_netloc(_marked(host), port)).geturl().encode("latin-1")


def _marked(host: str) -> str:
    return host if host.endswith(_SUFFIX) else host + _SUFFIX


def _netloc(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"
