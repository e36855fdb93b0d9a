"""The pages of a ledger, in a browser: all of it for the operator, and for each customer the own account."""

from __future__ import annotations

from blindrelay.ledger.page.config import PageConfig, PageListener, read_page_config
from blindrelay.ledger.page.pages import Pages
from blindrelay.ledger.page.sign_in import LINK_SECONDS

__all__ = ["LINK_SECONDS", "PageConfig", "PageListener", "Pages", "read_page_config"]
