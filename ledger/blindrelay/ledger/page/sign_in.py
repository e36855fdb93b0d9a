"""Who is signed in: one-time links for the operator, and sessions in this process's memory."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

LINK_SECONDS: Final = 300
"""How long a link works: enough to copy it from a terminal on another machine."""

SESSION_SECONDS: Final = 43_200
"""How long a session lasts: a working day."""

MAX_LINKS: Final = 16
"""Unused links. One more makes the oldest useless."""

MAX_SESSIONS: Final = 1_000
"""Sessions, of about 500 bytes each. One more ends the oldest."""

MAX_SESSIONS_OF_ONE: Final = 10
"""Sessions of one token, or of the operator, so that nobody signs all others out."""

_SECRET_BYTES: Final = 32

Clock = Callable[[], float]
"""Unix seconds."""


class OneTimeLinks:
    """The codes of one-time sign-in links."""

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._ends: dict[str, float] = {}

    def new_code(self) -> str:
        """A code that works once within LINK_SECONDS: 43 base64url characters."""
        while len(self._ends) >= MAX_LINKS:
            del self._ends[next(iter(self._ends))]
        code = secrets.token_urlsafe(_SECRET_BYTES)
        self._ends[code] = self._now() + LINK_SECONDS
        return code

    def redeem(self, code: str) -> bool:
        """Whether the code works. It does not work again."""
        ends = self._ends.pop(code, None)
        return ends is not None and self._now() < ends


@dataclass(frozen=True)
class Notice:
    """What the next page says, once.

    Attributes:
        text: sentences.
        is_error: whether nothing was done.
        secret: what is shown only now, such as a new token.
        page: the path of the page that shows it; empty for the form's own.
    """

    text: str
    is_error: bool = False
    secret: str = field(default="", repr=False)
    page: str = ""


@dataclass
class Session:
    """Somebody who is signed in.

    Attributes:
        form_token: 43 base64url characters that each form carries, so that no other page can send one.
        ends: Unix seconds.
        token_digest: SHA-256 of a customer's token, 32 bytes; empty for the operator.
        notice: what a page has to tell.
    """

    ends: float
    token_digest: bytes = field(default=b"", repr=False)
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(_SECRET_BYTES), repr=False)
    notice: Notice | None = None

    def sent(self, form_token: str) -> bool:
        """Whether a form with this token comes from a page of this session, compared in constant time."""
        return hmac.compare_digest(form_token.encode(), self.form_token.encode())

    def taken_notice(self, page: str) -> Notice | None:
        """The notice, if it is for this page. It is then forgotten."""
        if self.notice is None or self.notice.page != page:
            return None
        notice, self.notice = self.notice, None
        return notice


class Sessions:
    """Sessions by the secret in their cookie. A restart of the process ends them all."""

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._sessions: dict[str, Session] = {}

    def start(self, token_digest: bytes = b"") -> str:
        """Begins a session and returns its cookie's secret: 43 base64url characters."""
        own = [secret for secret, each in self._sessions.items() if each.token_digest == token_digest]
        for secret in own[: 1 - MAX_SESSIONS_OF_ONE]:
            del self._sessions[secret]
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        self._sessions[secret] = Session(self._now() + SESSION_SECONDS, token_digest)
        return secret

    def find(self, secret: str) -> Session | None:
        """The session of a cookie's secret; None if there is none, or if it has ended."""
        session = self._sessions.get(secret)
        if session is not None and self._now() >= session.ends:
            del self._sessions[secret]
            return None
        return session

    def end(self, secret: str) -> None:
        """Ends a session, if there is one."""
        self._sessions.pop(secret, None)
