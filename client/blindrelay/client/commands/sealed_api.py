"""A provider's API, called sealed, for the commands. Each failure says whose fault it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from httpx_sse import EventSource, SSEError

from blindrelay.client.commands.api_dialects import CUT_REASONS, Dialect, Message
from blindrelay.client.errors import BlindRelayError, ConfigurationError
from blindrelay.client.transport import SealedTransport
from blindrelay.v1.inner_pb2 import Credential

if TYPE_CHECKING:
    import httpx

_OURS: Final = "x-blindrelay-error"

SERVED: Final = {"served_by": "blindrelay-served-by", "served_model": "blindrelay-served-model"}
"""The headers in which a bridge that chose among providers says who answered, and with which model if it is
not the one that was asked."""

_PREFIX: Final = "BlindRelay: "


class AnsweredError(BlindRelayError):
    """A BlindRelay error that came as a response, because it must not be retried."""

    def __init__(self, message: str, origin: str, kind: str) -> None:
        super().__init__(message)
        self.origin = origin
        self.kind = kind


class ProviderError(BlindRelayError):
    """The provider sent an error, or something other than a response. The bridge sealed it.

    Attributes:
        status: the HTTP status; 200 if the error came within a response.
    """

    origin = "provider"
    kind = "provider"

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(f"the provider answered {message}")
        self.status = status


class PartialResponseError(ProviderError):
    """The provider stopped early, at a length limit or because of a filter."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"only in part: it stopped early ({reason})")


class SealedApi:
    """One provider's API.

    Args:
        transport: is not closed with the API.
        dialect: which API.
        origin: another server with the same API; None means the provider's own.

    Attributes:
        served: who gave the last response, by the names in SERVED, if the bridge chose.

    Raises:
        ConfigurationError: the connection has credentials=brought, and there is no key.
    """

    def __init__(self, transport: SealedTransport, dialect: Dialect, origin: str | None = None) -> None:
        self.dialect = dialect
        self.served: dict[str, str] = {}
        self._origin = (origin or dialect.origin).rstrip("/")
        self._headers = {**dialect.headers, **_credential(transport, dialect)}
        self._client = transport.httpx_client(follow_redirects=False)

    def close(self) -> None:
        """Ends calls that still run."""
        self._client.close()

    def __enter__(self) -> SealedApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def models(self) -> list[str]:
        """The names of the provider's models. Raises BlindRelayError."""
        response = self._checked(self.get("/v1/models"))
        try:
            return [str(model["id"]) for model in response.json()["data"]]
        except (ValueError, TypeError, KeyError):
            raise ProviderError("with something other than a list of models", response.status_code) from None

    def get(self, path: str) -> httpx.Response:
        """The response to a GET request, with any status."""
        return self._client.get(self._origin + path, headers=self._headers)

    def chat(self, model: str, messages: list[Message], system: str | None = None) -> Iterator[str]:
        """The response's text as it comes. Raises BlindRelayError, also if the response is incomplete."""
        question = self.dialect.question(model, messages, system)
        url = self._origin + self.dialect.path
        with self._client.stream("POST", url, headers=self._headers, json=question) as response:
            if response.status_code >= 300:
                response.read()
            self._checked(response)
            given = ((name, response.headers.get(header)) for name, header in SERVED.items())
            self.served = {name: value for name, value in given if value}
            yield from self._texts(response)

    def _texts(self, response: httpx.Response) -> Iterator[str]:
        has_ended, reason = False, None
        # Read beyond the last event to the end: the relay counts a response that is left early as cancelled.
        for data in _event_data(response):
            event = _object(data)
            if event.get("error"):
                raise ProviderError(f"with an error: {_message(event)}")
            text, stop_reason = self._read(event)
            if text:
                yield text
            reason = stop_reason or reason
            has_ended = has_ended or self.dialect.ends(data, event)
        if not has_ended:
            raise ProviderError("with a stream that has no end: only a part came")
        if reason in CUT_REASONS:
            raise PartialResponseError(reason)

    def _read(self, event: dict[str, Any]) -> tuple[str, str | None]:
        """The event's text, and why the response ended if the event says so."""
        try:
            return self.dialect.text(event), self.dialect.stop_reason(event)
        except (AttributeError, LookupError, TypeError):
            raise ProviderError("with an event that its API does not have") from None

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if ours := response.headers.get(_OURS):
            origin, _, kind = ours.partition("/")
            raise AnsweredError(_message(_object(response.text)).removeprefix(_PREFIX), origin, kind)
        if response.status_code >= 300:
            message = _message(_object(response.text)) or response.reason_phrase
            raise ProviderError(f"{response.status_code}: {message}", response.status_code)
        return response


def _event_data(response: httpx.Response) -> Iterator[str]:
    """The data of each server-sent event. Raises ProviderError for any other type of content."""
    response.encoding = "utf-8"  # of every event stream, whatever its Content-Type says
    try:
        yield from (event.data for event in EventSource(response).iter_sse())
    except SSEError:
        raise ProviderError("with something other than an event stream") from None


def _credential(transport: SealedTransport, dialect: Dialect) -> dict[str, str]:
    if transport.connection.credential != Credential.CREDENTIAL_BROUGHT:
        return {}
    if dialect.key_variable is None:
        if not transport.connection.keys:
            raise ConfigurationError(
                "credentials=brought needs your own keys: add keys=FILE to the connection"
            )
        return {}
    key = os.environ.get(dialect.key_variable)
    if not key:
        raise ConfigurationError(f"credentials=brought needs your own key: set {dialect.key_variable}")
    return dialect.credential(key)


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _message(content: dict[str, Any]) -> str:
    """The sentence in an error's body, in the shape of either API."""
    error = content.get("error")
    if isinstance(error, dict):
        return str(error.get("message", ""))
    return str(error or "")
