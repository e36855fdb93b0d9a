"""Leases as a client carries them: JSON Web Tokens (RFC 7519), signed with HS256, and the keys that sign them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from blindrelay.serving import ConfigError, read_secret
from blindrelay.serving.files import replace_file

KEY_SIZE: Final = 32
"""Bytes of a key: the size of HS256's hash (RFC 7518, section 3.2)."""

ROTATE_SECONDS: Final = 86_400
"""After a day a new key signs. The one before it stays valid for another day, a lease for five minutes."""

SPREAD_SECONDS: Final = 60
"""A new key signs nothing before all relays have had this time to receive it."""

Claims = Mapping[str, object]


class LeaseKeys:
    """The two newest keys, in a private file, so that leases survive a restart of the ledger."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Reads the file, or makes it. `clock` returns Unix seconds. Raises ConfigError."""
        self._path = path
        self._clock = clock
        self._keys: list[tuple[int, bytes]] = _read(path) if path.exists() else []
        if not self._keys:
            self._draw()

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The valid keys, newest first."""
        return tuple(key for _, key in self._keys)

    def rotate(self) -> bool:
        """Draws a new key if the newest is a day old. Returns whether it did. Raises ConfigError."""
        if self._clock() - self._keys[0][0] < ROTATE_SECONDS:
            return False
        self._draw()
        return True

    def sign(self, claims: Claims) -> str:
        """The lease with these claims."""
        return sign_lease(claims, self._signing_key())

    def _signing_key(self) -> bytes:
        ready = [key for drawn, key in self._keys if self._clock() - drawn >= SPREAD_SECONDS]
        return ready[0] if ready else self._keys[-1][1]

    def _draw(self) -> None:
        keys = [(int(self._clock()), secrets.token_bytes(KEY_SIZE)), *self._keys[:1]]
        replace_file(self._path, "".join(f"{drawn} {key.hex()}\n" for drawn, key in keys), "lease keys file")
        self._keys = keys

    def __repr__(self) -> str:
        return f"<LeaseKeys {self._path}>"


def sign_lease(claims: Claims, key: bytes) -> str:
    """The compact form (RFC 7515, section 3.1) of a JWT with these claims."""
    signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
    return f"{signed}.{_base64url(hmac.digest(key, signed.encode('ascii'), hashlib.sha256))}"


def _read(path: Path) -> list[tuple[int, bytes]]:
    lines = read_secret(path, "lease keys file").decode("ascii", "replace").splitlines()
    try:
        keys = [(int(drawn), bytes.fromhex(key)) for drawn, key in (line.split() for line in lines)]
    except ValueError:
        keys = []
    if not 1 <= len(keys) <= 2 or any(len(key) != KEY_SIZE for _, key in keys):
        raise ConfigError(f"{path}: not a lease keys file: delete it, and clients fetch new leases")
    return keys


def _encoded(value: Claims) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
