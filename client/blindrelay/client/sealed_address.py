"""Base URLs that only the transport can resolve, under ``.invalid`` (RFC 6761, section 6.4).

A framework may be given a transport and not use it everywhere, for example for embeddings. With the
provider's own base URL, such a request would leave in clear unnoticed. With one of these it fails.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from blindrelay.client.errors import ConfigurationError
from blindrelay.client.httpx_compat import Request
from blindrelay.client.provider_apis import BASE_URLS, MODELS_ORIGIN

_SUFFIX: Final = ".blindrelay.invalid"
_ABSOLUTE: Final = ("http://", "https://", "ws://", "wss://")

_WITHOUT_VERSION: Final = ("anthropic", "gemini", "mistral", "cohere")
"""Their SDKs add the version themselves. The other providers are used with the SDK of OpenAI."""


def sealed_address(provider: str) -> str:
    """A base URL under ``.invalid`` for a provider's name (as its SDK expects it) or any other base URL.

    Raises ConfigurationError for an unknown name and for a URL without a host name.
    """
    url = provider
    if provider in BASE_URLS:
        url = BASE_URLS[provider]
        if provider in _WITHOUT_VERSION:
            url = url.rpartition("/")[0]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or ":" in host or "@" in parts.netloc or not url.startswith(_ABSOLUTE):
        known = ", ".join(BASE_URLS)
        raise ConfigurationError(f"{provider!r} is neither one of {known} nor a base URL with a host name")
    return parts._replace(netloc=_netloc(_marked(host), port)).geturl()


def real_host(host: str) -> str:
    """The provider's real host, in lower case."""
    return host.lower().removesuffix(_SUFFIX)


def is_for_all_models(url: Any) -> bool:
    """Whether this is the one address with all models of a bridge."""
    return f"{url.scheme}://{real_host(url.host)}" == MODELS_ORIGIN and url.port is None


def with_real_address(request: Request) -> Any:
    """The request with the provider's real host in its URL and Host header."""
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
    """The headers of a response, with their URLs under ``.invalid`` if the request's was."""
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
