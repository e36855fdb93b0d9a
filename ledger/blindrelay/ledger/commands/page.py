"""`page link`: how the operator's browser signs in to the page."""

from __future__ import annotations

import argparse

from blindrelay.admin.v1.admin_pb2 import AddPageLinkRequest
from blindrelay.ledger.admin_channel import AdminStub
from blindrelay.ledger.commands.admin_command import Shown, Subcommands, add_command, add_group


def add_page_commands(commands: Subcommands) -> None:
    """Adds `page link`."""
    page = add_group(commands, "page", "sign in to the page")
    add_command(page, "link", "print a link that signs one browser in, once", _link)


async def _link(stub: AdminStub, _: argparse.Namespace) -> Shown:
    link = await stub.AddPageLink(AddPageLinkRequest())
    return Shown(
        {"url": link.url, "seconds": link.seconds},
        [link.url, f"It works once, within {link.seconds} seconds."],
    )
