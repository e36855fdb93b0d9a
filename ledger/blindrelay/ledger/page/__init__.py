"""The pages of a ledger, in a browser: everything for the operator, and for each customer their account."""

from __future__ import annotations

from blindrelay.ledger.page.config import PageConfig, PageListener, read_page_config
from blindrelay.ledger.page.pages import Pages
from blindrelay.ledger.page.sign_in import LINK_SECONDS

__all__ = ["LINK_SECONDS", "PageConfig", "PageListener", "Pages", "read_page_config"]
