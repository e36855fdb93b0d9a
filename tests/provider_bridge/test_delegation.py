"""A bridge without the identity key: its signing key, its delegation, and the delegation's end."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from blindrelay.provider_bridge import (
    Bridge,
    BridgeConfig,
    DelegatedIdentity,
    Event,
    EventLog,
    exchange_opener,
)
from blindrelay.provider_bridge.cli import main
from blindrelay.provider_bridge.errors import DelegationEndedError
from blindrelay.provider_bridge.keys import epoch_keys
from blindrelay.provider_bridge.keys.delegation_file import (
    MAX_DAYS,
    check_delegation,
    make_delegation,
    read_delegation,
    write_delegation,
)
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.provider_bridge.keys.key_files import (
    format_public_key,
    load_identity,
    load_or_make_identity,
    load_signing_key,
    make_signing_key,
    parse_public_key,
)
from blindrelay.serving import ConfigError, Context, files
from blindrelay.trust import (
    DirectorySigner,
    IdentityKey,
    SignedDelegation,
    format_identity,
    identity_hash,
    verify_directory,
)
from blindrelay.v1.inner_pb2 import DEADLINE_CLASS_HOUR
from blindrelay.v1.outer_status import OuterStatus

from .fake_provider import FakeProvider
from .fake_time import FakeTime
from .sealed_caller import SealedCaller, collect, outer_status, request_head

DAY = 86_400


class Replica:
    """A bridge's files, its clock, and what it says."""

    def __init__(self, folder: Path, days: int = 30) -> None:
        self.folder = folder
        self.time = FakeTime()
        self.identity = IdentityKey.generate()
        self.signer = make_signing_key(folder / "signing.key")
        self.said: list[Event] = []
        self.delegate(days)

    @property
    def file(self) -> Path:
        return self.folder / "delegation"

    def delegate(self, days: int, identity: IdentityKey | None = None, signing_key: bytes = b"") -> None:
        key = signing_key or self.signer.public_key
        write_delegation(self.file, make_delegation(identity or self.identity, key, days, self.time.wall))

    def start(self) -> DelegatedIdentity:
        return DelegatedIdentity(self.folder / "signing.key", self.file, self.time.clock, self.said.append)

    def keys(self, epoch: int = 3_600) -> EpochKeys:
        return EpochKeys(self.start(), self.time.clock, epoch=epoch)


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path)


def test_a_signing_key_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    made = make_signing_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_signing_key(path).public_key == made.public_key
    with pytest.raises(ConfigError, match="never replaces"):
        make_signing_key(path)
    assert load_signing_key(path).public_key == made.public_key
    path.chmod(0o604)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_signing_key(path)


def test_neither_key_is_taken_for_the_other(tmp_path: Path) -> None:
    make_signing_key(tmp_path / "signing.key")
    load_or_make_identity(tmp_path / "identity.key")
    with pytest.raises(ConfigError, match="not an identity key"):
        load_identity(tmp_path / "signing.key")
    with pytest.raises(ConfigError, match="not a signing key"):
        load_signing_key(tmp_path / "identity.key")


def test_a_public_key_is_not_mistaken_for_a_secret(replica: Replica) -> None:
    text = format_public_key(replica.signer.public_key)
    assert parse_public_key(text) == replica.signer.public_key
    secret = (replica.folder / "signing.key").read_text().strip()
    for wrong in (secret, secret[4:], text[:-1], text + "0", text.upper(), ""):
        with pytest.raises(ConfigError, match="not a public signing key") as error:
            parse_public_key(wrong)
        assert secret[4:20] not in str(error.value)


@pytest.mark.parametrize("days", [0, -1, MAX_DAYS + 1])
def test_a_delegation_has_an_end_in_sight(replica: Replica, days: int) -> None:
    with pytest.raises(ConfigError, match="1 to 366 days"):
        replica.delegate(days)


def test_the_identity_does_not_delegate_to_itself(replica: Replica) -> None:
    with pytest.raises(ConfigError, match="never to itself"):
        replica.delegate(1, signing_key=replica.identity.public_key)


def test_the_file_is_written_where_nothing_was(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "foreseen")
    (replica.folder / ".delegation.foreseen").symlink_to(replica.folder / "others")
    with pytest.raises(ConfigError, match="the delegation cannot be written"):
        replica.delegate(1)
    assert not (replica.folder / "others").exists()


@pytest.mark.parametrize("text", ["", "00", "zz " + "00" * 64, "0 " + "00" * 64, "00 " + "00" * 64, "00 00"])
def test_a_file_that_is_no_delegation(replica: Replica, text: str) -> None:
    replica.file.write_text(text)
    with pytest.raises(ConfigError, match="not a delegation"):
        replica.start()


def test_a_delegation_that_does_not_fit_is_refused_at_start(replica: Replica) -> None:
    now = int(replica.time.wall)
    found = read_delegation(replica.file)
    forged = replace(found, signed=SignedDelegation(found.signed.delegation, bytes(64)))
    for wrong, signer, when, reason in (
        (found, DirectorySigner.generate(), now, "another signing key"),
        (found, replica.signer, found.not_before - 1, "begins only on 1970-01-12"),
        (found, replica.signer, found.not_after, "ended on 1970-02-11"),
        (forged, replica.signer, now, "not signed by the identity"),
    ):
        with pytest.raises(ConfigError, match=reason):
            check_delegation(replica.file, wrong, signer, when)
    check_delegation(replica.file, found, replica.signer, now)


def test_directories_end_with_the_delegation(replica: Replica) -> None:
    replica.delegate(1)
    keys = replica.keys(epoch=DAY // 2)
    end = read_delegation(replica.file).not_after
    for seconds, lifetime in (
        (0, DAY // 2),
        (DAY // 2 - 1, DAY // 2),
        (41, DAY // 2 - 40),
        (DAY // 2 - 41, 1),
    ):
        replica.time.advance(seconds)
        now = int(replica.time.clock.now())
        directory = verify_directory(keys.directory(), replica.identity.public_key, now)
        assert directory.expires_at - now == lifetime
        assert directory.expires_at <= end
    replica.time.advance(1)
    with pytest.raises(DelegationEndedError):
        keys.directory()
    assert keys.seconds_left == 0


def test_it_warns_a_week_and_a_day_before_and_says_each_once(replica: Replica) -> None:
    keys = replica.keys()
    for days, said in (
        (22, []),
        (1, [Event.DELEGATION_ENDS_IN_A_WEEK]),
        (1, []),
        (5, [Event.DELEGATION_ENDS_IN_A_DAY]),
        (1, [Event.DELEGATION_ENDED]),
        (1, []),
    ):
        replica.said.clear()
        replica.time.advance(days * DAY)
        for _ in range(3):
            assert keys.seconds_left <= 30 * DAY
        assert replica.said == said
    replica.said.clear()
    replica.delegate(30)
    assert verify_directory(keys.directory(), replica.identity.public_key, int(replica.time.clock.now())), (
        "a new delegation mends it"
    )
    assert replica.said == [Event.DELEGATION_RENEWED]


async def test_it_warns_without_being_asked(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_keys, "_CHECK_EVERY", 0.001)
    replica.delegate(1)
    warned = asyncio.Event()
    signatory = DelegatedIdentity(
        replica.folder / "signing.key", replica.file, replica.time.clock, lambda _: warned.set()
    )
    task = asyncio.create_task(EpochKeys(signatory, replica.time.clock, epoch=3_600).keep_current())
    async with asyncio.timeout(10):
        await warned.wait()
    task.cancel()


def test_a_new_delegation_is_in_the_next_directory(replica: Replica) -> None:
    keys = replica.keys()
    replica.time.advance(DAY)
    replica.delegate(60)
    assert keys.directory().delegation == read_delegation(replica.file).signed.delegation
    assert keys.seconds_left == 60 * DAY


def test_a_bad_new_file_leaves_the_old_delegation(replica: Replica) -> None:
    keys = replica.keys()
    before = keys.directory().delegation

    spoils: list[Callable[[], object]] = [
        lambda: replica.file.write_text(""),
        lambda: replica.delegate(90, identity=IdentityKey.generate()),
        lambda: replica.delegate(90, signing_key=os.urandom(32)),
        lambda: replica.file.unlink(),
    ]
    for spoil in spoils:
        replica.said.clear()
        spoil()
        replica.time.advance(60)
        assert keys.directory().delegation == before
        keys.check_delegation()
        assert replica.said == [Event.DELEGATION_UNUSABLE], "said once for each version of the file"


def test_a_file_that_could_not_be_read_for_a_moment_is_read_again(
    replica: Replica,
    monkeypatch: pytest.MonkeyPatch,
    no_descriptors: Callable[[], AbstractContextManager[None]],
) -> None:
    monkeypatch.setattr(files, "RETRY_SECONDS", 0.0)
    signatory = replica.start()
    replica.delegate(60)
    with no_descriptors():
        for _ in range(3):
            signatory.look_after()
    assert replica.said == [Event.DELEGATION_UNUSABLE]
    signatory.look_after()
    assert signatory.ends_at() == read_delegation(replica.file).not_after == replica.time.wall + 60 * DAY
    assert replica.said == [Event.DELEGATION_UNUSABLE, Event.DELEGATION_RENEWED]


def test_replicas_may_share_a_delegation(replica: Replica) -> None:
    one, other = replica.keys(), replica.keys()
    now = int(replica.time.clock.now())
    directories = [
        verify_directory(keys.directory(), replica.identity.public_key, now) for keys in (one, other)
    ]
    assert directories[0].replica_id != directories[1].replica_id
    assert directories[0].signing_key == directories[1].signing_key == replica.signer.public_key


async def test_a_bridge_serves_on_a_delegation_until_it_ends(
    config: BridgeConfig, provider: FakeProvider, tmp_path: Path
) -> None:
    replica = Replica(tmp_path)
    replica.time = FakeTime(wall=time.time())
    replica.delegate(1)
    bridge = Bridge(config, replica.start(), EventLog(), replica.time.clock)
    async with (
        bridge.running() as address,
        SealedCaller(str(address), replica.identity.public_key) as caller,
    ):
        assert (await caller.exchange()).status == 200
        request = await caller.seal()
        replica.time.advance(DAY + 1)
        assert await outer_status(await caller.send(request)) == OuterStatus.BRIDGE_UNAVAILABLE.value
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await caller.directory()
        assert (error.value.code(), error.value.details()) == OuterStatus.BRIDGE_UNAVAILABLE.value
    assert len(provider.received) == 1
    assert Event.DELEGATION_ENDED in replica.said


async def test_nothing_begins_after_the_delegations_end_however_late_its_first_message_came(
    config: BridgeConfig, provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica(tmp_path)
    now = time.time()
    replica.time = FakeTime(wall=now - DAY + 100)
    replica.delegate(1)
    replica.time = FakeTime(wall=now)
    first_message = exchange_opener._first_message

    async def late(context: Context) -> bytes:
        replica.time.advance(51)
        return await first_message(context)

    monkeypatch.setattr(exchange_opener, "_first_message", late)
    async with (
        Bridge(config, replica.start(), clock=replica.time.clock).running() as address,
        SealedCaller(str(address), replica.identity.public_key) as caller,
    ):
        head = request_head(deadline_class=DEADLINE_CLASS_HOUR)
        in_time, too_late = await caller.seal(head), await caller.seal(head)
        assert (await collect(await caller.send(in_time), in_time)).status == 200
        assert await outer_status(await caller.send(too_late)) == OuterStatus.BRIDGE_UNAVAILABLE.value
    assert len(provider.received) == 1


def test_the_commands_make_what_a_bridge_runs_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    identity = load_or_make_identity(tmp_path / "identity.key")
    pinned = format_identity(identity.public_key)
    assert main(["signing-key", "--out", str(tmp_path / "signing.key")]) == 0
    public_key = capsys.readouterr().out.strip()
    assert main(["signing-key", "--key", str(tmp_path / "signing.key")]) == 0
    assert capsys.readouterr().out.strip() == public_key
    delegation = str(tmp_path / "delegation")
    arguments = ["--key", str(tmp_path / "identity.key"), "--signing-key", public_key, "--out", delegation]
    assert main(["delegate", *arguments, "--days", "90"]) == 0
    assert capsys.readouterr().out.startswith(f"{pinned} lets {public_key} speak for it until 20")
    assert main(["identity", "--delegation", delegation]) == 0
    assert capsys.readouterr().out == pinned + "\n"
    assert (
        DelegatedIdentity(
            tmp_path / "signing.key", Path(delegation), FakeTime(wall=time.time()).clock
        ).identity
        == identity.public_key
    )
    successor = IdentityKey.generate().public_key
    announcing = ["--days", "9", "--next-identity", format_identity(successor)]
    assert main(["delegate", *arguments, *announcing]) == 0
    assert read_delegation(Path(delegation)).next_identity_hash == identity_hash(successor)
    assert main(["delegate", *arguments, "--days", "9", "--next-identity", pinned]) == 2
    assert main(["delegate", *arguments, "--days", "9", "--next-identity", "br1"]) == 2
    capsys.readouterr()
    assert main(["delegate", *arguments, "--days", "0"]) == 2
    assert "1 to 366 days" in capsys.readouterr().err
