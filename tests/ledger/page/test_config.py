"""The [page] section."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blindrelay.ledger.page import PageConfig, PageListener, Pages, read_page_config
from blindrelay.serving import Address, ConfigError, ServerTls, Table, read_config

from .conftest import LOOPBACK


def read(folder: Path, text: str) -> PageConfig | None:
    file = folder / "ledger.toml"
    file.write_text(text)

    def build(table: Table) -> PageConfig | None:
        return table.table("page", read_page_config)

    return read_config(file, build)


def test_everything_but_the_address_has_a_default(tmp_path: Path) -> None:
    expected = PageConfig(PageListener(Address("127.0.0.1", 8470)))
    assert read(tmp_path, '[page]\nlisten = "127.0.0.1:8470"') == expected
    assert read(tmp_path, "") is None


ALL = """
[page]
listen = "127.0.0.1:1"
[page.customers]
listen = "0.0.0.0:2"
names = ["bills.example"]
[page.customers.tls]
certificate = "chain.pem"
key = "key.pem"
"""


def test_customers_have_a_listener_of_their_own(tmp_path: Path) -> None:
    tls = ServerTls(tmp_path / "chain.pem", tmp_path / "key.pem")
    customers = PageListener(Address("0.0.0.0", 2), tls, names=("bills.example",))
    assert read(tmp_path, ALL) == PageConfig(PageListener(Address("127.0.0.1", 1)), customers)


MISTAKES = {
    "": "page.listen is missing",
    'listen = "0.0.0.0:1"': "page.listen cannot be used: listen = 0.0.0.0:1 is open to other machines",
    'listen = "0.0.0.0:1"\nplaintext = true': "page.names is missing",
    'listen = "127.0.0.1:1"\n[page.customers]\nlisten = "0.0.0.0:2"': "page.customers.listen cannot be used",
    'listen = "127.0.0.1:1"\nport = 2': "page.port is not a known key",
    'listen = "127.0.0.1:1"\nnames = "one"': "page.names must be an array of strings",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_told_with_their_key(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, f"[page]\n{text}")
    assert MISTAKES[text] in str(error.value)


URLS = [
    (PageListener(Address("127.0.0.1", 0)), r"http://127\.0\.0\.1:\d+"),
    (PageListener(Address("::1", 0)), r"http://\[::1\]:\d+"),
    (PageListener(Address("127.0.0.1", 0), names=("bills.example",)), r"http://bills\.example:\d+"),
    (
        PageListener(Address("127.0.0.1", 0), plaintext=True, names=("bills.example",)),
        r"https://bills\.example",
    ),
]


@pytest.mark.parametrize(("listener", "url"), URLS)
def test_address_is_the_one_that_browsers_use(listener: PageListener, url: str) -> None:
    pages = Pages(PageConfig(LOOPBACK, listener), lambda: 0)
    assert re.fullmatch(url, pages.customers_url or "")
    pages.close()
