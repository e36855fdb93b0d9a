"""The victim: the real client library, with requests whose right response is known."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx2

from blindrelay.client import BlindRelayError, SealedTransport, errors
from blindrelay.serving import Address
from blindrelay.testbed.attacks.parts import MARK_HEADER, Parts

PATIENCE: Final = 60.0
"""Seconds for what should take milliseconds."""

PATH: Final = "/v1/chat/completions"
URL: Final = f"https://api.openai.com{PATH}"
PROMPT: Final = "a prompt that nobody but bridge and provider may read"

STILL_WAITING: Final = "still waiting"
LEFT: Final = "left"
WHOLE: Final = "the whole response"

_RETRIED: Final = frozenset(
    {
        "key_unknown",
        "overloaded",
        "ledger_unavailable",
        "limit_units",
        "limit_exchanges",
        "limit_bytes",
        "limit_concurrent",
        "limit_rate",
    }
)
"""Kinds of errors that an SDK is answered and may try again by its own rules; no other may be."""

_REPEATS: Final = 2_500
"""Of a letter and the mark, five times: request and response take several records, and no two are alike."""


@dataclass(frozen=True)
class Ask:
    """What is asked.

    Attributes:
        large: request and response are of 250 KB, several records each way.
        streamed: server-sent events.
        held: the provider keeps the last piece back until the run is over.
        upload: bytes of a body that is far more than all buffers on the way hold; 0 for none such.
        leaves: the application goes away after the response's first piece.
    """

    large: bool = False
    streamed: bool = False
    held: bool = False
    upload: int = 0
    leaves: bool = False

    def body(self, mark: str) -> bytes:
        """The request's body; `mark` is in the response, so that no two are alike."""
        text = " ".join((letter + mark) * _REPEATS for letter in "abcde") if self.large else f"{mark} one two"
        scripted = {"text": text, **({"hold": mark} if self.held else {})}
        content = PROMPT + "." * self.upload
        messages = [{"role": "user", "content": content}]
        return json.dumps(
            {"model": "scripted", "stream": self.streamed, "scripted": scripted, "messages": messages}
        ).encode()


UNSHAPED: Final = "&shape=off"
"""A connection option. Without shaping, the first message has the response's head, however late it comes."""

SMALL: Final = Ask()
"""One record each way."""
LARGE: Final = Ask(large=True)
STREAM: Final = Ask(streamed=True, held=True)
"""The response has begun, and cannot end."""


@dataclass
class Got:
    """What the application got.

    Attributes:
        body: all bytes that it was handed as the provider's.
        end: "the whole response", or the error's name.
        right: the right response, if it is known.
    """

    body: bytes = b""
    end: str = WHOLE
    right: bytes = field(default=b"", repr=False)

    @property
    def wrong(self) -> bool:
        """Whether a byte came that is not the response's, or a part was taken for the whole."""
        return not self.right.startswith(self.body) or (self.end == WHOLE and self.body != self.right)


@dataclass(frozen=True)
class Victim:
    """One client with one transport, and its limits in seconds.

    Attributes:
        read: the idle limit; also the one for writing.
        bound: after it, whoever still waits is said to wait.
    """

    sealed: SealedTransport
    parts: Parts
    read: float
    bound: float

    async def ask(self, ask: Ask, mark: str) -> Got:
        """One exchange, whatever comes of it. The mark is what the provider knows it by."""
        body = ask.body(mark)
        got = Got(right=await self.parts.provider.truth(PATH, replace(ask, held=False).body(mark)))
        timeout = httpx2.Timeout(self.read, connect=PATIENCE)
        try:
            async with (
                asyncio.timeout(self.bound),
                self.sealed.async_httpx2_client(timeout=timeout) as client,
            ):
                await self._receive(client, ask, body, mark, got)
        except TimeoutError:
            got.end = STILL_WAITING
        except BlindRelayError as error:
            got.end = name_of(error.origin, error.kind)
        except Exception as error:
            got.end = f"untyped {type(error).__name__}"
        return got

    async def _receive(self, client: Any, ask: Ask, body: bytes, mark: str, got: Got) -> None:
        headers = {"content-type": "application/json", MARK_HEADER: mark}
        async with client.stream("POST", URL, content=body, headers=headers) as response:
            if (said := response.headers.get("x-blindrelay-error")) is not None:
                origin, kind = said.split("/")
                got.end = name_of(origin, kind)
                if response.headers.get("x-should-retry") != "false" and kind not in _RETRIED:
                    got.end += ", to be tried again"
                return
            async for piece in response.aiter_raw():
                got.body += piece
                if ask.leaves:
                    got.end = LEFT
                    return


@asynccontextmanager
async def victim(
    parts: Parts,
    relay: Address,
    *,
    read: float = PATIENCE,
    bound: float,
    clock: Callable[[], float] = time.time,
    options: str = "",
) -> AsyncIterator[Victim]:
    """A client with a memory of its own, that speaks to the hostile relay. `options`: of the connection."""
    with tempfile.TemporaryDirectory(prefix="blindrelay-victim-") as memory:
        history = Path(memory) / "history"
        connection = f"blindrelay://{relay}?bridge={parts.identity}&tls=off&history={history}{options}"
        async with SealedTransport(connection, clock=clock) as sealed:
            yield Victim(sealed, parts, read, bound)


def new_mark() -> str:
    """A name for one exchange, as the provider hears it."""
    return f"run-{secrets.token_hex(6)}"


def name_of(origin: str, kind: str) -> str:
    """The class of an error, from what the surface says of it, and the status or code that it carries."""
    for name in errors.__all__:
        if getattr(errors, name).__dict__.get("kind") == kind and kind != "error":
            return name
    return f"{'BridgeError' if origin == 'bridge' else 'RelayError'} {kind}"
