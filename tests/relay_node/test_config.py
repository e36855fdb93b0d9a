"""relay.toml and the command line: wrong input is one line, and names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.relay_node import ReplicaConfig, read_relay_config
from blindrelay.relay_node.cli import main
from blindrelay.relay_node.config import MAX_REPLICAS
from blindrelay.relay_node.sandbox_needs import relay_needs
from blindrelay.serving import Address, ConfigError, Needs
from blindrelay.v1.identity_text import format_identity

LISTEN = 'listen = "127.0.0.1:0"\n'
TOKENS = 'tokens = "tokens"\n'
REPLICA = '[[replica]]\naddress = "127.0.0.1:8490"\n'
GOOD = LISTEN + TOKENS + REPLICA
OPEN = GOOD.replace("127.0.0.1:0", "0.0.0.0:0")
REMOTE = GOOD.replace("127.0.0.1:8490", "192.0.2.1:8490")
MANY = "".join(REPLICA.replace("8490", str(port)) for port in range(1, MAX_REPLICAS + 2))
IDENTITY = format_identity(bytes(32))
TLS = '[tls]\ncertificate = "broken"\nkey = "broken"\n'
LEAST = {
    "max_exchanges": 1,
    "max_exchanges_per_token": 1,
    "max_connections_per_token": 1,
    "max_request_bytes": 131_072,
    "unread_seconds": 1,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a token file, one that others can read, and one with nonsense."""
    for name, mode in (("tokens", 0o600), ("broken", 0o600), ("open", 0o604)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "broken").write_text("nonsense\n")
    return tmp_path


def written(folder: Path, config: str) -> Path:
    (folder / "relay.toml").write_text(config)
    return folder / "relay.toml"


@pytest.mark.parametrize(("key", "least"), LEAST.items())
def test_limit_has_a_least_value(folder: Path, key: str, least: int) -> None:
    config = read_relay_config(written(folder, f"{key} = {least}\n" + GOOD))
    assert vars(config)[key] == least
    with pytest.raises(ConfigError, match=f"{key} must be from {least} to"):
        read_relay_config(written(folder, f"{key} = {least - 1}\n" + GOOD))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (LISTEN + REPLICA, "tokens is missing"),
        (GOOD + "surprise = 1\n", "replica[0].surprise is not a known key"),
        (OPEN, "add a [tls] section or listen on 127.0.0.1. Set plaintext = true"),
        ("plaintext = true\n" + GOOD + TLS, "plaintext = true contradicts the [tls] section"),
        (LISTEN + TOKENS + MANY, "replica has 21 entries: the maximum is 20"),
        (GOOD + REPLICA, "replica has an address twice"),
        (GOOD.replace(":8490", ":0"), "port 0"),
        (REMOTE, "add a [replica.tls] section, or set plaintext = true"),
        (GOOD + "plaintext = true\n[replica.tls]\n", "plaintext = true contradicts [replica.tls]"),
        (GOOD + '[replica.tls]\nkey = "broken"\n', "goes with key"),
        (
            GOOD + REPLICA.replace("8490", "8491") + f'identity = "{IDENTITY}"\n',
            'replica at 127.0.0.1:8490 has no identity: with several replicas, add identity = "br1..."',
        ),
        (GOOD + f'identity = "{IDENTITY[:-1]}"\n', "replica[0].identity is not an identity: a bridge"),
        (GOOD + 'next_identity = "br2"\n', "replica[0].next_identity is not an identity"),
        (GOOD + 'proxy = "https://proxy.example"\n', "replica[0].proxy starts with https://"),
        (GOOD + 'proxy = "http://proxy.example"\n', "replica[0].proxy needs a [replica.tls] section"),
        (GOOD + 'token_file = "absent"\n', "absent: the token file does not exist"),
        (GOOD + 'token_file = "broken"\n', "broken: not an access token"),
        (GOOD + 'token_file = "open"\n', "open: the token file is open to others (mode 0604); run chmod 600"),
        (GOOD + 'token_file = "credential:a"\n', 'replica[0].token_file = "credential:a" needs'),
    ],
)
def test_wrong_configuration_is_rejected(folder: Path, config: str, words: str) -> None:
    with pytest.raises(ConfigError) as failure:
        read_relay_config(written(folder, config))
    assert words in str(failure.value)


def test_replica_is_read(folder: Path) -> None:
    entry = f'identity = "{IDENTITY}"\nplaintext = true\nproxy = "http://proxy.example"\n'
    config = read_relay_config(written(folder, REMOTE + entry))
    (replica,) = config.replicas
    assert replica.identities == {bytes(32)}
    assert replica.proxy is not None
    assert replica == ReplicaConfig(
        Address("192.0.2.1", 8490), plaintext=True, proxy=replica.proxy, identities=replica.identities
    )
    files = (folder / "relay.toml", folder / "tokens")
    assert relay_needs(config, files[0]) == Needs(files, bind=(0,), connect=(3128,), look_up=True)


@pytest.mark.parametrize(
    ("config", "arguments", "words"),
    [
        ("listen = 1", (), "relay.toml: listen must be a string"),
        (GOOD.replace('"tokens"', '"absent"'), (), "absent: the tokens file does not exist"),
        (GOOD.replace('"tokens"', '"broken"'), (), "broken: line 1 is not NAME SHA256HEX CREATED"),
        (GOOD + '[replica.tls]\nca = "absent"\n', (), "absent: the CA certificate does not exist"),
        ("max_exchanges = 2\n" + GOOD, ("--workers", "3"), "max_exchanges = 2 is too small for 3 workers"),
        (GOOD, ("--workers", "0"), "argument --workers: 0 is not a number from 1 to 64"),
        (GOOD, ("--workers", "65"), "argument --workers: 65 is not a number from 1 to 64"),
        (GOOD, ("--workers", "two"), "argument --workers: two is not a number"),
        (GOOD, ("--port", "1"), "unrecognized arguments: --port 1"),
        (
            "plaintext = true\n" + GOOD.replace("127.0.0.1:0", "nowhere.invalid:1"),
            ("--workers", "2"),
            "cannot listen on nowhere.invalid:1: the name is unknown",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    folder: Path, config: str, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--config", str(written(folder, config)), *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("blindrelay-relay: ")
    assert words in err


def test_token_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def token(*arguments: str) -> str:
        assert main(["token", *arguments, "--tokens", str(tmp_path / "tokens")]) == 0
        return capsys.readouterr().out

    issued = token("issue", "alice").strip()
    assert len(issued) == 47
    assert issued not in (tmp_path / "tokens").read_text()
    assert token("list").startswith("alice\t20")
    assert token("revoke", "alice") == ""
    assert token("list") == ""
