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
class Credential:
    """Where a credential header comes from.

    Attributes:
        name: the header's, in lower case.
        read: gives the header's value. Raises ConfigError.
        file: the file that `read` reads, or None if the value cannot change.
    """

    name: bytes
    read: Callable[[], bytes] = field(repr=False)
    file: Path | None = None

    def followed(self, on_problem: OnProblem) -> Callable[[], Header]:
        """Gives the header from the present file. While a new file is unusable, the last header stays in use.

        Raises ConfigError if the file is unusable from the start.
        """
        files = () if self.file is None else (self.file,)
        latest = Latest(files, self.read, on_problem)
        return lambda: (self.name, latest())


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
