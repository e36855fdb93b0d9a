"""The endpoint's work: each request through the sealed transport, each response back, piece by piece."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from starlette.types import Message, Receive, Scope, Send

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.endpoint.admission import Admission, Admitted
from blindrelay.client.endpoint.client_body import IDLE_SECONDS, ClientBody, ClientGoneError, SlowBodyError
from blindrelay.client.endpoint.journal import WHOLE, Journal, Noted
from blindrelay.client.endpoint.refusal import RefusedError, cause, send_error
from blindrelay.client.endpoint.response_headers import passed_on
from blindrelay.client.endpoint.tasks import side_by_side
from blindrelay.client.errors import BlindRelayError
from blindrelay.client.store_false import completes_body
from blindrelay.client.transport import SealedTransport

HELD_BODY: Final = 262_144
"""Bytes up to which a body of known size is held until its response begins: it can be sealed a second time
when the bridge was restarted, as SDKs do not see then. 256 of them are 64 MiB. Larger ones stream."""

MAX_COMPLETED_BODY: Final = 33_554_432
"""Bytes of a request into which something may have to be put: "store": false, or a salt. More than that a
bridge does not take."""

SLOW: Final = RefusedError(408, "timeout", f"nothing of the body came for {IDLE_SECONDS:g} seconds")
FAILED: Final = RefusedError(
    500, "failed", "the endpoint failed on this request; its error output names the kind"
)

_ERROR_HEADER: Final = b"x-blindrelay-error"
_FIRST_ERROR: Final = 400

_log = logging.getLogger(__name__)


class PassThrough:
    """An ASGI application."""

    def __init__(self, transport: SealedTransport, admission: Admission, journal: Journal) -> None:
        self._transport = transport
        self._admission = admission
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request. A program that goes away ends it, and the exchange with it."""
        body = ClientBody(receive)
        with self._admission.running():
            async with side_by_side(self._serve(scope, body, send), body.client_gone()) as tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _serve(self, scope: Scope, body: ClientBody, send: Send) -> None:
        """Ends without a response's end where there is none: the server then breaks the connection off."""
        started = Started(send)
        try:
            await self._exchange(self._admission.admit(scope), body, started)
        except RefusedError as error:
            await send_error(error, self._admission.api(scope), started)
        except SlowBodyError:
            await send_error(SLOW, self._admission.api(scope), started)
        except ClientGoneError:
            return
        except Exception as error:  # whatever it says may be content
            _log.error("the endpoint failed: %s", type(error).__name__)
            if not started.is_started:
                await send_error(FAILED, self._admission.api(scope), started)

    async def _exchange(self, admitted: Admitted, body: ClientBody, send: Send) -> None:
        with self._journal.request(admitted.method, admitted.destination.url) as noted:
            body.observer = noted.sent
            try:
                request = await _request(admitted, body, self._transport.connection)
                response = await self._transport.handle_async_request(request)
            except RefusedError:
                raise
            except BlindRelayError as error:
                noted.ends(cause(error))
                await send_error(error, admitted.destination.api, send)
                return
            body.over()
            await deliver(response, admitted, noted, send)


class Started:
    """Sends ASGI's messages, and knows whether a response has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_started = False

    async def __call__(self, message: Message) -> None:
        self.is_started = True
        await self._send(message)


async def deliver(response: Any, admitted: Admitted, noted: Noted, send: Send) -> None:
    """Sends a response of the transport's, piece by piece."""
    headers = passed_on(response.headers.raw, admitted.destination.url, admitted.local_url)
    ours = dict(headers).get(_ERROR_HEADER, b"").decode()
    noted.answered(response.status_code)
    try:
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        async for piece in response.stream:
            noted.received(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        noted.ends(ours or _outcome(response.status_code))
        await send({"type": "http.response.body"})
    except BlindRelayError as error:
        noted.ends(cause(error))
    finally:
        await response.stream.aclose()


def _outcome(status: int) -> str:
    """How a whole response counts: an error of the provider's is shown as one."""
    return WHOLE if status < _FIRST_ERROR else f"provider/{status}"


async def _request(admitted: Admitted, body: ClientBody, connection: ConnectionConfig) -> httpx.Request:
    """The request for the transport. Raises RefusedError, ClientGoneError."""
    content = await _held(admitted, body, connection)
    return admitted.request(body.pieces() if content is None else content)


async def _held(admitted: Admitted, body: ClientBody, connection: ConnectionConfig) -> bytes | None:
    """The body as far as it is held, or None: it streams."""
    headers = dict(admitted.headers)
    size = int(headers.get(b"content-length", b"0"))
    target = urlsplit(admitted.destination.url)
    if admitted.method == "POST" and completes_body(target.hostname or "", target.path, connection):
        return await _gathered(body.pieces(), MAX_COMPLETED_BODY)
    if b"transfer-encoding" in headers or size > HELD_BODY:
        return None
    return await _gathered(body.pieces(), HELD_BODY)


async def _gathered(pieces: AsyncIterator[bytes], limit: int) -> bytes:
    """Raises RefusedError for more bytes than `limit`."""
    gathered = bytearray()
    async for piece in pieces:
        gathered += piece
        if len(gathered) > limit:
            raise RefusedError(413, "too_large", f"the request's body has more than {limit} bytes")
    return bytes(gathered)
