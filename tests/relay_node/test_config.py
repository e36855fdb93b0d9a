"""relay.toml, the command line and doctor: what is wrong is one line, and names the key or a remedy."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from blindrelay.relay_node import ReplicaConfig, read_relay_config
from blindrelay.relay_node.cli import main
from blindrelay.relay_node.config import MAX_REPLICAS, PeerConfig
from blindrelay.relay_node.sandbox_needs import relay_needs
from blindrelay.serving import Address, ConfigError, Needs, issue_token
from blindrelay.v1.identity_text import format_identity
from tests.relay_node.conftest import StartRelay
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.fake_ledger import FakeLedger
from tests.relay_node.raw_client import CONFIG

LISTEN = 'listen = "127.0.0.1:0"\n'
TOKENS = 'tokens = "tokens"\n'
REPLICA = '[[replica]]\naddress = "127.0.0.1:8490"\n'
GOOD = LISTEN + TOKENS + REPLICA
LEDGER = '[ledger]\naddress = "127.0.0.1:8470"\n'
LEDGERED = LISTEN + REPLICA + LEDGER
OPEN = GOOD.replace("127.0.0.1:0", "0.0.0.0:0")
REMOTE = GOOD.replace("127.0.0.1:8490", "192.0.2.1:8490")
MANY = "".join(REPLICA.replace("8490", str(port)) for port in range(1, MAX_REPLICAS + 2))
IDENTITY = format_identity(bytes(32))
TLS = '[tls]\ncertificate = "broken"\nkey = "broken"\n'
LIMITS = ("max_exchanges", "max_exchanges_per_token", "max_connections_per_token", "unread_seconds")


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


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (LISTEN + REPLICA, "tokens is missing"),
        (GOOD + LEDGER, "tokens contradicts [ledger], which knows the tokens: leave one of them out"),
        (LISTEN + REPLICA + "[ledger]\n", "ledger.address is missing"),
        (LEDGERED + "surprise = 1\n", "ledger.surprise is not a known key"),
        (LEDGERED + 'identity = "br1"\n', "ledger.identity is not a known key"),
        (LEDGERED.replace("8470", "0"), "ledger.address has port 0: write the port on which it listens"),
        (
            LEDGERED.replace("127.0.0.1:8470", "192.0.2.1:8470"),
            "is another machine: add a [ledger.tls] section",
        ),
        (LEDGERED + "plaintext = true\n[ledger.tls]\n", "ledger.plaintext = true contradicts [ledger.tls]"),
        (LEDGERED + 'proxy = "http://127.0.0.1:3128"\n', "ledger.proxy needs a [ledger.tls] section"),
        (LEDGERED + 'token_file = "broken"\n', "broken: not an access token"),
        (GOOD + "surprise = 1\n", "replica[0].surprise is not a known key"),
        (OPEN, "add a [tls] section or listen on 127.0.0.1. Set plaintext = true"),
        ("plaintext = true\n" + GOOD + TLS, "plaintext = true contradicts the [tls] section"),
        *((f"{limit} = 0\n" + GOOD, f"{limit} must be from 1 to") for limit in LIMITS),
        ("max_request_bytes = 131071\n" + GOOD, "max_request_bytes must be from 131072 to"),
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


def test_ledger_is_read(folder: Path) -> None:
    """In place of the tokens file. The sandbox lets the relay reach it."""
    (folder / "own").touch(mode=0o600)
    (folder / "own").write_text("brt_" + "R" * 43)
    remote = LEDGERED.replace("127.0.0.1:8470", "ledger.example:8470")
    config = read_relay_config(written(folder, remote + 'token_file = "own"\nplaintext = true\n'))
    assert config.tokens is None
    assert config.ledger == PeerConfig(
        Address("ledger.example", 8470), token_file=folder / "own", plaintext=True
    )
    files = (folder / "relay.toml", folder / "own")
    assert relay_needs(config, files[0]) == Needs(files, bind=(0,), connect=(8490, 8470), look_up=True)


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
        (GOOD, ("--port", "1"), "unrecognized arguments: --port 1 (see blindrelay-relay serve --help)"),
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


CERTIFIED = '[tls]\ncertificate = "relay.pem"\nkey = "relay.key"'
NEW = timedelta(days=60)


class Doctor:
    """The command, with a relay.toml in a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file, self.tokens = folder / "relay.toml", folder / "tokens"
        self.chain, self.key = folder / "relay.pem", folder / "relay.key"
        self._capsys = capsys
        issue_token(self.tokens, "alice", datetime.now(UTC))

    def certify(self, lifetime: timedelta = NEW) -> None:
        """Makes a certificate that expires after this time."""
        now = datetime.now(UTC)
        issued = trustme.CA().issue_cert("127.0.0.1", not_before=now - timedelta(9), not_after=now + lifetime)
        issued.cert_chain_pems[0].write_to_path(self.chain)
        issued.private_key_pem.write_to_path(self.key)
        self.key.chmod(0o600)

    async def examine(self, bridge: int, port: int = 0, tls: str = "", ledger: int = 0) -> dict[str, Any]:
        """The findings by check. A thread finds them, since a bridge may be in this event loop."""
        config = CONFIG.format(port=port, bridge=bridge, options=tls)
        if ledger:
            config = config.replace(TOKENS, "") + LEDGER.replace("8470", str(ledger))
        self.file.write_text(config)
        code = await asyncio.to_thread(main, ["doctor", "--config", str(self.file), "--json"])
        found = json.loads(self._capsys.readouterr().out)
        assert found["ok"] == (code == 0) == all(each["ok"] for each in found["checks"])
        return {each["check"]: each for each in found["checks"]}


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, capsys)


async def test_all_checks_pass(doctor: Doctor, bridge: FakeBridge) -> None:
    doctor.certify()
    found = await doctor.examine(bridge.port, tls=CERTIFIED)
    assert {name: each["ok"] for name, each in found.items()} == dict.fromkeys(
        ("configuration", "tokens", "tls", "listen", "replica"), True
    )
    assert found["tls"]["detail"].endswith(("valid for 59 days", "valid for 60 days"))
    assert found["replica"]["detail"].endswith("serves a key directory (keys: 1)")


async def test_ledger_is_asked_for_a_lease(doctor: Doctor, bridge: FakeBridge, ledger: FakeLedger) -> None:
    """With a token that nobody has: the ledger refuses that one, and so it works."""
    found = await doctor.examine(bridge.port, ledger=ledger.port)
    assert list(found) == ["configuration", "listen", "ledger", "replica"]
    assert found["ledger"]["detail"] == f"127.0.0.1:{ledger.port} gives leases"
    await ledger.stop()
    missing = (await doctor.examine(bridge.port, ledger=ledger.port))["ledger"]
    assert missing["detail"] == f"127.0.0.1:{ledger.port} (refused) gives no leases"
    assert "token_file" in missing["remedy"]


def test_each_check_is_a_line_with_a_remedy(doctor: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    doctor.file.write_text(CONFIG.format(port=0, bridge=1, options=""))
    assert main(["doctor", "--config", str(doctor.file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "ok", "ok", "FAILED", "→"]
    assert "(refused): nothing listens" in lines[3]
    assert "start the bridge" in lines[4]


async def test_wrong_configuration_is_the_only_finding(doctor: Doctor) -> None:
    assert list(await doctor.examine(1, tls="surprise = 1")) == ["configuration"]


@pytest.mark.parametrize(
    ("lifetime", "mode", "words"),
    [
        (timedelta(days=13, hours=23), 0o600, "expires in 13 days"),
        (-timedelta(days=1), 0o600, "has expired"),
        (NEW, 0o644, "run chmod 600"),
    ],
)
async def test_bad_certificate_is_a_failure(
    doctor: Doctor, bridge: FakeBridge, lifetime: timedelta, mode: int, words: str
) -> None:
    doctor.certify(lifetime)
    doctor.key.chmod(mode)
    found = await doctor.examine(bridge.port, tls=CERTIFIED)
    assert not found["tls"]["ok"]
    assert words in found["tls"]["detail"]


async def test_only_the_port_of_a_running_relay_may_be_in_use(
    doctor: Doctor, bridge: FakeBridge, start_relay: StartRelay
) -> None:
    relay = await start_relay(bridge.config)
    found = await doctor.examine(bridge.port, relay.address.port)
    assert found["listen"]["ok"]
    assert "in use by a running relay" in found["listen"]["detail"]
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as taken:
        found = await doctor.examine(bridge.port, taken.sockets[0].getsockname()[1])
    assert "the port is taken" in found["listen"]["detail"]


async def test_tls_port_of_a_running_relay_is_recognised_by_its_certificate(
    doctor: Doctor, bridge: FakeBridge
) -> None:
    doctor.certify()
    pair = doctor.key.read_bytes(), doctor.chain.read_bytes()
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    assert (await doctor.examine(bridge.port, port, CERTIFIED))["listen"]["ok"]
    doctor.certify()
    found = await doctor.examine(bridge.port, port, CERTIFIED)
    assert not found["listen"]["ok"], "another certificate belongs to another program"
    await server.stop(None)


async def test_tokens_are_examined(doctor: Doctor, bridge: FakeBridge) -> None:
    bridge.refuse_fetch = grpc.StatusCode.UNAUTHENTICATED
    doctor.tokens.write_text("")
    found = await doctor.examine(bridge.port)
    assert found["tokens"]["remedy"].startswith("run `token issue NAME --tokens /")
    assert "does not accept our token" in found["replica"]["detail"]
    assert "token_file" in found["replica"]["remedy"]
