"""One bridge process: its channel, its latest key directory, and whether it can be reached."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from blindrelay.relay_node.audit_log import AuditLog, Event, Reason
from blindrelay.relay_node.channel import ChannelFactory, ReplicaChannel
from blindrelay.relay_node.config import MAX_REQUEST_BYTES, ReplicaConfig
from blindrelay.relay_node.directory import DirectoryFormatError, Listing, read_listing
from blindrelay.relay_node.failure_reasons import reason_of
from blindrelay.serving import ConfigError, Shares, authorization, read_token
from blindrelay.serving.files import Latest
from blindrelay.v1.channel import ExchangeCall, Metadata
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.outer_status import OuterStatus

REFRESH_SECONDS: Final = 60.0
"""Seconds between two fetches of a directory (spec, section 5), or a quarter of its lifetime if shorter."""

RETRY_SECONDS: Final = 0.25
"""Seconds after a failed fetch. The next one waits in the channel until the replica is back."""

LOOK_SECONDS: Final = 1.0
"""Seconds between two checks of the connection and the TLS files: health is right even without calls."""

FETCH_SECONDS: Final = 5.0
"""Seconds for one fetch: as long as one attempt of the channel to connect."""

STALE_SECONDS: Final = 2.0
"""A directory older than this is fetched again for an unknown key. Anybody can send unknown keys."""

DOUBT_SECONDS: Final = 1.0
"""Seconds between two fetches because of lost exchanges. A client can cause them, and others wait."""

SETTLING_SECONDS: Final = 1.5
"""How long callers wait for a fetch, since a bridge may hang. A client's connect timeout is longer."""

MAX_KEYS: Final = 1_024
"""Key ids remembered for a replica: those that it lists, and earlier ones that it still opens."""


class Replica:
    """A bridge process, whose directory is fetched repeatedly, and to which exchanges are forwarded."""

    def __init__(
        self,
        config: ReplicaConfig,
        open_channel: ChannelFactory,
        audit_log: AuditLog,
        on_change: Callable[[], None] = lambda: None,
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        self.config = config
        self.address = config.address
        self.pinned = config.identities
        """The identities for which it may list keys. Empty means any."""
        self.requests = Shares(max_request_bytes)
        """Bytes of requests that the bridge may be keeping, by token."""
        self.listing: Listing | None = None
        self.identity: bytes | None = None
        """The identity of its latest directory, kept while it is down."""
        self._keys: dict[tuple[bytes, bytes], bytes] = {}
        self._audit_log = audit_log
        self._on_change = on_change
        self._channel = ReplicaChannel(
            config, open_channel, lambda: audit_log.event(Event.CERTIFICATES_UNUSABLE, config.address)
        )
        self._loop = asyncio.get_running_loop()
        self._token = None if config.token_file is None else self._followed(config.token_file)
        self._up: bool | None = None
        self._asked_at = -STALE_SECONDS
        self._doubts: asyncio.TimerHandle | None = None
        self._doubted_again = False
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._settle_by = self._loop.time() + SETTLING_SECONDS

    @property
    def up(self) -> bool:
        """Whether the latest fetch of its directory succeeded."""
        return self._up is True

    def may_speak_for(self, identity: bytes) -> bool:
        """Whether the configuration allows it to list keys of that identity."""
        return not self.pinned or identity in self.pinned

    def holds(self, identity: bytes, key_id: bytes) -> bool:
        """Whether this process lists the key, or listed it recently."""
        return (identity, key_id) in self._keys

    @property
    def keys(self) -> Collection[tuple[bytes, bytes]]:
        """Identity and key ID of each key that it holds."""
        return self._keys.keys()

    def call(self, envelope: bytes, timeout: float) -> ExchangeCall:
        """Begins an exchange with it. The metadata are the envelope and our token only."""
        return self._channel.exchange(((METADATA_KEY, envelope), *self.metadata()), timeout)

    def refresh(self) -> None:
        """Fetches the directory now. `settled` waits for it, unless the replica is known to be down."""
        self._wanted.set()
        if self._up is not False and self._settled.is_set():
            self._settled.clear()
            self._settle_by = self._loop.time() + SETTLING_SECONDS

    def refresh_if_stale(self) -> None:
        """As refresh, unless the directory has just been fetched. Anybody can cause calls of this."""
        if self._loop.time() - self._asked_at >= STALE_SECONDS:
            self.refresh()

    def refresh_if_disconnected(self) -> None:
        """As refresh, if the connection has ended: another process may have the address now."""
        if self._channel.ready:
            return
        if self._up:
            self.refresh()
        else:
            self._keys = {}  # they belonged to a process that drained or hung

    def doubt(self) -> None:
        """Withholds the directory from clients until it has been fetched again, because an exchange was lost.

        Exchanges are still forwarded to the replica: one that is lost must not end the others. Within
        DOUBT_SECONDS of one doubt, the next is postponed until they are over.
        """
        if self._doubts is not None:
            self._doubted_again = True
            return
        self._doubts = self._loop.call_later(DOUBT_SECONDS, self._doubt_is_over)
        self.listing = None
        self.refresh()

    def _doubt_is_over(self) -> None:
        again, self._doubts, self._doubted_again = self._doubted_again, None, False
        if again:
            self.doubt()

    @property
    def is_settled(self) -> bool:
        """Whether no requested fetch is running, or it has taken too long to wait for."""
        return self._settled.is_set() or self._loop.time() >= self._settle_by

    async def settled(self) -> None:
        """Waits until a requested fetch has succeeded or failed, or has taken SETTLING_SECONDS."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._settle_by):
                await self._settled.wait()

    def _followed(self, token_file: Path) -> Latest[str]:
        def report(_: ConfigError) -> None:
            self._audit_log.event(Event.TOKEN_UNUSABLE, self.address)

        return Latest((token_file,), partial(read_token, token_file), report)

    def metadata(self) -> Metadata:
        """What the relay shows to the bridge: its token, if there is one."""
        return () if self._token is None else (authorization(self._token()),)

    async def run(self) -> None:
        """Keeps the directory fresh until cancelled. Then closes the channel."""
        try:
            while True:
                self._wanted.clear()
                await self._fetch_directory()
                if self._up is False or not self._wanted.is_set():
                    self._settled.set()
                await self._pause()
        finally:
            if self._doubts is not None:
                self._doubts.cancel()
            await self._channel.close()

    async def _fetch_directory(self) -> None:
        self._asked_at = self._loop.time()
        try:
            encoded = await self._channel.directories(
                self.metadata(), FETCH_SECONDS, wait_for_ready=self._up is False
            )
            self._found(read_listing(encoded))
        except grpc.aio.AioRpcError as error:
            self._lost(reason_of(error), keep_keys=self._may_hold_keys(error))
        except DirectoryFormatError:
            self._lost(Reason.NO_DIRECTORY)
        except Exception:
            self._audit_log.event(Event.FAULT)
            self._lost(Reason.FAULT)

    def _may_hold_keys(self, error: grpc.aio.AioRpcError) -> bool:
        """Whether the replica is slow, hanging or draining. A draining one refuses with a sealed error."""
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return True
        return OuterStatus.of(error.code(), error.details()) is OuterStatus.DRAINING

    def _found(self, listing: Listing) -> None:
        if not self.may_speak_for(listing.identity):
            self._lost(Reason.WRONG_IDENTITY)
            return
        listed = dict.fromkeys(((listing.identity, key) for key in listing.key_ids), listing.replica_id)
        # A process opens its older keys for a while. The keys of another process are gone with it.
        older = {
            key: owner
            for key, owner in self._keys.items()
            if owner == listing.replica_id and key not in listed
        }
        self._keys = dict(list((older | listed).items())[-MAX_KEYS:])
        self.listing = listing
        self.identity = listing.identity
        self._become(True, Event.REPLICA_UP)

    def _lost(self, why: Reason, *, keep_keys: bool = False) -> None:
        self.listing = None
        if not keep_keys:
            self._keys = {}
        self._become(False, Event.REPLICA_DOWN, why)

    def _become(self, up: bool, event: Event, why: Reason | None = None) -> None:
        if up is not self._up:
            self._up = up
            self._audit_log.event(event, self.address, why)
            self._on_change()

    async def _pause(self) -> None:
        """Waits until the next fetch is due or requested."""
        seconds = RETRY_SECONDS
        if self._up:
            seconds = (
                REFRESH_SECONDS if self.listing is None else min(REFRESH_SECONDS, self.listing.lifetime / 4)
            )
        due = self._loop.time() + seconds
        while (left := due - self._loop.time()) > 0 and not self._wanted.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_SECONDS)):
                    await self._wanted.wait()
            self._channel.follow_files()
            self.refresh_if_disconnected()
