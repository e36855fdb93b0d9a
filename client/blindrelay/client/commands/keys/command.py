"""`blindrelay keys`: shows and compares the bridge's keys that this client trusts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from blindrelay.client.commands.keys.report import compare_json, compare_text, show_json, show_text
from blindrelay.client.commands.keys.sources import (
    OWN,
    Source,
    own_source,
    read_sources,
    read_text,
    save,
    write_text,
)
from blindrelay.client.commands.options import connection_of, json_option, print_either, relay_option
from blindrelay.client.commands.profile_writer import write_profile
from blindrelay.client.connection_config import CONNECTION_VARIABLE, profile_file, profile_name, read_profile
from blindrelay.client.errors import BlindRelayError, ConfigurationError, RelayError
from blindrelay.client.history_store import HistoryStore
from blindrelay.trust import (
    Comparison,
    DirectoryError,
    HistoryFormError,
    IdentityError,
    compare,
    decode_proof,
    encode_proof,
    format_identity,
    identity_groups,
    parse_typed_identity,
    verify_proof,
)

NOTHING_UNEXPLAINED: Final = 0
DIFFERENCES: Final = 1

PATIENCE: Final = 300
"""Seconds. A replica shown to one side only counts after four minutes."""

ROUND_SECONDS: Final = 15
"""Seconds between two rounds of fetching."""


@click.group()
def keys() -> None:
    """Show and compare the bridge's keys that this client trusts.

    \b
    Examples:
      blindrelay keys show                      print the bridge's keys
      blindrelay keys pin br1…                  pin another identity
      blindrelay keys compare keys-of-ann.json  compare with what others were shown

    \b
    Exit codes:
      0    done; no unexplained difference; a valid proof
      1    differences; not a valid proof
      2    wrong input
      3    a relay was not reached, or served nothing that can be trusted
      130  interrupted
    """


@keys.command(short_help="Print the bridge's keys, verified.")
@relay_option
@json_option
@click.option("--save", "file", type=click.Path(path_type=Path), help="Write a file to compare with.")
def show(relay: str | None, as_json: bool, file: Path | None) -> int:
    """Fetch the bridge's keys, verify them, and print what is known about them.

    Prints the pinned identity as text, and in groups to compare by voice. The file of --save contains no
    secret: give it to others who pin the same bridge, for `blindrelay keys compare`.

    \b
    Examples:
      blindrelay keys show
      blindrelay keys show --save keys-of-ann.json

    Exit codes: 0 done, 2 wrong input, 3 no relay or no key that can be trusted, 130 interrupted.
    """
    source = own_source(connection_of(relay))
    source.look()
    if file is not None:
        save(source.history, file)
        click.echo(f"blindrelay: saved {file}", err=True)
    print_either(as_json, lambda: show_json(source), lambda: show_text(source))
    return NOTHING_UNEXPLAINED


@keys.command(short_help="Check that all keys are the pinned bridge's.")
@relay_option
@json_option
def verify(relay: str | None, as_json: bool) -> int:
    """Fetch the bridge's keys and check that all of them are the pinned bridge's.

    \b
    Examples:
      blindrelay keys verify
      blindrelay keys verify --json | jq -r '.refused[]'

    Exit codes: 0 all are, 1 some were refused, 2 wrong input, 3 no relay or no key that can be trusted,
    130 interrupted.
    """
    source = own_source(connection_of(relay))
    source.look()
    good, refused = len(source.ring.directories), [str(each) for each in source.ring.refusals]
    identity = format_identity(source.history.identity)
    print_either(
        as_json,
        lambda: {"identity": identity, "good": good, "refused": refused},
        lambda: [f"{good} good, by {identity}", *(f"REFUSED: {each}" for each in refused)],
    )
    return DIFFERENCES if refused else NOTHING_UNEXPLAINED


@keys.command(short_help="Pin another identity in the configured profile.")
@click.argument("text", metavar="IDENTITY")
@click.option("--check/--no-check", default=True, help="--no-check: pin it without asking the relay.")
@json_option
def pin(text: str, check: bool, as_json: bool) -> int:
    """Pin another identity in the configured profile, as the bridge's operator gave it.

    It is written only if the relay serves a bridge of that identity. Quote it if it has spaces; spaces,
    hyphens and capitals do not matter.

    \b
    Examples:
      blindrelay keys pin br16jrze46xa5jn7l5rgtipb3l2iolckx3b55os4f4hfw3g6vvffjspi7hn
      blindrelay keys pin --no-check "br1 6jrz e46x a5jn 7l5r gtip b3l2 iolc …"

    Exit codes: 0 pinned, 2 wrong input, 3 no relay, or it serves no key by that identity, 130 interrupted.
    """
    try:
        identity = parse_typed_identity(text)
    except IdentityError as error:
        raise click.UsageError(str(error)) from None
    if os.environ.get(CONNECTION_VARIABLE):
        raise click.UsageError(f"the pin is in {CONNECTION_VARIABLE}: change it there")
    if check:
        # No history file: an identity that is not pinned yet leaves no trace.
        connection = replace(connection_of(None), identity=identity)
        Source("the relay", HistoryStore(identity), connection).look()
    file, name = profile_file(), profile_name()
    settings = read_profile(file, name)
    pinned = format_identity(identity)
    write_profile(file, name, settings | {"bridge": pinned})
    print_either(
        as_json,
        lambda: {"file": str(file), "profile": name, "bridge": pinned},
        lambda: [f"Pinned in {file}, profile {name}:", identity_groups(identity)],
    )
    return NOTHING_UNEXPLAINED


@keys.command("compare", short_help="Compare with what others were shown.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@relay_option
@json_option
@click.option(
    "--proof",
    "file",
    type=click.Path(path_type=Path),
    help="Write the proof of a contradiction to this file.",
)
@click.option(
    "--patience",
    type=click.IntRange(0, 3_600),
    default=PATIENCE,
    show_default=True,
    help="Seconds to wait for a replica that only one side is shown.",
)
def compare_command(
    sources: tuple[str, ...], relay: str | None, as_json: bool, file: Path | None, patience: int
) -> int:
    """Compare what this client was shown of the bridge's keys with what others were shown.

    A SOURCE is a file that `keys show --save` wrote, a connection string (of a second relay, or of the
    bridge itself), or the word history: what this client was shown. One SOURCE is compared with history.

    \b
    Examples:
      blindrelay keys compare keys-of-ann.json
      blindrelay keys compare 'blindrelay://relay-2.example?bridge=br1…&token=@token-2'

    Exit codes: 0 no difference that honest operation cannot explain, 1 differences, 2 wrong input, 3 a relay
    was not reached or served nothing that can be trusted, 130 interrupted.
    """
    texts = sources if len(sources) > 1 else (OWN, *(each for each in sources if each != OWN))
    if len(texts) < 2:
        raise click.UsageError("nothing to compare this client's history with: give another SOURCE")
    own = connection_of(relay) if OWN in texts else None
    sides = read_sources(texts, own)
    comparison, failure = _compared(sides, patience)
    _keep(comparison, sides, file)
    print_either(as_json, lambda: compare_json(sides, comparison), lambda: compare_text(sides, comparison))
    if comparison.differences:
        return DIFFERENCES
    if failure is not None:
        raise failure
    return NOTHING_UNEXPLAINED


@keys.command("verify-proof", short_help="Check a proof of contradiction, offline.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--identity", "text", required=True, help="The bridge's br1…; spaces and case do not matter.")
@json_option
def verify_proof_command(file: Path, text: str, as_json: bool) -> int:
    """Check offline that FILE proves a contradiction by the bridge of that identity.

    \b
    Examples:
      blindrelay keys verify-proof proof.json --identity br16jrze46xa5jn7l5rgt…

    Exit codes: 0 it is a proof, 1 it is not, 2 wrong input.
    """
    try:
        identity = parse_typed_identity(text)
        named, statements = decode_proof(read_text(file))
    except IdentityError as error:
        raise ConfigurationError(f"--identity: {error}") from None
    except HistoryFormError as error:
        raise ConfigurationError(f"{file}: {error}") from None
    try:
        first, _ = verify_proof(statements, identity)
    except DirectoryError as error:
        reason = str(error) if named == identity else f"it is about {format_identity(named)}"
        print_either(as_json, lambda: {"proof": False, "reason": reason}, lambda: [f"Not a proof: {reason}."])
        return DIFFERENCES
    replica, number = first.replica_id.hex(), first.sequence
    print_either(
        as_json,
        lambda: {"proof": True, "replica_id": replica, "sequence": number},
        lambda: [f"A proof: replica {replica} signed two different directories with the number {number}."],
    )
    return NOTHING_UNEXPLAINED


def _compared(sides: list[Source], patience: int) -> tuple[Comparison, BlindRelayError | None]:
    """The comparison of all sides, repeated while it may still settle; and the first failure to fetch."""
    for left in range(patience // ROUND_SECONDS, -1, -1):
        failure = _look(sides)
        for side in sides:
            if side.is_empty:
                raise failure or ConfigurationError(f"{side.name} has no key directory to compare")
        comparison = compare({side.name: side.history for side in sides})
        waiting = [each for each in comparison.unsettled if _may_settle(each, sides)]
        if not waiting or not left:
            break
        names = ", ".join(each.hex()[:8] for each in waiting)
        click.echo(f"blindrelay: only one side is shown replica {names}: fetching again …", err=True)
        time.sleep(ROUND_SECONDS)
    return comparison, failure


def _look(sides: Iterable[Source]) -> BlindRelayError | None:
    failure: BlindRelayError | None = None
    for side in sides:
        try:
            side.look()
        except ConfigurationError:
            raise
        except BlindRelayError as error:
            failure = failure or RelayError(f"{side.name}: {error}")
    return failure


def _may_settle(replica_id: bytes, sides: Iterable[Source]) -> bool:
    """Whether some relays show the replica right now, and others do not."""
    shown = [side.shows(replica_id) for side in sides if side.ring.directories]
    return any(shown) and not all(shown)


def _keep(comparison: Comparison, sides: Iterable[Source], file: Path | None) -> None:
    """Writes contradictions into this client's history, if compared, and the first of them into `file`."""
    found = [(each.identity, each.proof) for each in comparison.differences if each.proof is not None]
    for side in sides:
        if found and side.store.path is not None:
            with side.store.transaction() as history:
                for identity, proof in found:
                    if identity in history.identities:
                        history.directories.convict(*verify_proof(proof, identity))
    if found and file is not None:
        write_text(file, encode_proof(*found[0]))
