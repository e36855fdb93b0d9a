"""The admin service within a command, where no ledger serves: it opens the books itself."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from blindrelay.ledger.administration.context import AdminContext
from blindrelay.ledger.administration.server import admin_server
from blindrelay.ledger.async_books import AsyncBooks
from blindrelay.ledger.books import Books, BooksError
from blindrelay.serving import Address, StartError, listen
from blindrelay.serving.tokens import new_token


@asynccontextmanager
async def own_service(place: Path | str) -> AsyncIterator[tuple[Address, str]]:
    """Serves the books on loopback while the block runs. Yields the address, and the token to show.

    Raises StartError if the books cannot be used.
    """
    try:
        books = AsyncBooks(Books(place))
    except BooksError as error:
        raise StartError(str(error)) from None
    token, _ = new_token()
    server = admin_server(AdminContext(books, time.time), token, on_fault=lambda _: None)
    try:
        address = listen(server, Address("127.0.0.1", 0), None)
        await server.start()
        yield address, token
    finally:
        await server.stop(None)
        books.close()
