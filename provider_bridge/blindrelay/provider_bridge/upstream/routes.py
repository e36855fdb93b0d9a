"""From a provider's configuration to the way there."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial

from blindrelay.provider_bridge.providers import Provider, Proxy
from blindrelay.provider_bridge.upstream.dialling import ProxyRoute, Route
from blindrelay.provider_bridge.upstream.tls import only_roots_of, public_roots
from blindrelay.serving.files import Latest
from blindrelay.serving.tls import OnProblem


def route_to(provider: Provider, on_problem: OnProblem) -> Route:
    """Follows the provider's files; `on_problem` is told when one becomes unusable. Raises ConfigError."""
    target = provider.target
    return Route(
        target.host.strip("[]"),
        target.port,
        _tls(provider, on_problem) if target.scheme == "https" else None,
        None if provider.proxy is None else _proxy(provider.proxy, on_problem),
    )


def _tls(provider: Provider, on_problem: OnProblem) -> Callable[[], ssl.SSLContext]:
    if provider.ca is None:
        return public_roots
    return Latest((provider.ca,), partial(only_roots_of, provider.ca), on_problem)


def _proxy(proxy: Proxy, on_problem: OnProblem) -> ProxyRoute:
    credential = proxy.credential
    authorization = (lambda: None) if credential is None else credential.followed(on_problem)
    return ProxyRoute(proxy.address.host, proxy.address.port, authorization)
