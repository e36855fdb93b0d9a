"""The shares of each token and each bridge in a relay process's limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager

from blindrelay.relay_node.config import RelayConfig
from blindrelay.serving import Context, Shares
from blindrelay.serving.options import MAX_CONNECTIONS


class Sharing:
    """Counts calls by token and by bridge. With a ledger, an account stands for its tokens."""

    def __init__(self, config: RelayConfig) -> None:
        self._exchanges = Shares(config.max_exchanges, config.max_exchanges_per_token)
        self._fetches = Shares(config.max_exchanges, config.max_exchanges_per_token)
        self._connections = Shares(MAX_CONNECTIONS, config.max_connections_per_token)
        self._calls: Counter[tuple[Hashable, str]] = Counter()
        # A bridge that hangs must leave room for the others. A single bridge may use everything.
        alone = len({replica.identities for replica in config.replicas}) == 1
        self._bridges = Shares(config.max_exchanges * (2 if alone else 1))

    @contextmanager
    def exchange(self, token: Hashable, context: Context) -> Iterator[None]:
        """Counts one exchange while the block runs. Raises CallRefusedError: OVERLOADED."""
        with self._exchanges.hold(token), self._connection(token, context.peer()):
            yield

    def forwarded(self, identities: frozenset[bytes]) -> AbstractContextManager[None]:
        """Counts one exchange of a bridge with these identities. Raises CallRefusedError: OVERLOADED."""
        return self._bridges.hold(identities)

    @contextmanager
    def fetch(self, token: Hashable, context: Context) -> Iterator[None]:
        """Counts one call for directories while the block runs. Raises CallRefusedError: OVERLOADED."""
        with self._fetches.hold(token), self._connection(token, context.peer()):
            yield

    @contextmanager
    def _connection(self, token: Hashable, peer: str) -> Iterator[None]:
        """A connection counts while the token has a call on it."""
        if not self._calls[token, peer]:
            self._connections.acquire(token, 1)
        self._calls[token, peer] += 1
        try:
            yield
        finally:
            self._calls[token, peer] -= 1
            if not self._calls[token, peer]:
                del self._calls[token, peer]
                self._connections.release(token, 1)
