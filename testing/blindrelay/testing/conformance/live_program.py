"""A program under test that uses a relay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blindrelay.testing.conformance.live_relay import LiveRelay
from blindrelay.testing.conformance.program import Answer, OnPiece, Program
from blindrelay.testing.replies import Gate
from blindrelay.testing.requests import ReceivedRequest

CHAT: Final = "https://api.openai.com/v1/chat/completions"
QUESTION: Final = b'{"model":"m","messages":[{"role":"user","content":"my secret question"}]}'
WORDS: Final = "one two three four five six seven eight nine ten"
"""Streamed, each word is an event and a record of its own."""


class UnsupportedError(Exception):
    """The program does not know the question."""


class LiveProgram:
    """A program that uses a live relay."""

    def __init__(self, relay: LiveRelay, program: Program) -> None:
        self.relay = relay
        self._asked_before = 0
        self._program = program

    def fetch(
        self,
        body: bytes = QUESTION,
        *,
        url: str = CHAT,
        connection: str | None = None,
        abort: bool = False,
        on_piece: OnPiece = lambda _: None,
    ) -> tuple[Answer, bytes]:
        """What the program says of a request, and the response's body.

        Raises ProgramError, and UnsupportedError if the program does not know the question.
        """
        pieces: list[bytes] = []
        self._asked_before = len(self.relay.provider.requests)

        def keep(piece: bytes) -> None:
            pieces.append(piece)
            on_piece(piece)

        request = {"method": "POST", "url": url, "headers": [["content-type", "application/json"]]}
        question = {"question": "fetch", "connection": connection or self.relay.connection, **request}
        answer = self._program.ask({**question, "body": body.hex(), "abort": abort}, keep)
        if answer.get("unsupported") is True:
            raise UnsupportedError
        return answer, b"".join(pieces)

    @property
    def received(self) -> list[ReceivedRequest]:
        """What the provider was asked since the last fetch() began."""
        return self.relay.provider.requests[self._asked_before :]

    @contextmanager
    def held(self, words: str = WORDS) -> Iterator[Gate]:
        """The next response is streamed, and its last piece waits for the gate."""
        gate = Gate()
        self.relay.provider.reply(words, hold=gate)
        try:
            yield gate
        finally:
            gate.release()
