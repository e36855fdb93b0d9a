"""Whether the bridge makes a call, decided from the head alone, and which rules its body has to meet.

A refusal is a sealed error that says what to change. The provider never sees a refused request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from blindrelay.provider_bridge.content_coding import IDENTITY, WINDOW_BITS
from blindrelay.provider_bridge.credentials import Credential
from blindrelay.provider_bridge.errors import RequestError, not_allowed
from blindrelay.provider_bridge.policy.headers import HeaderError, request_headers
from blindrelay.provider_bridge.policy.shaping import shape_of
from blindrelay.provider_bridge.policy.urls import RequestUrl, UrlError, parse_url
from blindrelay.provider_bridge.providers import AllowedCall, Provider
from blindrelay.provider_bridge.stateless.body_check import BodyCheck
from blindrelay.provider_bridge.stateless.form_data import form_boundary
from blindrelay.sealing import CellShape
from blindrelay.v1.http_headers import Header
from blindrelay.v1.inner_pb2 import (
    CREDENTIAL_BROUGHT,
    CREDENTIAL_INJECTED,
    ERROR_CODE_MALFORMED,
    ERROR_CODE_UNSUPPORTED,
    EXCHANGE_KIND_EXCHANGE,
    EXCHANGE_KIND_TUNNEL,
    ON_DISCONNECT_CANCEL,
    ON_DISCONNECT_UNSPECIFIED,
    RequestHead,
)
from blindrelay.v1.limits import HASH_SIZE, deadline_seconds
from blindrelay.v1.receipts_pb2 import Rounding

_BODILESS: Final = frozenset({"DELETE", "GET", "HEAD"})
_JSON: Final = re.compile(rb'application/json(?: *; *charset="?utf-8"?)?', re.IGNORECASE)
_CONTENT_ENCODING: Final = b"content-encoding"


@dataclass(frozen=True, repr=False)
class PlannedCall:
    """A call that the bridge is willing to make.

    Attributes:
        url: as requested; the bridge connects to the provider's target instead of its origin.
        headers: the client's that pass; the bridge adds its own.
        injected: whether the bridge adds the provider's credential.
        deadline: seconds from the envelope's issued_at.
        shape: of the response, or None.
        check: for its body or its messages; None if they are not checked.
        coding: the content-encoding to decode before the check, or None.
        credential: the one of the provider's that the bridge adds, or None.
        checked_later: whether the body is checked by the rules of a target that is not known yet.
    """

    provider: Provider
    method: str
    url: RequestUrl
    headers: list[Header]
    allowed: AllowedCall
    injected: bool
    deadline: int = 0
    shape: CellShape | None = None
    check: BodyCheck | None = None
    coding: bytes | None = None
    credential: Credential | None = None
    checked_later: bool = False

    @property
    def bodiless(self) -> bool:
        """Whether the request must not have a body, since nothing would check it."""
        return self.injected and self.check is None and not self.checked_later

    @property
    def checked_as_it_comes(self) -> bool:
        """Whether the check can begin before the body is complete."""
        return self.check is not None and self.check.kind == "bodies" and self.coding is None


def plan_call(head: RequestHead, providers: Iterable[Provider]) -> PlannedCall:
    """Checks a request's head. Raises RequestError."""
    tunnel = _is_tunnel(head)
    _check_unsupported(head)
    shape = shape_of(head)
    brought = _brings_credential(head)
    try:
        url = parse_url(head.url)
    except UrlError as error:
        raise not_allowed(f"the URL is refused: {error}") from None
    provider = _provider_at(providers, url)
    headers = [(item.name, item.value) for item in head.headers]
    planned = plan_at(provider, head.method, url, headers, brought=brought, tunnel=tunnel)
    return replace(planned, deadline=_deadline(head), shape=shape)


def plan_at(
    provider: Provider,
    method: str,
    url: RequestUrl,
    headers: Iterable[Header],
    *,
    brought: bool,
    tunnel: bool = False,
) -> PlannedCall:
    """Checks a call of a provider, whose origin the URL has. Raises RequestError."""
    allowed = _allowed(provider, method, url, brought=brought, tunnel=tunnel)
    if not brought and (name := url.unlisted_parameter()) is not None:
        raise not_allowed(
            f"the query parameter {name} is not one that passes with the bridge's credential: "
            "leave it out, or bring your own (credentials=brought)",
        )
    try:
        passed = request_headers(headers, brought=brought, tunnel=tunnel, added=provider.request_headers)
    except HeaderError as error:
        raise not_allowed(str(error)) from None
    call = PlannedCall(provider, method, url, passed, allowed, not brought)
    return call if brought else with_check(replace(call, credential=provider.credential))


def _is_tunnel(head: RequestHead) -> bool:
    if head.kind not in (EXCHANGE_KIND_EXCHANGE, EXCHANGE_KIND_TUNNEL):
        raise RequestError(ERROR_CODE_MALFORMED, "the request's kind is not one of this version")
    return head.kind == EXCHANGE_KIND_TUNNEL


def _check_unsupported(head: RequestHead) -> None:
    """Refuses fields that are reserved: a client that sets one expects what this version does not do."""
    if head.retry_token:
        raise RequestError(ERROR_CODE_UNSUPPORTED, "retry tokens are not supported")
    if head.on_disconnect not in (ON_DISCONNECT_UNSPECIFIED, ON_DISCONNECT_CANCEL):
        raise RequestError(ERROR_CODE_UNSUPPORTED, "only on_disconnect CANCEL is supported")
    if head.rounding not in Rounding.values():
        raise RequestError(ERROR_CODE_UNSUPPORTED, "the request's rounding is not one of this version")
    if len(head.price_table_hash) not in (0, HASH_SIZE):
        raise RequestError(ERROR_CODE_MALFORMED, f"the hash of a price table is not {HASH_SIZE} bytes")


def _brings_credential(head: RequestHead) -> bool:
    if head.credential not in (CREDENTIAL_INJECTED, CREDENTIAL_BROUGHT):
        raise RequestError(ERROR_CODE_MALFORMED, "the request does not say whose credential it uses")
    return head.credential == CREDENTIAL_BROUGHT


def _deadline(head: RequestHead) -> int:
    try:
        return deadline_seconds(head.deadline_class)
    except ValueError:
        raise RequestError(
            ERROR_CODE_MALFORMED, "the request's deadline class is not one of this version"
        ) from None


def _provider_at(providers: Iterable[Provider], url: RequestUrl) -> Provider:
    provider = next((provider for provider in providers if provider.origin == url.origin), None)
    if provider is None:
        raise not_allowed(f"this bridge does not serve {url.origin}")
    return provider


def _allowed(provider: Provider, method: str, url: RequestUrl, *, brought: bool, tunnel: bool) -> AllowedCall:
    allowed = provider.find_call(method, url.path, brought=brought, tunnel=tunnel)
    if allowed is not None:
        return allowed
    what = f"{'a WebSocket at' if tunnel else method} {url.path}"
    if not brought and provider.find_call(method, url.path, brought=True, tunnel=tunnel):
        raise not_allowed(
            f"{what} is allowed only with your own credential (credentials=brought)",
        )
    raise not_allowed(f"this bridge does not allow {what}")


def with_check(call: PlannedCall) -> PlannedCall:
    """The call with the check that its body needs with the bridge's own credential. Raises RequestError."""
    if call.allowed.tunnel:
        return replace(call, check=_body_check(call, "messages"))
    headers, coding = _without_coding(call.headers)
    if call.method in _BODILESS:
        return replace(call, headers=headers)
    content_type = next((value for name, value in headers if name == b"content-type"), b"")
    boundary = form_boundary(content_type) if call.allowed.multipart else None
    if boundary is not None:
        check = _body_check(call, "forms", boundary)
    elif _JSON.fullmatch(content_type):
        check = _body_check(call, "bodies")
    else:
        kinds = "application/json or multipart/form-data" if call.allowed.multipart else "application/json"
        raise not_allowed(f"the content-type of {call.url.path} must be {kinds}, without other parameters")
    return replace(call, headers=headers, coding=coding, check=check)


def _body_check(call: PlannedCall, kind: str, boundary: bytes = b"") -> BodyCheck:
    if call.provider.stateless.rule(kind, call.url.path) is None:
        raise not_allowed(
            f"this bridge has no description of the {kind} of {call.url.path}: bring your own credential "
            "(credentials=brought), or ask its operator to add one",
        )
    return BodyCheck(call.provider.name, kind, call.url.path, boundary)


def _without_coding(headers: list[Header]) -> tuple[list[Header], bytes | None]:
    """The headers without content-encoding, and the coding that it names if that has to be decoded."""
    kept = [header for header in headers if header[0] != _CONTENT_ENCODING]
    coding = next((value.lower() for name, value in headers if name == _CONTENT_ENCODING), IDENTITY)
    if coding == IDENTITY:
        return kept, None
    if coding not in WINDOW_BITS:
        raise not_allowed(
            "a body with this content-encoding cannot be checked: send it uncompressed or as gzip, or bring "
            "your own credential (credentials=brought)",
        )
    return kept, coding
