"""Access tokens: shown once, stored as hashes, checked on every call.

A token is "brt_" and 43 base64url characters: 32 random bytes. So its SHA-256 cannot be searched for.
A token file has one line for each: NAME SHA256HEX CREATED (ISO 8601, UTC).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from blindrelay.serving.errors import ConfigError
from blindrelay.serving.files import Followed, read_secret, replace_file, version
from blindrelay.v1.grpc_profile import AUTHORIZATION_KEY

MAX_TOKENS: Final = 100_000
"""Lines of a token file: about 12 MB, and far more than one relay process serves."""

DIGEST_SIZE: Final = 32
"""Bytes by which a token is known: its SHA-256."""

CallMetadata = Iterable[tuple[str, str | bytes]] | None
"""What gRPC gives a handler of its call's metadata."""

_TOKEN: Final = re.compile(r"brt_[A-Za-z0-9_-]{43}")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class TokenEntry:
    """One line of a token file. The digest cannot be turned back into the token."""

    name: str
    digest: str
    created: str


def issue_token(path: Path, name: str, now: datetime) -> str:
    """Adds a new token to the file and returns it, for this one time. Creates the file (0600) if need be.

    Raises ConfigError if the name is taken or not 1 to 64 letters, digits, dots, dashes and underscores.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f'"{name}" is not a valid token name: use 1 to 64 letters, digits and . _ -')
    with _locked(path):
        entries = _read(path) if path.exists() else ()
        if any(entry.name == name for entry in entries):
            raise ConfigError(
                f'{path}: a token named "{name}" exists already: revoke it first or choose another name'
            )
        token, digest = new_token()
        _write(path, (*entries, TokenEntry(name, digest.hex(), now.isoformat(timespec="seconds"))))
    return token


def new_token() -> tuple[str, bytes]:
    """A new token and its SHA-256 (32 bytes)."""
    token = "brt_" + secrets.token_urlsafe(32)
    return token, token_digest(token)


def revoke_token(path: Path, name: str) -> None:
    """Removes a token from the file. Running servers refuse it from then on. Raises ConfigError."""
    with _locked(path):
        entries = _read(path)
        kept = tuple(entry for entry in entries if entry.name != name)
        if len(kept) == len(entries):
            raise ConfigError(f'{path}: no token is named "{name}"')
        _write(path, kept)


def list_tokens(path: Path) -> tuple[TokenEntry, ...]:
    """The file's entries in order. Raises ConfigError if it is missing, unreadable or malformed."""
    return _read(path)


def read_token(path: Path) -> str:
    """The token in a file, for a process that presents one. Raises ConfigError."""
    token = read_secret(path, "token file").decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigError(f"{path}: not an access token (brt_ and 43 characters), as `token issue` prints it")
    return token


def bearer(metadata: CallMetadata) -> str | None:
    """The token in a call's metadata, of any form, or None unless there is exactly one."""
    shown = [value for key, value in metadata or () if key == AUTHORIZATION_KEY]
    if len(shown) != 1 or not isinstance(shown[0], str):
        return None
    scheme, _, token = shown[0].partition(" ")
    return token if scheme == "Bearer" else None


def shown_digest(metadata: CallMetadata) -> bytes | None:
    """The SHA-256 of the access token in a call's metadata, or None unless there is exactly one."""
    token = bearer(metadata)
    return None if token is None or not _TOKEN.fullmatch(token) else token_digest(token)


class TokenFile:
    """The tokens that a running server accepts: those that are in the file now.

    If the file is missing or invalid, nobody is admitted until it can be read again. `on_problem` is called
    once for each version of the file.
    """

    def __init__(
        self,
        path: Path,
        on_problem: Callable[[ConfigError], None] = lambda _: None,
        blind: bytes | None = None,
    ) -> None:
        """Reads the file. Raises ConfigError if it is missing, unreadable or invalid.

        `blind` (32 bytes) keeps the tokens' names the same in a later process; None draws it.
        """
        self._path = path
        self._on_problem = on_problem
        self._blind = secrets.token_bytes(32) if blind is None else blind
        self._file = Followed(lambda: version(path), self._load, look=self._now_accepted)
        self._accepted: frozenset[bytes] | None = self._file.first
        """None while the file cannot be read."""

    @property
    def count(self) -> int:
        """How many tokens are accepted."""
        return len(self._accepted or ())

    def holder(self, metadata: CallMetadata) -> bytes | None:
        """A name for the token in a call's metadata, or None unless that is exactly one token of the file.

        The name is a keyed hash of 32 bytes, which means nothing outside this process. The time does not
        depend on which tokens exist, since callers do not know the hash's key.
        """
        accepted = self._now_accepted() or frozenset()
        digest = shown_digest(metadata)
        if digest is None:
            return None
        holder = self._blinded(digest)
        return holder if holder in accepted else None

    def revoked(self, holders: Iterable[bytes]) -> set[bytes]:
        """The holders whose token has been removed from the file. None of them while it cannot be read."""
        accepted = self._now_accepted()
        return set() if accepted is None else set(holders) - accepted

    def _now_accepted(self) -> frozenset[bytes] | None:
        try:
            accepted = self._file.news()
        except ConfigError as problem:
            self._accepted = None
            self._on_problem(problem)
        else:
            if accepted is not None:
                self._accepted = accepted
        return self._accepted

    def _load(self) -> frozenset[bytes]:
        return frozenset(self._blinded(bytes.fromhex(entry.digest)) for entry in _read(self._path))

    def _blinded(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._blind, digest_size=32).digest()


def token_digest(token: str) -> bytes:
    """By what a token is known: its SHA-256, 32 bytes."""
    return hashlib.sha256(token.encode("ascii")).digest()


def _read(path: Path) -> tuple[TokenEntry, ...]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: the tokens file does not exist: make it with `token issue NAME --tokens {path}`"
        ) from None
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{path}: the tokens file cannot be read") from None
    if len(lines) > MAX_TOKENS:
        raise ConfigError(f"{path}: more than {MAX_TOKENS} tokens")
    return tuple(_entry(path, number, line) for number, line in enumerate(lines, 1) if line.strip())


def _entry(path: Path, number: int, line: str) -> TokenEntry:
    fields = line.split()
    if len(fields) != 3 or not _NAME.fullmatch(fields[0]) or not _DIGEST.fullmatch(fields[1]):
        raise ConfigError(f"{path}: line {number} is not NAME SHA256HEX CREATED")
    return TokenEntry(*fields)


def _write(path: Path, entries: Iterable[TokenEntry]) -> None:
    text = "".join(f"{entry.name} {entry.digest} {entry.created}\n" for entry in entries)
    replace_file(path, text, "tokens file")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Locks the folder, so that two commands at once do not overwrite each other's changes."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"{path.parent}: the folder cannot be used ({error.strerror})") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
