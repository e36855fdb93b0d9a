"""`blindrelay-relay doctor`: checks whether a relay with this configuration could serve."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from blindrelay.relay_node.audit_log import Reason
from blindrelay.relay_node.channel import open_channel
from blindrelay.relay_node.config import EnvoyConfig, PeerConfig, ReplicaConfig, read_relay_config
from blindrelay.relay_node.directory import DirectoryFormatError, read_listing
from blindrelay.relay_node.failure_reasons import reason_of
from blindrelay.relay_node.ledger import GET_LEASE_METHOD
from blindrelay.serving import ConfigError, authorization, read_token
from blindrelay.serving.doctor import PATIENCE, CheckFailedError, Finding, finding, listener_findings
from blindrelay.serving.landlock import landlock_version
from blindrelay.serving.leases import NODE_SIZE
from blindrelay.serving.tokens import DIGEST_SIZE
from blindrelay.v1.channel import Metadata
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD
from blindrelay.v1.ledger_pb2 import GetLeaseRequest

_OLDEST_ENVOY: Final = "Envoy 1.40 or later, and have it in PATH"

_LEDGER_REMEDY: Final = (
    "check [ledger] in relay.toml, and that the ledger runs and knows the token in its token_file"
)


def relay_findings(file: Path) -> Iterator[Finding]:
    """All checks. If the configuration is wrong, there are no others."""
    try:
        config = read_relay_config(file)
    except ConfigError as error:
        yield Finding("configuration", False, str(error))
        return
    yield Finding("configuration", True, f"{file} is valid (bridge processes: {len(config.replicas)})")
    yield from listener_findings(config.tokens, config.tls, config.listen)
    if config.sandbox:
        yield finding("sandbox", check_sandbox)
    if config.ledger is not None:
        yield finding("ledger", partial(check_ledger, config.ledger))
    if config.envoy is not None:
        yield finding("envoy", partial(check_envoy, config.envoy))
    for replica in config.replicas:
        yield finding("replica", partial(check_replica, replica))


def check_sandbox() -> str:
    """Checks what this kernel's Landlock can restrict. Raises CheckFailedError if it has no Landlock."""
    version = landlock_version()
    if not version:
        raise CheckFailedError("this kernel has no Landlock, or forbids it", "use Linux 5.13 or later")
    ports = "TCP ports" if version >= 4 else "not TCP ports (Linux 6.7 would)"
    return f"Landlock {version} restricts files and {ports}"


def check_envoy(envoy: EnvoyConfig) -> str:
    """Checks Envoy's version and folder. Raises CheckFailedError."""
    folder = envoy.folder
    if folder.exists() and (not folder.is_dir() or folder.stat().st_mode & 0o077):
        raise CheckFailedError(f"{folder} is not a private folder", f"run `chmod 700 {folder}`")
    program = shutil.which("envoy")
    if program is None:
        raise CheckFailedError("Envoy is not in PATH", f"install {_OLDEST_ENVOY}")
    try:
        said = subprocess.run(  # noqa: S603 - the operator's own program
            (program, "--version"), capture_output=True, text=True, timeout=PATIENCE, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        raise CheckFailedError("Envoy cannot be run", f"install {_OLDEST_ENVOY}") from None
    version = re.search(r"/(\d+)\.(\d+)\.\d+/", said)
    if version is None or (int(version[1]), int(version[2])) < (1, 40):
        raise CheckFailedError("this version of Envoy is too old", f"install {_OLDEST_ENVOY}")
    return f"Envoy {version[1]}.{version[2]} can be run"


def check_replica(replica: ReplicaConfig) -> str:
    """Fetches its key directory, as a relay does. Raises ConfigError and CheckFailedError."""
    try:
        listing = read_listing(asyncio.run(_directories(replica)))
    except grpc.aio.AioRpcError as error:
        raise _failure(replica, reason_of(error)) from None
    except DirectoryFormatError:
        raise _failure(replica, Reason.NO_DIRECTORY) from None
    if replica.identities and listing.identity not in replica.identities:
        raise _failure(replica, Reason.WRONG_IDENTITY)
    return f"{replica.address} serves a key directory (keys: {len(listing.key_ids)})"


def check_ledger(ledger: PeerConfig) -> str:
    """Asks for a lease with a token that nobody has. Raises ConfigError and CheckFailedError."""
    try:
        asyncio.run(_lease_for_nobody(ledger))
    except grpc.aio.AioRpcError as error:
        problem = f"{ledger.address} ({reason_of(error).name.lower()}) gives no leases"
        raise CheckFailedError(problem, _LEDGER_REMEDY) from None
    return f"{ledger.address} gives leases"


async def _lease_for_nobody(ledger: PeerConfig) -> None:
    request = GetLeaseRequest(token_digest=bytes(DIGEST_SIZE), node=bytes(NODE_SIZE))
    async with open_channel(ledger) as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(GET_LEASE_METHOD)
        await ask(request.SerializeToString(), timeout=PATIENCE, metadata=_shown(ledger))


def _shown(peer: PeerConfig) -> Metadata:
    return () if peer.token_file is None else (authorization(read_token(peer.token_file)),)


async def _directories(replica: ReplicaConfig) -> bytes:
    async with open_channel(replica) as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(KEY_DIRECTORY_METHOD)
        return await ask(b"", timeout=PATIENCE, metadata=_shown(replica))


def _failure(replica: ReplicaConfig, reason: Reason) -> CheckFailedError:
    what, _, remedy = reason.value.partition(": ")
    return CheckFailedError(f"{replica.address} ({reason.name.lower()}): {what}", remedy)
