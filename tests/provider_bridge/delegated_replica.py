"""A bridge that has a signing key and a delegation in files, in place of the identity key."""

from __future__ import annotations

from pathlib import Path

from blindrelay.provider_bridge import DelegatedIdentity, Event
from blindrelay.provider_bridge.keys.delegation_file import make_delegation, write_delegation
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.provider_bridge.keys.key_files import make_signing_key
from blindrelay.trust import IdentityKey, VerifiedDirectory, verify_directory

from .fake_time import START, FakeTime

DAY = 86_400


class DelegatedReplica:
    """Its files, its clock, and the events that it notes."""

    def __init__(self, folder: Path, days: int = 30, now: float = START) -> None:
        self.folder = folder
        self.time = FakeTime(now)
        self.identity = IdentityKey.generate()
        self.signer = make_signing_key(folder / "signing.key")
        self.noted: list[Event] = []
        self.delegate(days)

    @property
    def file(self) -> Path:
        return self.folder / "delegation"

    def delegate(self, days: int, identity: IdentityKey | None = None, signing_key: bytes = b"") -> None:
        key = signing_key or self.signer.public_key
        write_delegation(self.file, make_delegation(identity or self.identity, key, days, self.time.wall))

    def start(self) -> DelegatedIdentity:
        return DelegatedIdentity(self.folder / "signing.key", self.file, self.time.clock, self.noted.append)

    def keys(self, epoch: int = 3_600) -> EpochKeys:
        return EpochKeys(self.start(), self.time.clock, epoch=epoch)

    def verified(self, keys: EpochKeys) -> VerifiedDirectory:
        """The directory as a client takes it now."""
        return verify_directory(keys.directory(), self.identity.public_key, int(self.time.clock.now()))
