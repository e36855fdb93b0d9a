"""A credential that the bridge adds itself: to a provider's requests, or for a proxy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from blindrelay.serving.files import Latest
from blindrelay.serving.tls import OnProblem
from blindrelay.v1.http_headers import Header


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
