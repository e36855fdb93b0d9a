"""Passes each request to the sealed transport, and each response back as it comes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from starlette.types import Message, Receive, Scope, Send

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.endpoint.admission import Admission, Admitted
from blindrelay.client.endpoint.client_body import IDLE_SECONDS, ClientBody, ClientGoneError, SlowBodyError
from blindrelay.client.endpoint.exchange_log import WHOLE, ExchangeLog, LoggedRequest
from blindrelay.client.endpoint.refusal import RefusedError, cause, send_error
from blindrelay.client.endpoint.response_headers import passed_on
from blindrelay.client.endpoint.tasks import side_by_side
from blindrelay.client.errors import BlindRelayError
from blindrelay.client.store_false import completes_body
from blindrelay.client.transport import SealedTransport

MAX_BUFFERED_BODY: Final = 262_144
"""Bytes. A body of known size up to this is buffered until its response begins. If the bridge was
restarted, it can then be sealed again, unseen by the SDK. 256 such bodies are 64 MiB. Larger ones stream."""

MAX_COMPLETED_BODY: Final = 33_554_432
"""Bytes of a body to which "store": false or a salt may have to be added. Bridges take no larger ones."""

SLOW: Final = RefusedError(408, "timeout", f"no byte of the body came for {IDLE_SECONDS:g} seconds")
FAILED: Final = RefusedError(
    500, "failed", "the endpoint failed on this request; its error output names the kind of error"
)

_ERROR_HEADER: Final = b"x-blindrelay-error"
_FIRST_ERROR: Final = 400

_log = logging.getLogger(__name__)


class PassThrough:
    """An ASGI application for scopes of type http."""

    def __init__(self, transport: SealedTransport, admission: Admission, exchange_log: ExchangeLog) -> None:
        self._transport = transport
        self._admission = admission
        self._exchange_log = exchange_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request. If the program goes away, the exchange ends too."""
        body = ClientBody(receive)
        with self._admission.running():
            async with side_by_side(self._serve(scope, body, send), body.client_gone()) as tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _serve(self, scope: Scope, body: ClientBody, send: Send) -> None:
        """Leaves a response without an end if it is cut: the server then breaks the connection off."""
        started = Started(send)
        try:
            await self._exchange(self._admission.admit(scope), body, started)
        except RefusedError as error:
            await send_error(error, self._admission.api(scope), started)
        except SlowBodyError:
            await send_error(SLOW, self._admission.api(scope), started)
        except ClientGoneError:
            return
        except Exception as error:  # its message may contain content
            _log.error("the endpoint failed: %s", type(error).__name__)
            if not started.is_started:
                await send_error(FAILED, self._admission.api(scope), started)

    async def _exchange(self, admitted: Admitted, body: ClientBody, send: Send) -> None:
        with self._exchange_log.request(admitted.method, admitted.destination.url) as logged:
            body.observer = logged.sent
            try:
                request = await _request(admitted, body, self._transport.connection)
                response = await self._transport.handle_async_request(request)
            except RefusedError:
                raise
            except BlindRelayError as error:
                logged.ended(cause(error))
                await send_error(error, admitted.destination.api, send)
                return
            body.over()
            await deliver(response, admitted, logged, send)


class Started:
    """Sends ASGI messages, and knows whether a response has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_started = False

    async def __call__(self, message: Message) -> None:
        self.is_started = True
        await self._send(message)


async def deliver(response: Any, admitted: Admitted, logged: LoggedRequest, send: Send) -> None:
    """Sends the transport's response to the program as it comes."""
    headers = passed_on(response.headers.raw, admitted.destination.url, admitted.local_url)
    ours = dict(headers).get(_ERROR_HEADER, b"").decode()
    logged.responded(response.status_code)
    try:
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        async for data in response.stream:
            logged.received(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        logged.ended(ours or _outcome(response.status_code))
        await send({"type": "http.response.body"})
    except BlindRelayError as error:
        logged.ended(cause(error))
    finally:
        await response.stream.aclose()


def _outcome(status: int) -> str:
    """The outcome of a complete response. A provider's error is shown as one."""
    return WHOLE if status < _FIRST_ERROR else f"provider/{status}"


async def _request(admitted: Admitted, body: ClientBody, connection: ConnectionConfig) -> httpx.Request:
    """The request for the transport. Raises RefusedError, ClientGoneError, SlowBodyError."""
    limit = _buffered(admitted, connection)
    return admitted.request(body if limit is None else await _read(body, limit))


def _buffered(admitted: Admitted, connection: ConnectionConfig) -> int | None:
    """How many bytes of the body are buffered; None means that it streams."""
    headers = dict(admitted.headers)
    target = urlsplit(admitted.destination.url)
    if admitted.method == "POST" and completes_body(target.hostname or "", target.path, connection):
        return MAX_COMPLETED_BODY
    size = int(headers.get(b"content-length", b"0"))
    return None if b"transfer-encoding" in headers or size > MAX_BUFFERED_BODY else MAX_BUFFERED_BODY


async def _read(body: ClientBody, limit: int) -> bytes:
    """The body. Raises RefusedError if it is longer than `limit` bytes."""
    read = bytearray()
    async for data in body:
        read += data
        if len(read) > limit:
            raise RefusedError(413, "too_large", f"the request's body has more than {limit} bytes")
    return bytes(read)
