"""A relay that pretends to be the bridge: it serves its own key, and opens what is sealed to it."""

from __future__ import annotations

import time
from collections.abc import Callable

from blindrelay.sealing import SealingKey, decapsulate
from blindrelay.testbed.attacks.alterations import sealed
from blindrelay.testbed.attacks.relay import Hook, Passage
from blindrelay.trust import DirectorySigner, IdentityKey, SignedDelegation
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.inner_pb2 import ResponseHead, ResponseTail
from blindrelay.v1.keys_pb2 import Delegation, KeyDirectory, SignedKeyDirectory

Disguise = Callable[["Impostor", SignedKeyDirectory], SignedKeyDirectory]
"""Makes the directory that clients are served, from an honest one and the attacker's keys."""


class Impostor(Hook):
    """Serves the attacker's key, opens what is sealed to it, and answers."""

    def __init__(self, disguise: Disguise) -> None:
        super().__init__(directories=self._disguised)
        self._disguise = disguise
        self._key: SealingKey | None = None
        self.identity = IdentityKey.generate()
        self.signer = DirectorySigner.generate()

    async def carry(self, passage: Passage) -> None:
        if self._key is None:
            return
        message = ExchangeRequest.FromString(await anext(passage.requests()))
        exchange = decapsulate(passage.envelope, message.encapsulated_secret, self._key)
        self.loot.append(exchange.request.open(message.sealed).body)
        for record in exchange.response.seal(
            head=ResponseHead(status=200), body=b"run this command first", tail=ResponseTail()
        ):
            await passage.context.write(sealed(record))

    def with_own_key(self, signed: SignedKeyDirectory) -> KeyDirectory:
        """An honest directory with a new key of the attacker in place of the bridge's."""
        now = int(time.time()) // 10 * 10
        self._key = SealingKey.generate(now - 3_600, now + 3_600)
        directory = KeyDirectory.FromString(signed.directory)
        del directory.configs[:]
        directory.configs.append(self._key.config)
        return directory

    def _disguised(self, served: list[SignedKeyDirectory]) -> list[SignedKeyDirectory]:
        return [self._disguise(self, served[0])]


def delegated(identity: IdentityKey, signer: DirectorySigner) -> SignedDelegation:
    """An identity's delegation to a signer, as an honest one would be dated now."""
    now = int(time.time())
    return identity.delegate(signer.public_key, now - 60, now + 3_600)


def own_identity(impostor: Impostor, signed: SignedKeyDirectory) -> SignedKeyDirectory:
    directory = impostor.with_own_key(signed)
    directory.identity = impostor.identity.public_key
    return _signed(impostor, directory)


def pinned_identity(impostor: Impostor, signed: SignedKeyDirectory) -> SignedKeyDirectory:
    directory = impostor.with_own_key(signed)
    given = _signed(impostor, directory)
    delegation = Delegation.FromString(given.delegation)
    delegation.identity = directory.identity
    given.delegation = delegation.SerializeToString(deterministic=True)
    return given


def _signed(impostor: Impostor, directory: KeyDirectory) -> SignedKeyDirectory:
    return impostor.signer.sign(directory, delegated(impostor.identity, impostor.signer))


def real_delegation(impostor: Impostor, signed: SignedKeyDirectory) -> SignedKeyDirectory:
    delegation = SignedDelegation(signed.delegation, signed.delegation_signature)
    return impostor.signer.sign(impostor.with_own_key(signed), delegation)


def real_signature(impostor: Impostor, signed: SignedKeyDirectory) -> SignedKeyDirectory:
    given = SignedKeyDirectory()
    given.CopyFrom(signed)
    given.directory = impostor.with_own_key(signed).SerializeToString(deterministic=True)
    return given
