from __future__ import annotations

import pytest

from blindrelay.serving import ConfigError, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8480", "127.0.0.1", 8480, True),
        ("127.9.9.9:0", "127.9.9.9", 0, True),
        ("localhost:1", "localhost", 1, True),
        ("[::1]:65535", "::1", 65535, True),
        ("[0:0:0:0:0:0:0:1]:1", "::1", 1, True),
        ("0.0.0.0:1", "0.0.0.0", 1, False),
        ("[::]:1", "::", 1, False),
        ("localhost.example:443", "localhost.example", 443, False),
        ("192.168.0.1:443", "192.168.0.1", 443, False),
    ],
)
def test_address_is_host_and_port(text: str, host: str, port: int, loopback: bool) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.is_loopback) == (host, port, loopback)
    assert str(address) == text.replace("0:0:0:0:0:0:0:1", "::1")


WRONG = "| : | host | host: | :80 | host:x | host:-1 | host:65536 | host:٣ | ::1:80 | [::1] | [x]:1"
NO_ADDRESS = "ho st:1 | http://host:80 | user@host:80 | host:80/path | hôst:80 | unix:/run/relay.sock"


@pytest.mark.parametrize("text", [text.strip() for text in f"{WRONG} | {NO_ADDRESS}".split("|")])
def test_other_text_is_rejected(text: str) -> None:
    with pytest.raises(ConfigError) as failure:
        parse_address(text)
    assert text in str(failure.value)
