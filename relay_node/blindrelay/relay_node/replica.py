"""One bridge process: its channel, the directory it last gave, and whether it can be reached."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from blindrelay.relay_node.audit_log import AuditLog, Event, Reason
from blindrelay.relay_node.channels import ChannelFactory
from blindrelay.relay_node.config import MAX_REQUEST_BYTES, ReplicaConfig
from blindrelay.relay_node.directory import DirectoryFormatError, Listing, read_listing
from blindrelay.relay_node.failure_reasons import reason_of
from blindrelay.relay_node.replica_channel import ReplicaChannel
from blindrelay.serving import ConfigError, Shares, authorization, read_token
from blindrelay.serving.files import Latest
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.exchange_call import ExchangeCall, Metadata
from blindrelay.v1.outer_status import OuterStatus

REFRESH_SECONDS: Final = 60.0
"""Between two fetches of a directory (spec/protocol.md, section 5); a quarter of its life if shorter."""

RETRY_SECONDS: Final = 0.25
"""After a fetch that failed. The next one waits in the channel until the replica is back."""

LOOK_SECONDS: Final = 1.0
"""Between two looks at connection and TLS files, so that health is right also when nobody calls."""

FETCH_SECONDS: Final = 5.0
"""For one fetch: as long as the channel gives one attempt to connect."""

STALE_SECONDS: Final = 2.0
"""A directory older than this is fetched again for a key that nobody lists; more often helps only a flood."""

DOUBT_SECONDS: Final = 1.0
"""Between two fetches because of lost exchanges: a client can cause those, and others wait for them."""

SETTLING_SECONDS: Final = 1.5
"""How long a fetch holds up those who ask; a client's connect timeout is longer, and a bridge may hang."""

MAX_KEYS: Final = 1_024
"""Key ids remembered per replica: those it lists, and those it listed before and still opens."""


class Replica:
    """A bridge process that is asked for its directory again and again, and forwarded to."""

    def __init__(
        self,
        config: ReplicaConfig,
        open_channel: ChannelFactory,
        audit_log: AuditLog,
        on_change: Callable[[], None] = lambda: None,
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        self.address = config.address
        self.pinned = config.identities
        """For whom it may list keys; empty for anyone."""
        self.requests = Shares(max_request_bytes)
        """Bytes of requests that the bridge may be keeping, by token."""
        self.listing: Listing | None = None
        self.identity: bytes | None = None
        """Whom it last spoke for; kept while it is down."""
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
        """Whether its directory is at hand: it answered the last time that it was asked."""
        return self._up is True

    def may_speak_for(self, identity: bytes) -> bool:
        """Whether the configuration lets it list keys of that identity."""
        return not self.pinned or identity in self.pinned

    def holds(self, identity: bytes, key_id: bytes) -> bool:
        """Whether this process lists, or lately listed, the key."""
        return (identity, key_id) in self._keys

    def call(self, envelope: bytes, timeout: float) -> ExchangeCall:
        """Opens an exchange with it, with no metadata but the envelope and our token."""
        return self._channel.exchange(((METADATA_KEY, envelope), *self._metadata()), timeout)

    def refresh(self) -> None:
        """Has the directory fetched now; `settled` waits for it, unless the replica is known to be down."""
        self._wanted.set()
        if self._up is not False and self._settled.is_set():
            self._settled.clear()
            self._settle_by = self._loop.time() + SETTLING_SECONDS

    def refresh_if_stale(self) -> None:
        """As refresh, but not if that has just been done: for callers whom anybody can make ask."""
        if self._loop.time() - self._asked_at >= STALE_SECONDS:
            self.refresh()

    def refresh_if_disconnected(self) -> None:
        """As refresh, if the connection has ended: another process may be behind the address now."""
        if self._channel.ready:
            return
        if self._up:
            self.refresh()
        else:
            self._keys = {}  # those of a process that drained, or hung

    def doubt(self) -> None:
        """Shows the directory to nobody until it is fetched again: the replica did not hold to it once.

        Exchanges go on to where the key was: one that was lost, on a busy day, is not the end of the others.
        Within DOUBT_SECONDS of one doubt the next is put off until they are over.
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
        """Whether no fetch that was asked for is under way, or it has taken too long to be waited for."""
        return self._settled.is_set() or self._loop.time() >= self._settle_by

    async def settled(self) -> None:
        """Waits until a fetch that was asked for has succeeded or failed, or has taken SETTLING_SECONDS."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._settle_by):
                await self._settled.wait()

    def _followed(self, token_file: Path) -> Latest[str]:
        def report(_: ConfigError) -> None:
            self._audit_log.event(Event.TOKEN_UNUSABLE, self.address)

        return Latest((token_file,), partial(read_token, token_file), report)

    def _metadata(self) -> Metadata:
        """What shows the bridge who we are."""
        return () if self._token is None else (authorization(self._token()),)

    async def run(self) -> None:
        """Keeps the directory fresh until cancelled; then closes the channel."""
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
                self._metadata(), FETCH_SECONDS, wait_for_ready=self._up is False
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
        """Slow, hanging or draining: exchanges go on to it. What drains refuses them by a sealed word."""
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return True
        return OuterStatus.of(error.code(), error.details()) is OuterStatus.DRAINING

    def _found(self, listing: Listing) -> None:
        if not self.may_speak_for(listing.identity):
            self._lost(Reason.WRONG_IDENTITY)
            return
        listed = dict.fromkeys(((listing.identity, key) for key in listing.key_ids), listing.replica_id)
        # A process opens its older keys for a while; those of another process are gone with it.
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
        """Until the next fetch is due or wanted."""
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
