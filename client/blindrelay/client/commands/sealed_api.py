"""A provider's API through the seal, for the commands: each failure is an error that says whose it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from blindrelay.client.commands.api_dialects import CUT_REASONS, Dialect, Message
from blindrelay.client.errors import BlindRelayError, ConfigurationError
from blindrelay.client.transport import SealedTransport
from blindrelay.v1.inner_pb2 import Credential

if TYPE_CHECKING:
    import httpx

_OURS: Final = "x-blindrelay-error"
_PREFIX: Final = "BlindRelay: "


class AnsweredError(BlindRelayError):
    """An error of BlindRelay's that the transport gave as a response, because it must not be tried again."""

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
    """The provider stopped early, at a limit of length or for a filter. What came is a part."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"only in part: it stopped early ({reason})")


class SealedApi:
    """One provider's API.

    Args:
        transport: seals; it is not closed with the API.
        dialect: which API.
        origin: of another server with the same API, if not the provider's own.

    Raises:
        ConfigurationError: the connection brings a key of its own, and the environment has none.
    """

    def __init__(self, transport: SealedTransport, dialect: Dialect, origin: str | None = None) -> None:
        self.dialect = dialect
        self._origin = (origin or dialect.origin).rstrip("/")
        self._headers = {**dialect.headers, **_credential(transport, dialect)}
        self._client = transport.httpx_client(follow_redirects=False)

    def close(self) -> None:
        """Ends whatever still runs."""
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
            raise ProviderError("with something that is no list of models", response.status_code) from None

    def get(self, path: str) -> httpx.Response:
        """A GET and its response, whatever it is."""
        return self._client.get(self._origin + path, headers=self._headers)

    def chat(self, model: str, messages: list[Message], system: str | None = None) -> Iterator[str]:
        """The response, piece by piece as it comes. Raises BlindRelayError, also if it is incomplete."""
        question = self.dialect.question(model, messages, system)
        url = self._origin + self.dialect.path
        with self._client.stream("POST", url, headers=self._headers, json=question) as response:
            if response.status_code >= 300:
                response.read()
            self._checked(response)
            yield from self._pieces(response)

    def _pieces(self, response: httpx.Response) -> Iterator[str]:
        has_ended, reason = False, None
        # It is read to its end, beyond the last event: the relay counts one that is left early as cancelled.
        for data in event_data(response.iter_bytes()):
            event = _object(data)
            if event.get("error"):
                raise ProviderError(f"with an error: {_message(event)}")
            piece, stop_reason = self._read(event)
            if piece:
                yield piece
            reason = stop_reason or reason
            has_ended = has_ended or self.dialect.ends(data, event)
        if not has_ended:
            raise ProviderError("with a stream that has no end: what came is a part")
        if reason in CUT_REASONS:
            raise PartialResponseError(reason)

    def _read(self, event: dict[str, Any]) -> tuple[str, str | None]:
        """Its text, and why the response ended, if the event says so."""
        try:
            return self.dialect.text(event), self.dialect.stop_reason(event)
        except (AttributeError, LookupError, TypeError):
            raise ProviderError("with an event that is not of its API") from None

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if ours := response.headers.get(_OURS):
            origin, _, kind = ours.partition("/")
            raise AnsweredError(_message(_object(response.text)).removeprefix(_PREFIX), origin, kind)
        if response.status_code >= 300:
            message = _message(_object(response.text)) or response.reason_phrase
            raise ProviderError(f"{response.status_code}: {message}", response.status_code)
        return response


def event_data(pieces: Iterable[bytes]) -> Iterator[str]:
    """The data of server-sent events (WHATWG HTML, section 9.2.6), for streams with LF or CRLF.

    Only these end a line: U+2028 and its like stand unescaped in JSON.
    """
    data: list[str] = []
    for line in _lines(pieces):
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode(errors="replace")


def _credential(transport: SealedTransport, dialect: Dialect) -> dict[str, str]:
    if transport.connection.credential != Credential.CREDENTIAL_BROUGHT:
        return {}
    key = os.environ.get(dialect.key_variable)
    if not key:
        raise ConfigurationError(f"with credentials=brought your key is wanted: set {dialect.key_variable}")
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
