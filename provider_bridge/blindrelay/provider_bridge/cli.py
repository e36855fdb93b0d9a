"""The command blindrelay-bridge."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from blindrelay.provider_bridge.audit_log import AuditLog
from blindrelay.provider_bridge.billing.commands import add_prices
from blindrelay.provider_bridge.bridge import Bridge
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.config import BridgeConfig, DelegatedKey, read_bridge_config
from blindrelay.provider_bridge.doctor import bridge_findings
from blindrelay.provider_bridge.importing.command import add_import
from blindrelay.provider_bridge.keys.delegation_file import (
    MAX_DAYS,
    date,
    make_delegation,
    read_delegation,
    write_delegation,
)
from blindrelay.provider_bridge.keys.key_files import (
    format_public_key,
    load_identity,
    load_or_make_identity,
    load_signing_key,
    make_signing_key,
    parse_public_key,
)
from blindrelay.provider_bridge.keys.signatory import DelegatedIdentity, HeldIdentity, Signatory
from blindrelay.serving import (
    Address,
    Announce,
    CommandParser,
    ConfigError,
    add_health_check,
    command_parser,
    run_command,
)
from blindrelay.serving.command import Commands
from blindrelay.trust import IdentityError, IdentityKey, format_identity, identity_hash, parse_identity


def parser() -> CommandParser:
    """The command's arguments."""
    command, commands = command_parser(
        "blindrelay-bridge",
        "Open sealed exchanges, call a provider, and seal its responses.",
        _serve,
        bridge_findings,
    )
    _add_identity(commands)
    _add_signing_key(commands)
    _add_delegate(commands)
    add_prices(commands)
    add_import(commands)
    add_health_check(commands, read_bridge_config)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    return run_command(parser(), argv)


def _serve(arguments: argparse.Namespace, announce: Announce) -> None:
    config = read_bridge_config(arguments.config)
    log, clock = AuditLog(), Clock()
    signatory = _signatory(config, clock, log)

    def on_ready(address: Address) -> None:
        text = format_identity(signatory.identity)
        announce(
            f"The bridge listens on {address}. Clients pin its identity: {text}",
            listening=str(address),
            identity=text,
        )

    async def serve() -> None:
        await Bridge(config, signatory, log, clock).serve(on_ready)

    asyncio.run(serve())


def _signatory(config: BridgeConfig, clock: Clock, log: AuditLog) -> Signatory:
    keys = config.identity_key
    if isinstance(keys, DelegatedKey):
        return DelegatedIdentity(keys.signing_key, keys.delegation, clock, log.note)
    identity = load_or_make_identity(keys)
    _check_successor(identity, config.next_identity_hash)
    return HeldIdentity(identity, config.next_identity_hash)


def _check_successor(identity: IdentityKey, next_identity_hash: bytes) -> None:
    if next_identity_hash == identity_hash(identity.public_key):
        raise ConfigError("the next identity is the present one: announce the identity that will follow it")


def _add_identity(commands: Commands) -> None:
    identity = commands.add_parser("identity", help="print the identity that clients pin")
    source = identity.add_mutually_exclusive_group(required=True)
    source.add_argument("--key", type=Path, metavar="FILE", help="the identity key's file")
    source.add_argument("--delegation", type=Path, metavar="FILE", help="a delegation by the identity")
    identity.add_argument("--make", action="store_true", help="make the key if the file does not exist")
    identity.set_defaults(run=_print_identity)


def _add_signing_key(commands: Commands) -> None:
    command = commands.add_parser(
        "signing-key", help="make a replica's signing key, and print its public key for `delegate`"
    )
    target = command.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="FILE", help="write a new one here")
    target.add_argument("--key", type=Path, metavar="FILE", help="print the public key of this one")
    command.set_defaults(run=_print_signing_key)


def _add_delegate(commands: Commands) -> None:
    command = commands.add_parser("delegate", help="let a replica's signing key speak for the identity")
    command.add_argument("--key", required=True, type=Path, metavar="FILE", help="the identity key's file")
    command.add_argument(
        "--signing-key", required=True, metavar="PUBLIC", help="what `signing-key` printed: brv_…"
    )
    command.add_argument("--days", required=True, type=int, metavar="N", help=f"1 to {MAX_DAYS}")
    command.add_argument("--out", required=True, type=Path, metavar="FILE", help="write the delegation here")
    command.add_argument("--next-identity", metavar="br1…", help="announce this identity as the next one")
    command.set_defaults(run=_delegate)


def _print_identity(arguments: argparse.Namespace) -> None:
    if arguments.key is not None:
        load = load_or_make_identity if arguments.make else load_identity
        _print(format_identity(load(arguments.key).public_key))
    else:
        _print(format_identity(read_delegation(arguments.delegation).identity))


def _print_signing_key(arguments: argparse.Namespace) -> None:
    signer = load_signing_key(arguments.key) if arguments.out is None else make_signing_key(arguments.out)
    _print(format_public_key(signer.public_key))


def _delegate(arguments: argparse.Namespace) -> None:
    identity = load_identity(arguments.key)
    public_key = parse_public_key(arguments.signing_key)
    successor = _hash_of(arguments.next_identity)
    _check_successor(identity, successor)
    made = make_delegation(identity, public_key, arguments.days, time.time(), successor)
    write_delegation(arguments.out, made)
    _print(
        f"{format_identity(identity.public_key)} lets {arguments.signing_key} speak for it until "
        f"{date(read_delegation(arguments.out).not_after)}"
    )


def _hash_of(identity: str | None) -> bytes:
    try:
        return b"" if identity is None else identity_hash(parse_identity(identity))
    except IdentityError as error:
        raise ConfigError(f"--next-identity is wrong: {error}") from None


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
