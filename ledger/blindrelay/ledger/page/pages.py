"""The pages of a ledger: the operator's on one port, and the customers' on another."""

from __future__ import annotations

import asyncio

import grpc

from blindrelay.ledger.page.admin_calls import AdminCalls, Metadata
from blindrelay.ledger.page.config import PageConfig, PageListener
from blindrelay.ledger.page.customer import customer_app
from blindrelay.ledger.page.operator import operator_app
from blindrelay.ledger.page.server import serve_app
from blindrelay.ledger.page.sign_in import Clock, OneTimeLinks
from blindrelay.ledger.page.site import Site
from blindrelay.serving import Address
from blindrelay.serving.listener import bound


class Pages:
    """The pages. Their ports are bound at once, and served by serve()."""

    def __init__(self, config: PageConfig, now: Clock) -> None:
        """`now` is Unix seconds. Raises StartError if a port is taken, ConfigError for unusable TLS files."""
        self._now = now
        self._links = OneTimeLinks(now)
        self._operator = _Door(config.operator)
        self._customers = None if config.customers is None else _Door(config.customers)

    @property
    def url(self) -> str:
        """The address of the operator's pages."""
        return self._operator.url

    @property
    def customers_url(self) -> str | None:
        """The address of the customers' page, or None if there is none."""
        return None if self._customers is None else self._customers.url

    def new_link(self) -> str:
        """A link that signs one browser in to the operator's pages, once, within LINK_SECONDS."""
        return f"{self.url}/sign-in?code={self._links.new_code()}"

    async def serve(self, channel: grpc.aio.Channel, authorization: Metadata) -> None:
        """Serves until it is cancelled.

        Args:
            channel: to the ledger's admin service.
            authorization: the metadata that shows the admin token.
        """
        operator = AdminCalls(channel, authorization, "page")
        async with asyncio.TaskGroup() as tasks:
            door = self._operator
            app = operator_app(door.site(operator, self._now), self._links, door.names)
            tasks.create_task(serve_app(app, door.socket, door.listener))
            if self._customers is not None:
                tasks.create_task(self._serve_customers(self._customers, channel, authorization))

    async def _serve_customers(self, door: _Door, channel: grpc.aio.Channel, authorization: Metadata) -> None:
        calls = AdminCalls(channel, authorization, "customer")
        app = customer_app(door.site(calls, self._now), door.names)
        await serve_app(app, door.socket, door.listener)

    def close(self) -> None:
        """Releases the ports. It is for pages that were not served."""
        for door in (self._operator, self._customers):
            if door is not None:
                door.socket.close()


class _Door:
    """A listener with its bound socket."""

    def __init__(self, listener: PageListener) -> None:
        if listener.tls is not None:
            listener.tls.configuration()  # reports wrong files at start
        self.listener = listener
        self.socket = bound(listener.address)
        self.socket.listen()  # connections before serve() wait
        self._address = Address(listener.address.host, self.socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Where browsers find it. If a proxy is in front, it has the usual port."""
        names = self.listener.names
        if self.listener.plaintext and names:
            return f"https://{names[0]}"
        address = Address(names[0], self._address.port) if names else self._address
        return f"{'https' if self.listener.tls else 'http'}://{address}"

    @property
    def names(self) -> list[str]:
        """The host names that browsers may use. Any other may be a page that rebinds its name to us."""
        own = str(Address(self._address.host, 0)).removesuffix(":0")
        return ["localhost", "127.0.0.1", "[::1]", own, *self.listener.names]

    def site(self, calls: AdminCalls, now: Clock) -> Site:
        """The pages. Browsers send a cookie to all ports of a host, so that its name has the port."""
        cookie = f"blindrelay-{calls.actor}-{self._address.port}"
        return Site(calls, cookie, is_https=self.listener.is_https, now=now)
