"""One bridge process: its channel, the directory it last gave, and whether it can be reached."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from blindrelay.relay_node.channels import ChannelFactory
from blindrelay.relay_node.config import ReplicaConfig
from blindrelay.relay_node.directory import DirectoryFormatError, Listing, read_listings
from blindrelay.relay_node.line import Line
from blindrelay.relay_node.records import Event, Records
from blindrelay.serving import ConfigError, authorization, read_token
from blindrelay.serving.files import Latest
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.exchange_call import ExchangeCall, Metadata

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

MAX_KEYS: Final = 1_024
"""Key ids remembered per replica: those it lists, and those it listed before and still opens."""


class Replica:
    """A bridge process that is asked for its directory again and again, and forwarded to."""

    def __init__(
        self,
        config: ReplicaConfig,
        open_channel: ChannelFactory,
        records: Records,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.address = config.address
        self.listings: tuple[Listing, ...] = ()
        self.identities: frozenset[bytes] = frozenset()
        """Whom it last spoke for; kept while it is down."""
        self._keys: dict[tuple[bytes, bytes], bytes] = {}
        self._records = records
        self._on_change = on_change
        self._line = Line(
            config, open_channel, lambda: records.event(Event.CERTIFICATES_UNUSABLE, config.address)
        )
        self._loop = asyncio.get_running_loop()
        self._token = None if config.token_file is None else self._followed(config.token_file)
        self._up: bool | None = None
        self._asked_at = -STALE_SECONDS
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether its directory is at hand: it answered the last time that it was asked."""
        return self._up is True

    def holds(self, identity: bytes, key_id: bytes) -> bool:
        """Whether this process lists, or lately listed, the key."""
        return (identity, key_id) in self._keys

    def call(self, whole: bytes | None, envelope: bytes, timeout: float) -> ExchangeCall:
        """Opens an exchange with it, as ExchangeMethod does, with no metadata but envelope and our token."""
        return self._line.exchange(whole, ((METADATA_KEY, envelope), *self._metadata()), timeout)

    def refresh(self) -> None:
        """Has the directory fetched now; `settled` waits for it, unless the replica is known to be down."""
        self._wanted.set()
        if self._up is not False:
            self._settled.clear()

    def refresh_if_stale(self) -> None:
        """As refresh, but not if that has just been done: for callers whom anybody can make ask."""
        if self._loop.time() - self._asked_at >= STALE_SECONDS:
            self.refresh()

    def refresh_if_disconnected(self) -> None:
        """As refresh, if the connection has ended: another process may be behind the address now."""
        if self._up and not self._line.ready:
            self.refresh()

    def doubt(self) -> None:
        """Shows the directory to nobody until it is fetched anew: the replica did not hold to it once.

        Exchanges go on to where the key was: one that was lost, on a busy day, is not the end of the others.
        """
        self.listings = ()
        self.refresh()

    @property
    def is_settled(self) -> bool:
        """Whether no fetch that was asked for is under way."""
        return self._settled.is_set()

    async def settled(self) -> None:
        """Waits until a fetch that was asked for has succeeded or failed."""
        await self._settled.wait()

    def _followed(self, token_file: Path) -> Latest[str]:
        def report(_: ConfigError) -> None:
            self._records.event(Event.TOKEN_UNUSABLE, self.address)

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
            await self._line.close()

    async def _fetch_directory(self) -> None:
        self._asked_at = self._loop.time()
        try:
            encoded = await self._line.directories(
                self._metadata(), FETCH_SECONDS, wait_for_ready=self._up is False
            )
            self._found(read_listings(encoded))
        except grpc.aio.AioRpcError as error:
            refused = error.code() is grpc.StatusCode.UNAUTHENTICATED
            # Slow, or hanging: its keys may be there, and exchanges with it take their chance.
            slow = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            self._lost(Event.REPLICA_REFUSES_TOKEN if refused else Event.REPLICA_DOWN, keep_keys=slow)
        except DirectoryFormatError:
            self._lost(Event.REPLICA_DOWN)
        except Exception:
            self._records.event(Event.FAULT)
            self._lost(Event.REPLICA_DOWN)

    def _found(self, listings: tuple[Listing, ...]) -> None:
        here = {listing.replica_id for listing in listings}
        listed = {(one.identity, key): one.replica_id for one in listings for key in one.key_ids}
        # A process opens its older keys for a while; those of another process are gone with it.
        older = {key: owner for key, owner in self._keys.items() if owner in here and key not in listed}
        self._keys = dict(list((older | listed).items())[-MAX_KEYS:])
        self.listings = listings
        self.identities = frozenset(listing.identity for listing in listings)
        self._become(True, Event.REPLICA_UP)

    def _lost(self, how: Event, *, keep_keys: bool = False) -> None:
        self.listings = ()
        if not keep_keys:
            self._keys = {}
        self._become(False, how)

    def _become(self, up: bool, event: Event) -> None:
        if up is not self._up:
            self._up = up
            self._records.event(event, self.address)
            self._on_change()

    async def _pause(self) -> None:
        """Until the next fetch is due or wanted."""
        seconds = RETRY_SECONDS
        if self._up:
            seconds = min(REFRESH_SECONDS, *(listing.lifetime / 4 for listing in self.listings))
        due = self._loop.time() + seconds
        while (left := due - self._loop.time()) > 0 and not self._wanted.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_SECONDS)):
                    await self._wanted.wait()
            self._line.follow_files()
            self.refresh_if_disconnected()
