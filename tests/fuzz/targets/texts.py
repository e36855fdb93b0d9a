"""What people type and callers show: identities, connection strings, tokens (sections 4 and 7.1)."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import ConfigurationError
from blindrelay.serving import ConfigError, TokenFile, authorization, list_tokens
from blindrelay.trust import (
    IdentityError,
    format_identity,
    identity_groups,
    parse_identity,
    parse_typed_identity,
)
from blindrelay.v1.grpc_profile import AUTHORIZATION_KEY

from ..tape import Tape, written
from ..target import Target, check
from ..vectors import every

_TOKEN: Final = "brt_" + "A" * 43
_LINE: Final = f"alice {hashlib.sha256(_TOKEN.encode()).hexdigest()} 2026-01-01T00:00:00+00:00\n"
_IDENTITY: Final = format_identity(bytes(range(32)))


def identity(data: bytes) -> None:
    """Any text as an identity, typed by hand or exact: one exact text for each."""
    text = data.decode("utf-8", "replace")
    public_key = parse_typed_identity(text)
    check(len(public_key) == 32, "an identity is 32 bytes")
    check(parse_typed_identity(identity_groups(public_key)) == public_key, "its groups are the same identity")
    check(parse_identity(text) == public_key, "typed or written, one identity")
    check(format_identity(public_key) == text, "an identity has one text")


def connection_string(data: bytes) -> None:
    """Any text as a connection string, except one that names a file in another folder."""
    text = data.decode("utf-8", "replace")
    if "/" in unquote(text).replace("blindrelay://", "", 1).rstrip("/"):
        return
    try:
        connection = ConnectionConfig.from_string(text)
    except ConfigurationError as error:
        check(_TOKEN not in str(error), "a token is not repeated")
        raise
    check(len(connection.identity) == 32 and 0 < connection.port < 65_536, "an identity and a port")
    check(connection.tls or connection.host in ("localhost", "::1") or connection.host[:4] == "127.", "TLS")
    check(connection.token is None or (connection.token.isascii() and connection.token), "a usable token")
    check(_TOKEN not in repr(connection), "a token is not shown")


def authorization_metadata(data: bytes) -> None:
    """A call's metadata: admitted with exactly one known token, and by nothing else."""
    tape = Tape(data)
    shown: list[tuple[str, str | bytes]] = []
    for _ in range(tape.byte() % 4):
        key = AUTHORIZATION_KEY if tape.flag() else tape.chunk().decode("latin-1")
        value = tape.choice((authorization(_TOKEN)[1], "", "Bearer ")) + tape.chunk().decode("latin-1")
        shown.append((key, value.encode("latin-1") if tape.flag() else value))
    values = [value for key, value in shown if key == AUTHORIZATION_KEY]
    check(
        (_tokens().holder(shown) is not None) == (values == [f"Bearer {_TOKEN}"]),
        "one known token, shown once",
    )


def token_file(data: bytes) -> None:
    """Any bytes as a token file: every entry can be written and read again."""
    path = _folder() / "fuzzed"
    path.write_bytes(data)
    entries = list_tokens(path)
    lines = "".join(f"{entry.name} {entry.digest} {entry.created}\n" for entry in entries)
    path.write_text(lines, "utf-8")
    check(list_tokens(path) == entries, "what is read is written the same way")
    check(all(len(bytes.fromhex(entry.digest)) == 32 for entry in entries), "digests of 32 bytes")


@cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="blindrelay-fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@cache
def _tokens() -> TokenFile:
    path = _folder() / "tokens"
    path.write_text(_LINE, "utf-8")
    return TokenFile(path)


def _identities() -> Iterator[bytes]:
    for each in every("identity"):
        yield each["text"].encode()


_CONNECTIONS: Final = (
    f"blindrelay://{_TOKEN}@relay.example:443?bridge={_IDENTITY}".encode(),
    f"blindrelay://[::1]:8443/?bridge={_IDENTITY}&tls=off&credentials=brought&deadline=6h".encode(),
    f"blindrelay://localhost?bridge={_IDENTITY}&token=@missing&ca=%7e".encode(),
)

TARGETS = (
    Target("identity", identity, (IdentityError,), _identities, 128),
    Target("connection_string", connection_string, (ConfigurationError,), lambda: _CONNECTIONS, 384),
    Target("authorization", authorization_metadata, (), lambda: [written(1, 1, 0, b"", 0)], 256),
    Target("token_file", token_file, (ConfigError,), lambda: [_LINE.encode()], 512),
)
