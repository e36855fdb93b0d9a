"""Attacks on key directories: substituted, altered, mixed, old, withheld, another for each client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final
from unittest.mock import patch

from blindrelay.provider_bridge.keys import epoch_keys
from blindrelay.testbed.attacks.alterations import flipped
from blindrelay.testbed.attacks.attack import (
    EXCHANGE_TAKEN,
    LAST_UNNOTICED,
    NOTHING_SENT,
    PROMPT_READ,
    SEALED,
    SEALED_AGAIN,
    SECOND_CALL,
    UNNOTICED,
    UNTYPED,
    Attack,
    Proof,
)
from blindrelay.testbed.attacks.doubles.client import (
    without_directory_check,
    without_history,
    without_reseal_rule,
    without_suite_check,
)
from blindrelay.testbed.attacks.doubles.double import Double
from blindrelay.testbed.attacks.doubles.relay import without_replica_identities
from blindrelay.testbed.attacks.doubles.wire import without_size_limits, without_typed_errors
from blindrelay.testbed.attacks.impostor import (
    Disguise,
    Impostor,
    delegated,
    own_identity,
    pinned_identity,
    real_delegation,
    real_signature,
)
from blindrelay.testbed.attacks.neighbour import Neighbour
from blindrelay.testbed.attacks.relay import EndedError, Hook, HostileRelay, Messages, Passage
from blindrelay.testbed.attacks.victim import SMALL, WHOLE
from blindrelay.trust import DirectorySigner, IdentityKey
from blindrelay.v1.keys_pb2 import KeyConfig, KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import MAX_DIRECTORIES_SIZE, REPLAY_WINDOW
from blindrelay.v1.outer_status import OuterStatus

_TRUST: Final = "KeyTrustError"
_DENIAL: Final = EndedError(*OuterStatus.KEY_UNKNOWN.value)
_UNKNOWN: Final = "RelayError key_unknown"
_UNKNOWN_SUITE: Final = 99

Directories = list[SignedKeyDirectory]


class Rollback(Hook):
    """Serves the newest directory, and then, when the client asks again, an older one."""

    def __init__(self) -> None:
        super().__init__(directories=self._older)
        self._old: Directories = []
        self._asked = 0

    async def prepare(self, relay: HostileRelay, identity: IdentityKey) -> None:
        self._old = (await relay.fetch())[:1]

    async def carry(self, passage: Passage) -> None:
        if passage.number == 1:
            raise _DENIAL  # so that the client asks for directories again
        await passage.forward()

    def _older(self, served: Directories) -> Directories:
        self._asked += 1
        return served[:1] if self._asked == 1 else self._old


class Fork(Hook):
    """Two directories of one number, each properly signed: the second comes when the client asks again."""

    def __init__(self) -> None:
        super().__init__(directories=self._other_view)
        self._views: Directories = []

    async def prepare(self, relay: HostileRelay, identity: IdentityKey) -> None:
        signed = (await relay.fetch())[0]
        directory, signer = KeyDirectory.FromString(signed.directory), DirectorySigner.generate()
        delegation = delegated(identity, signer)
        self._views.append(signer.sign(directory, delegation))
        directory.expires_at -= 1
        self._views.append(signer.sign(directory, delegation))

    async def carry(self, passage: Passage) -> None:
        if passage.number == 1:
            raise _DENIAL
        await passage.forward()

    def _other_view(self, _: Directories) -> Directories:
        return [self._views.pop(0) if len(self._views) > 1 else self._views[0]]


class Withheld(Hook):
    """One replica is listed; then it is said not to hold its key, and only the other one is listed.

    `run`: the exchange is let run first, and its response hidden: the restart is feigned.
    """

    def __init__(self, *, run: bool) -> None:
        super().__init__(directories=self._other, down=self._hidden)
        self._run = run
        self._denied = False

    async def carry(self, passage: Passage) -> None:
        if passage.number == 0 and not self._run:
            self._deny()
        await passage.forward()

    async def _hidden(self, passage: Passage, messages: Messages) -> Messages:
        async for message in messages:
            if passage.number == 0:
                self._deny()
            yield message

    def _deny(self) -> None:
        self._denied = True
        raise _DENIAL

    def _other(self, served: Directories) -> Directories:
        return served[1:] if self._denied else served[:1]


class OtherSuite(Hook):
    """The first config is of a suite that this version does not know; `stolen`: and properly signed."""

    def __init__(self, *, stolen: bool) -> None:
        super().__init__(directories=self._downgraded)
        self._steals = stolen
        self._stolen: IdentityKey | None = None

    async def prepare(self, relay: HostileRelay, identity: IdentityKey) -> None:
        if self._steals:
            self._stolen = identity

    def _downgraded(self, served: Directories) -> Directories:
        directory = KeyDirectory.FromString(served[0].directory)
        config = KeyConfig.FromString(directory.configs[0])
        config.suite = _UNKNOWN_SUITE
        directory.configs[0] = config.SerializeToString(deterministic=True)
        if self._stolen is not None:
            signer = DirectorySigner.generate()
            return [signer.sign(directory, delegated(self._stolen, signer))]
        served[0].directory = directory.SerializeToString(deterministic=True)
        return served[:1]


def _mixed(served: Directories) -> Directories:
    """Each replica's directory beside the other one's delegation."""
    first, second = served
    mixed = SignedKeyDirectory(
        directory=first.directory,
        signature=first.signature,
        delegation=second.delegation,
        delegation_signature=second.delegation_signature,
    )
    return [mixed]


def _bit_changed(served: Directories) -> Directories:
    served[0].directory = flipped(served[0].directory, -1)
    return served[:1]


def _repeated(served: Directories) -> Iterable[SignedKeyDirectory]:
    return served[:1] * (MAX_DIRECTORIES_SIZE // served[0].ByteSize() + 2)


def _served(
    name: str,
    about: str,
    directories: Callable[[Directories], Iterable[SignedKeyDirectory] | bytes],
    stopped_by: str,
    double: Double,
    proof: Proof,
) -> Attack:
    hook = partial(Hook, directories=directories)
    return Attack(name, about, hook, (_TRUST,), 0, stopped_by, double, proof, also=NOTHING_SENT)


def _impostor(name: str, about: str, disguise: Disguise, clients: int = 1) -> Attack:
    hook, asks = partial(Impostor, disguise), (SMALL,) * clients
    ends, double = (_TRUST,) * clients, without_directory_check
    return Attack(
        name, about, hook, ends, 0, _PIN, double, PROMPT_READ, asks, clients=clients, also=NOTHING_SENT
    )


def _later_clock() -> Callable[[], float]:
    """The time at which what is recorded now is too old."""
    return lambda: time.time() + REPLAY_WINDOW + 100


_PIN: Final = "the pinned identity"
_HISTORY: Final = "the history of directories"

# fmt: off
DIRECTORY_ATTACKS: Final = [
    _impostor("substitute-directory", "The directory is another bridge's: the relay's own.", own_identity),
    _impostor("forge-delegation", "The directory is the relay's own, in the pinned bridge's name.",
              pinned_identity),
    _impostor("forge-signature", "The relay signs its own directory beside a real delegation.",
              real_delegation),
    _impostor("swap-key", "The relay's key stands in the bridge's own signed directory.", real_signature),
    _impostor("directory-per-client", "Each client is served a key of its own, all of them the relay's.",
              pinned_identity, clients=2),
    _served("mix-replicas", "One replica's directory comes with the other one's delegation.",
            _mixed, _PIN, without_directory_check, SEALED),
    _served("flip-directory", "One bit of a directory is changed.",
            _bit_changed, _PIN, without_directory_check, SEALED),
    Attack("downgrade-suite", "A key in a directory is given another suite.",
           partial(OtherSuite, stolen=False), (_TRUST,), 0,
           _PIN, without_suite_check, SEALED, also=NOTHING_SENT),
    Attack("unknown-suite", "A directory signed with the stolen identity has keys of another suite.",
           partial(OtherSuite, stolen=True), (_TRUST,), 0,
           "one suite", without_suite_check, SEALED, also=NOTHING_SENT),
    Attack("stale-directory", "A directory that was recorded 400 seconds ago is served.",
           Hook, (_TRUST,), 0,
           "a directory's dates", without_directory_check, SEALED, clock=_later_clock, also=NOTHING_SENT),
    Attack("older-directory", "After a directory an older one of the same replica is served.",
           Rollback, (WHOLE, _UNKNOWN, _TRUST), 1, _HISTORY, without_history, LAST_UNNOTICED,
           asks=(SMALL,) * 3, honest=partial(patch.object, epoch_keys, "REISSUE_AFTER", 0)),
    Attack("forked-directory", "Two directories of one number, signed with the stolen identity, are served.",
           Fork, (WHOLE, _UNKNOWN, _TRUST), 1, _HISTORY, without_history, LAST_UNNOTICED, asks=(SMALL,) * 3),
    Attack("withhold-directory", "The relay denies a key, and leaves out its replica's directory.",
           partial(Withheld, run=False), (_UNKNOWN,), 0, "started_at", without_reseal_rule, SEALED_AGAIN),
    Attack("feign-restart", "The exchange runs; then its key is denied, and the other replica alone listed.",
           partial(Withheld, run=True), (_UNKNOWN,), 1, "started_at", without_reseal_rule, SECOND_CALL),
    _served("too-many-directories", "More than 65,536 bytes of directories are served.",
            _repeated, "bounded work", without_size_limits, UNNOTICED),
    Attack("claim-anothers-keys", "A bridge that shares the relay with its victim lists the victim's keys.",
           Neighbour, (WHOLE,), 1, "each replica's identity", without_replica_identities, EXCHANGE_TAKEN),
    _served("garbage-directory", "What is served for directories is no message.",
            lambda _: b"\xff" * 64, "typed errors", without_typed_errors, UNTYPED),
]
# fmt: on
