"""`blindrelay-relay doctor`: checks whether a relay with this configuration could serve."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc

from blindrelay.relay_node.audit_log import Reason
from blindrelay.relay_node.channel import open_channel
from blindrelay.relay_node.config import ReplicaConfig, read_relay_config
from blindrelay.relay_node.directory import DirectoryFormatError, read_listing
from blindrelay.relay_node.failure_reasons import reason_of
from blindrelay.serving import ConfigError, authorization, read_token
from blindrelay.serving.doctor import PATIENCE, CheckFailedError, Finding, finding, listener_findings
from blindrelay.serving.landlock import landlock_version
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD


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
    for replica in config.replicas:
        yield finding("replica", partial(check_replica, replica))


def check_sandbox() -> str:
    """Checks what this kernel's Landlock can restrict. Raises CheckFailedError if it has no Landlock."""
    version = landlock_version()
    if not version:
        raise CheckFailedError("this kernel has no Landlock, or forbids it", "use Linux 5.13 or later")
    ports = "TCP ports" if version >= 4 else "not TCP ports (Linux 6.7 would)"
    return f"Landlock {version} restricts files and {ports}"


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


async def _directories(replica: ReplicaConfig) -> bytes:
    async with open_channel(replica) as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(KEY_DIRECTORY_METHOD)
        token_file = replica.token_file
        metadata = () if token_file is None else (authorization(read_token(token_file)),)
        return await ask(b"", timeout=PATIENCE, metadata=metadata)


def _failure(replica: ReplicaConfig, reason: Reason) -> CheckFailedError:
    what, _, remedy = reason.value.partition(": ")
    return CheckFailedError(f"{replica.address} ({reason.name.lower()}): {what}", remedy)
