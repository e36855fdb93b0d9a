"""The user of the application: facts that only client and relay should know, each a unique word."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

LIBRARY_VARIABLE: Final = "BLINDRELAY_EVIDENCE_LIBRARY"
"""What the application's gRPC calls itself, so that it is not the relay's and the bridge's version of it."""


def _word(prefix: str) -> str:
    return prefix + secrets.token_hex(10)


def _address() -> str:
    """Of loopback, with three digits in each place, so that it is no accident where it is found."""
    return ".".join(["127", *(str(101 + secrets.randbelow(154)) for _ in range(3))])


@dataclass(frozen=True)
class Asker:
    """The application's user."""

    account: str = field(default_factory=lambda: _word("account"))
    address: str = field(default_factory=_address)
    sdk: str = field(default_factory=lambda: _word("9.9.9-"))
    library: str = field(default_factory=lambda: _word("library-"))
    time_zone: str = field(default_factory=lambda: _word("Zone/"))
    locale: str = field(default_factory=lambda: _word("xx_"))

    @property
    def environment(self) -> dict[str, str]:
        """Of the application's process."""
        return {
            "TZ": self.time_zone,
            "LANG": self.locale,
            "LC_ALL": "C.UTF-8",
            LIBRARY_VARIABLE: self.library,
        }

    @property
    def headers(self) -> dict[str, str]:
        """What an SDK adds to each request."""
        return {
            "user-agent": f"OpenAI/Python {self.sdk}",
            "x-stainless-package-version": self.sdk,
            "x-stainless-runtime-version": self.sdk,
            "accept-language": self.locale,
        }

    def traits(self, token: str) -> dict[str, tuple[str, str]]:
        """By name: the party that must know it, and the word."""
        return {
            "client's address": ("relay", self.address),
            "access token": ("client", token),
            "account's name": ("relay", self.account),
            "SDK and its version": ("client", self.sdk),
            "gRPC library and version": ("client", self.library),
            "time zone": ("client", self.time_zone),
            "locale": ("client", self.locale),
        }
