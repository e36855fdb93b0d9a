"""A bridge's files, and its clock under a test's hand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from blindrelay.provider_bridge import DelegatedIdentity, Event
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.keys.delegation_file import make_delegation, write_delegation
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.provider_bridge.keys.key_files import make_signing_key
from blindrelay.trust import IdentityKey, VerifiedDirectory, verify_directory

W = 300
DAY = 86_400
START = 1_000_000
HELD = 'identity_key = "identity.key"'
DELEGATED = 'signing_key = "signing.key"\ndelegation = "delegation"'


def configure(
    folder: Path, target: str = "http://127.0.0.1:1", *, keys: str = HELD, top: str = "", more: str = ""
) -> Path:
    """Writes bridge.toml: `top` are lines of its own, `more` are lines of its only provider's."""
    path = folder / "bridge.toml"
    path.write_text(
        f'listen = "127.0.0.1:0"\n{keys}\n{top}\n'
        f'[[provider]]\nname = "openai"\npreset = "openai"\ntarget = "{target}"\n{more}\n'
    )
    return path


class FakeTime:
    def __init__(self, wall: float = START) -> None:
        self.wall = wall
        self.monotonic = 50.0
        self.clock = Clock(lambda: self.wall, lambda: self.monotonic)

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def skip(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the event loop's clock forward: whatever waits for that time goes on at once."""
    loop = asyncio.get_running_loop()
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + seconds)


class DelegatedReplica:
    """A bridge with a signing key and a delegation in files, its clock, and the events that it notes."""

    def __init__(self, folder: Path, days: int = 30, now: float = START) -> None:
        self.folder = folder
        self.file = folder / "delegation"
        self.time = FakeTime(now)
        self.identity = IdentityKey.generate()
        self.signer = make_signing_key(folder / "signing.key")
        self.noted: list[Event] = []
        self.delegate(days)

    def delegate(self, days: int, identity: IdentityKey | None = None, signing_key: bytes = b"") -> None:
        key = signing_key or self.signer.public_key
        write_delegation(self.file, make_delegation(identity or self.identity, key, days, self.time.wall))

    def start(self) -> DelegatedIdentity:
        return DelegatedIdentity(self.folder / "signing.key", self.file, self.time.clock, self.noted.append)

    def keys(self, epoch: int = 3_600) -> EpochKeys:
        return EpochKeys(self.start(), self.time.clock, epoch=epoch)

    def verified(self, keys: EpochKeys) -> VerifiedDirectory:
        return verify_directory(keys.directory(), self.identity.public_key, int(self.time.clock.now()))
