"""Providers: the origin that clients address, where the bridge connects, and which calls it makes.

An allow-list entry is a method and a path template (spec/protocol.md, section 11.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.credentials import Credential, CredentialStyle, PooledCredential, Secret
from blindrelay.provider_bridge.policy.urls import Origin
from blindrelay.provider_bridge.stateless.description import Description
from blindrelay.serving import Address

METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"})

IDLE_SECONDS: Final = 3_600
"""How long a provider may send nothing by default: a model may think for an hour (ADR 11)."""

BEARER: Final = CredentialStyle(b"authorization", b"Bearer ")
"""RFC 6750; what OpenAI's SDK sends to every provider."""

_PARAMETER: Final = re.compile(r"\{(\+?)[a-z_]+\}")
# No escapes: an escaped colon would hide where a parameter ends.
_PARAMETER_VALUE: Final = "[^/:%]+"
# A name may have colons and slashes, escaped or not, but a plain slash only at the end of the template.
_NAME_SEGMENT: Final = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%(?:2[Ff]|3[Aa]|40))+"
_NAME_VALUE: Final = rf"{_NAME_SEGMENT}(?:/{_NAME_SEGMENT})*"
_TEMPLATE: Final = re.compile(r"(?:/(?:(?:[A-Za-z0-9._:~-]|\{[a-z_]+\})+|\{\+[a-z_]+\}))+(?:/\*)?|/\*")


class CallError(ValueError):
    """An allow-list entry is not "METHOD /path [multipart|websocket]". The text says what is wrong."""


@dataclass(frozen=True)
class AllowedCall:
    """One entry of an allow-list.

    Attributes:
        method: in capitals.
        path: matches whole paths.
        multipart: whether the body may be multipart/form-data instead of JSON.
        tunnel: whether it is for tunnels only.
    """

    method: str
    path: re.Pattern[str]
    multipart: bool = False
    tunnel: bool = False

    def matches(self, method: str, path: str, *, tunnel: bool) -> bool:
        return method == self.method and tunnel is self.tunnel and self.path.fullmatch(path) is not None


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy between bridge and provider, used with CONNECT.

    Attributes:
        credential: the proxy-authorization header, or None if the proxy requires none.
    """

    address: Address
    credential: Credential | None = None


@dataclass(frozen=True)
class Provider:
    """One provider as configured.

    Attributes:
        origin: the one that clients address.
        target: where the bridge connects.
        credential: the header that an INJECTED exchange gets, or None if there is none.
        injected, brought: the calls that each kind of credential may make.
        allow_close_delimited: whether a response may end with its connection.
        request_headers: lower-case names that also pass with an INJECTED credential.
        stateless: what bodies may hold with an injected credential.
        ca: a PEM file with the authorities to trust for the target, and no others; None for the public ones.
        proxy: the bridge connects through it, or directly if None.
        compatible: where its OpenAI-compatible API begins, such as "/v1"; None if it has none.
        anthropic: where its API in Anthropic's dialect begins; None if it has none.
        style, compatible_style: how its own API and the compatible one expect a credential.
        pool: the credentials that INJECTED exchanges may get; the first is `credential`.
        idle_seconds: how long it may send nothing while a response is awaited.
    """

    name: str
    origin: Origin
    target: Origin
    credential: Credential | None
    injected: tuple[AllowedCall, ...] = field(repr=False)
    brought: tuple[AllowedCall, ...] = field(repr=False)
    allow_close_delimited: bool = False
    request_headers: frozenset[bytes] = frozenset()
    stateless: Description = field(default_factory=Description, repr=False)
    ca: Path | None = None
    proxy: Proxy | None = None
    compatible: str | None = None
    anthropic: str | None = None
    style: CredentialStyle = BEARER
    compatible_style: CredentialStyle = BEARER
    pool: tuple[PooledCredential, ...] = ()
    idle_seconds: float = IDLE_SECONDS

    @property
    def members(self) -> tuple[PooledCredential, ...]:
        """Its credentials as a pool, also if there is only one."""
        if self.pool or self.credential is None:
            return self.pool
        return (PooledCredential("only", self.credential, self.credential),)

    @property
    def secrets(self) -> frozenset[Secret]:
        """Those of all its credentials."""
        return frozenset(member.own.secret for member in self.members)

    def find_call(self, method: str, path: str, *, brought: bool, tunnel: bool = False) -> AllowedCall | None:
        """The entry that allows a call, or a tunnel, with this kind of credential, or None."""
        calls = self.brought if brought else self.injected
        return next((call for call in calls if call.matches(method, path, tunnel=tunnel)), None)


def parse_calls(entries: Iterable[str], base: str = "") -> tuple[AllowedCall, ...]:
    """Reads an allow-list whose paths begin after `base`. Raises CallError."""
    return tuple(_parse_call(entry, base) for entry in entries)


def _parse_call(entry: str, base: str) -> AllowedCall:
    method, _, target = entry.partition(" ")
    template, _, kind = target.partition(" ")
    if method not in METHODS:
        raise CallError(f'"{entry}" does not begin with one of {", ".join(sorted(METHODS))}')
    if not _TEMPLATE.fullmatch(template):
        raise CallError(f'"{entry}" has no path template such as /v1/models/{{+model}} or /v1/*')
    if kind not in ("", "multipart", "websocket"):
        raise CallError(f'"{entry}" ends in "{kind}"; only "multipart" or "websocket" may follow the path')
    if kind == "websocket" and method != "GET":
        raise CallError(f'"{entry}" is not a WebSocket: those begin with GET')
    return AllowedCall(method, _pattern(base + template), kind == "multipart", kind == "websocket")


def _pattern(template: str) -> re.Pattern[str]:
    """{x} is a part of one segment, {+x} a name, and a final * anything."""
    stem, star, _ = template.partition("*")
    pattern, end = "", 0
    for parameter in _PARAMETER.finditer(stem):
        pattern += re.escape(stem[end : parameter.start()])
        end = parameter.end()
        pattern += _parameter_pattern(is_name=bool(parameter[1]), is_last=end == len(stem))
    return re.compile(pattern + re.escape(stem[end:]) + (".+" if star else ""))


def _parameter_pattern(*, is_name: bool, is_last: bool) -> str:
    if not is_name:
        return _PARAMETER_VALUE
    return _NAME_VALUE if is_last else _NAME_SEGMENT
