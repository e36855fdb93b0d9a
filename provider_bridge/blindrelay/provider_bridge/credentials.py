"""A credential that the bridge adds itself: to a provider's requests, or for a proxy."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from blindrelay.serving.files import Latest
from blindrelay.serving.tls import OnProblem
from blindrelay.v1.http_headers import Header


@dataclass(frozen=True)
class CredentialStyle:
    """How a provider expects its credential: the header, in lower case, and the text before the secret.

    With `base64`, the secret is encoded.
    """

    header: bytes
    prefix: bytes
    base64: bool = False

    def value(self, secret: bytes) -> bytes:
        """The header's value."""
        return self.prefix + (b64encode(secret) if self.base64 else secret)


@dataclass(frozen=True)
class Secret:
    """Where a secret comes from.

    Attributes:
        read: gives it. Raises ConfigError.
        file: the file that `read` reads, or None if the secret cannot change.
    """

    read: Callable[[], bytes] = field(repr=False)
    file: Path | None = None

    def followed(self, on_problem: OnProblem) -> Callable[[], bytes]:
        """Gives the secret from the present file. While a new file is unusable, the last one stays in use.

        Raises ConfigError if the file is unusable from the start.
        """
        files = () if self.file is None else (self.file,)
        return Latest(files, self.read, on_problem)


@dataclass(frozen=True)
class Credential:
    """A secret in the form in which somebody expects it."""

    style: CredentialStyle
    secret: Secret

    def header(self, secret: bytes) -> Header:
        """The header with the present secret."""
        return self.style.header, self.style.value(secret)

    def followed(self, on_problem: OnProblem) -> Callable[[], Header]:
        """Gives the header with the present secret (see Secret). Raises ConfigError."""
        latest = self.secret.followed(on_problem)
        return lambda: self.header(latest())


@dataclass(frozen=True)
class PooledCredential:
    """One of a provider's credentials.

    Attributes:
        name: unique among the provider's.
        own: for the provider's own API.
        compatible: the same secret, for its OpenAI-compatible API.
        weight: its share of the calls, beside those of the others.
    """

    name: str
    own: Credential
    compatible: Credential
    weight: int = 1
