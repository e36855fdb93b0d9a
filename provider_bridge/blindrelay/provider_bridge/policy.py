"""Whether the bridge makes a call, decided from the head alone, and the body's own rules afterwards.

Everything that is refused is refused here, before the provider hears of it, with a sealed error that says
what to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from blindrelay.provider_bridge.cache_rules import CacheError, check_cache_rules
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.header_policy import HeaderError, request_headers
from blindrelay.provider_bridge.json_body import JsonError, parse_json
from blindrelay.provider_bridge.providers import AllowedCall, Provider
from blindrelay.provider_bridge.stored_objects import (
    StoredObjectError,
    check_form_data,
    check_stored_objects,
    check_tunnel_message,
)
from blindrelay.provider_bridge.url_policy import RequestUrl, UrlError, parse_url
from blindrelay.v1.http_headers import Header
from blindrelay.v1.inner_pb2 import (
    CREDENTIAL_BROUGHT,
    CREDENTIAL_INJECTED,
    ERROR_CODE_MALFORMED,
    ERROR_CODE_NOT_ALLOWED,
    ERROR_CODE_STORED_OBJECT,
    ERROR_CODE_UNSUPPORTED,
    EXCHANGE_KIND_EXCHANGE,
    EXCHANGE_KIND_TUNNEL,
    ON_DISCONNECT_CANCEL,
    ON_DISCONNECT_UNSPECIFIED,
    SHAPING_PROFILE_OFF,
    SHAPING_PROFILE_UNSPECIFIED,
    RequestHead,
)
from blindrelay.v1.limits import deadline_seconds

_BODILESS: Final = frozenset({"DELETE", "GET", "HEAD"})
_JSON: Final = re.compile(rb'application/json(?: *; *charset="?utf-8"?)?', re.IGNORECASE)
_MULTIPART: Final = re.compile(rb"multipart/form-data *;.*", re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class PlannedCall:
    """A call that the bridge is willing to make.

    Attributes:
        url: what was asked for; the provider's target takes its origin's place.
        headers: the client's that pass; the bridge adds its own.
        injected: whether the bridge adds the provider's credential.
        deadline: seconds from the envelope's issued_at.
    """

    provider: Provider
    method: str
    url: RequestUrl
    headers: list[Header]
    allowed: AllowedCall
    injected: bool
    deadline: int

    def check_body(self, body: bytes | bytearray) -> None:
        """Judges the whole body. Raises RequestError. Takes up to a second for the largest ones."""
        if not self.injected:
            return
        if self.method in _BODILESS:
            if body:
                raise RequestError(ERROR_CODE_NOT_ALLOWED, f"a {self.method} request has no body here")
            return
        with _refusals("body"):
            if self.allowed.multipart and _content_type(self.headers, _MULTIPART):
                check_form_data(body)
            else:
                self._check_json(parse_json(body))

    def check_message(self, message: bytes | bytearray) -> None:
        """Judges one whole text message of the client's in a tunnel, as check_body does a body."""
        with _refusals("message"):
            content = parse_json(message)
            check_tunnel_message(self.url.path, content)
            asks = content.get("type") == "response.create"
            check_cache_rules(self.provider.cache, self.url.path if asks else "", content)

    def _check_json(self, content: Any) -> None:
        check_stored_objects(self.url.path, content)
        check_cache_rules(self.provider.cache, self.url.path, content)


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except JsonError as error:
        raise RequestError(ERROR_CODE_NOT_ALLOWED, f"the {what} cannot be checked: {error}") from None
    except StoredObjectError as error:
        raise RequestError(ERROR_CODE_STORED_OBJECT, str(error)) from None
    except CacheError as error:
        raise RequestError(ERROR_CODE_NOT_ALLOWED, str(error)) from None


def plan_call(head: RequestHead, providers: Iterable[Provider]) -> PlannedCall:
    """Judges a request's head. Raises RequestError."""
    tunnel = _is_tunnel(head)
    _check_room_kept(head)
    brought = _brings_credential(head)
    try:
        url = parse_url(head.url)
    except UrlError as error:
        raise RequestError(ERROR_CODE_NOT_ALLOWED, f"the URL is refused: {error}") from None
    provider, allowed = _find(providers, head.method, url, brought=brought, tunnel=tunnel)
    if not brought and (name := url.unlisted_parameter()) is not None:
        raise RequestError(
            ERROR_CODE_NOT_ALLOWED,
            f"the query parameter {name} is not one that passes with the bridge's credential: "
            "leave it out, or bring your own (credentials=brought)",
        )
    try:
        headers = request_headers(
            ((item.name, item.value) for item in head.headers),
            brought=brought,
            tunnel=tunnel,
            added=provider.request_headers,
        )
    except HeaderError as error:
        raise RequestError(ERROR_CODE_NOT_ALLOWED, str(error)) from None
    call = PlannedCall(provider, head.method, url, headers, allowed, not brought, _deadline(head))
    _check_content_type(call)
    return call


def _is_tunnel(head: RequestHead) -> bool:
    if head.kind not in (EXCHANGE_KIND_EXCHANGE, EXCHANGE_KIND_TUNNEL):
        raise RequestError(ERROR_CODE_MALFORMED, "the request's kind is not one of this version")
    return head.kind == EXCHANGE_KIND_TUNNEL


def _check_room_kept(head: RequestHead) -> None:
    """Fields with room and no effect: a client that sets one expects what this version does not do."""
    if head.shaping.profile not in (SHAPING_PROFILE_UNSPECIFIED, SHAPING_PROFILE_OFF):
        raise RequestError(ERROR_CODE_UNSUPPORTED, "shaping of answers is not supported")
    if head.retry_token:
        raise RequestError(ERROR_CODE_UNSUPPORTED, "retry tokens are not supported")
    if head.on_disconnect not in (ON_DISCONNECT_UNSPECIFIED, ON_DISCONNECT_CANCEL):
        raise RequestError(ERROR_CODE_UNSUPPORTED, "only on_disconnect CANCEL is supported")


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


def _find(
    providers: Iterable[Provider], method: str, url: RequestUrl, *, brought: bool, tunnel: bool
) -> tuple[Provider, AllowedCall]:
    here = [provider for provider in providers if provider.origin == url.origin]
    if not here:
        raise RequestError(ERROR_CODE_NOT_ALLOWED, f"this bridge does not serve {url.origin}")
    provider = here[0]
    allowed = provider.find_call(method, url.path, brought=brought, tunnel=tunnel)
    if allowed is not None:
        return provider, allowed
    what = f"{'a WebSocket at' if tunnel else method} {url.path}"
    if not brought and provider.find_call(method, url.path, brought=True, tunnel=tunnel):
        raise RequestError(
            ERROR_CODE_NOT_ALLOWED,
            f"{what} is allowed only with your own credential (credentials=brought)",
        )
    raise RequestError(ERROR_CODE_NOT_ALLOWED, f"this bridge does not allow {what}")


def _check_content_type(call: PlannedCall) -> None:
    """With an injected credential a body is read before it is sent, so it has to be of a kind that can be."""
    if not call.injected or call.method in _BODILESS:
        return
    if _content_type(call.headers, _JSON):
        return
    if not (call.allowed.multipart and _content_type(call.headers, _MULTIPART)):
        kinds = "application/json or multipart/form-data" if call.allowed.multipart else "application/json"
        raise RequestError(ERROR_CODE_NOT_ALLOWED, f"the content-type of {call.url.path} must be {kinds}")


def _content_type(headers: list[Header], pattern: re.Pattern[bytes]) -> bool:
    return any(name == b"content-type" and pattern.fullmatch(value) for name, value in headers)
