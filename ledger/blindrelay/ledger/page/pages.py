"""The pages of a ledger: the operator's on one port, and the customers' on another."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import grpc
from starlette.types import ASGIApp

from blindrelay.ledger.page.admin_calls import AdminCalls, Metadata
from blindrelay.ledger.page.config import PageConfig
from blindrelay.ledger.page.customer import customer_app
from blindrelay.ledger.page.operator import operator_app
from blindrelay.ledger.page.server import serve_app
from blindrelay.ledger.page.sign_in import Clock, OneTimeLinks
from blindrelay.ledger.page.site import Site
from blindrelay.serving.address import Address
from blindrelay.serving.listener import bound


class Pages:
    """The pages. Their ports are bound at once, and served by serve().

    Attributes:
        url: the address of the operator's pages.
        customers_url: the address of the customers' page, or None if there is none.
    """

    def __init__(self, config: PageConfig, now: Clock) -> None:
        """`now` is Unix seconds. Raises StartError if a port is taken, ConfigError for unusable TLS files."""
        self._config = config
        self._now = now
        self._links = OneTimeLinks(now)
        if config.tls is not None:
            config.tls.configuration()
        self._operators = bound(config.operator)
        self._customers = None if config.customers is None else bound(config.customers)
        self.url = self._url(self._operators)
        self.customers_url = None if self._customers is None else self._url(self._customers)

    def new_link(self) -> str:
        """A link that signs one browser in to the operator's pages, once, within LINK_SECONDS."""
        return f"{self.url}/sign-in?code={self._links.new_code()}"

    async def serve(self, channel: grpc.aio.Channel, authorization: Metadata) -> None:
        """Serves until it is cancelled.

        Args:
            channel: to the ledger's admin service.
            authorization: the metadata that shows the admin token.
        """
        names = self._names()
        operators = operator_app(
            self._site(channel, authorization, "page", self._operators), self._links, names
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve(operators, self._operators))
            if self._customers is not None:
                site = self._site(channel, authorization, "customer", self._customers)
                tasks.create_task(self._serve(customer_app(site, names), self._customers))

    async def _serve(self, app: ASGIApp, listener: socket.socket) -> None:
        await serve_app(app, listener, self._config)

    def _site(
        self, channel: grpc.aio.Channel, authorization: Metadata, actor: str, listener: socket.socket
    ) -> Site:
        """The port is in the cookie's name, because browsers send a host's cookies to all its ports."""
        cookie = f"blindrelay-{actor}-{listener.getsockname()[1]}"
        calls = AdminCalls(channel, authorization, actor)
        return Site(calls, cookie, is_https=self._config.is_https, now=self._now)

    def _names(self) -> list[str]:
        """The host names that browsers may use. Any other may be a page that rebinds its name to us."""
        addresses = [self._config.operator, *([self._config.customers] if self._config.customers else [])]
        own = (str(Address(each.host, 0)).removesuffix(":0") for each in addresses)
        return ["localhost", "127.0.0.1", "[::1]", *own, *self._config.names]

    def _url(self, listener: socket.socket) -> str:
        config = self._config
        if config.plaintext and config.names:
            return f"https://{config.names[0]}"
        host, port = listener.getsockname()[:2]
        if ipaddress.ip_address(host).is_unspecified:
            host = "127.0.0.1"
        name = config.names[0] if config.names else host
        return f"{'https' if config.tls else 'http'}://{Address(name, port)}"
