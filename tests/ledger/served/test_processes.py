"""The real process: the commands as scripts use them, and nothing lost when it is killed."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blindrelay.testbed.ports import free_port
from tests.ledger.served.fake_bridge import FakeBridge
from tests.ledger.served.node import Node
from tests.ledger.served.processes import ledger_process, run, scrape, write_config


@pytest.fixture
def file(bridge: FakeBridge, tmp_path: Path) -> Path:
    return write_config(tmp_path, bridge.config)


@pytest.fixture(params=["served", "alone"])
async def somewhere(request: pytest.FixtureRequest, file: Path) -> AsyncIterator[Path]:
    """A configuration whose ledger serves, or does not."""
    await run("relay", "add", "relay", config=file)
    if request.param == "alone":
        yield file
        return
    async with ledger_process(file):
        yield file


async def test_the_commands_that_scripts_use(somewhere: Path) -> None:
    """They are the same whether the ledger serves or not."""
    assert (await run("account", "add", "ann", config=somewhere)).fields["balance"] == 0
    issued = (await run("token", "issue", "ann", "--expires", "30d", config=somewhere)).fields
    assert issued["token"].startswith("brt_")
    assert issued["expires_at"] > issued["created_at"]
    credit = await run("credit", "ann", "5000", "--reference", "order 1", config=somewhere)
    assert credit.fields["balance"] == 5_000
    limited = await run(
        *("limit", "set", "ann", "--units", "100", "--per", "day", "--rate", "5/s", "--concurrent", "9"),
        config=somewhere,
    )
    assert limited.fields["limits"] == {
        "max_units": 1_000_000,
        "concurrent": 9,
        "rate": 5.0,
        "units": {"amount": 100, "per": "day"},
    }
    statement = (await run("statement", "ann", config=somewhere)).fields
    assert {name: statement[name] for name in ("balance", "charged", "overdraft_bound", "lines")} == {
        "balance": 5_000,
        "charged": 0,
        "overdraft_bound": 9_000_000,
        "lines": [],
    }
    assert (await run("check", config=somewhere)).fields == {
        "balanced": True,
        "open": 0,
        "orphans": 0,
        "contradictions": 0,
    }
    assert (await run("export", config=somewhere)).fields == {"lines": []}
    assert (await run("token", "revoke", issued["id"], config=somewhere)).fields["revoked_at"]


async def test_the_other_commands(file: Path) -> None:
    await run("relay", "add", "relay", config=file)
    async with ledger_process(file):
        await run("account", "add", "ann", config=file)
        issued = (await run("token", "issue", "ann", "--name", "laptop", config=file)).fields
        rotated = (await run("token", "rotate", issued["id"], config=file)).fields
        assert rotated["token"] != issued["token"]
        tokens = (await run("token", "list", "ann", config=file)).fields["tokens"]
        # Both may be of one second, and then their order is by chance.
        assert sorted((each["name"], bool(each["revoked_at"])) for each in tokens) == [
            ("laptop", False),
            ("laptop", True),
        ]
        assert not [each for each in tokens if "token" in each]
        assert not (await run("account", "disable", "ann", config=file)).fields["enabled"]
        assert (await run("account", "enable", "ann", config=file)).fields["enabled"]
        (voucher,) = (await run("voucher", "add", "7", config=file)).fields["vouchers"]
        redeemed = await run("voucher", "redeem", "ann", voucher["code"], config=file)
        assert redeemed.fields["balance"] == 7
        audit = (await run("audit", config=file)).fields["entries"]
        assert {entry["actor"].partition(":")[0] for entry in audit} == {"cli"}
        assert (await run("evidence", config=file)).fields == {"evidence": []}
        assert (await run("settlement", config=file)).fields["open"] == 0


WRONG = {
    ("account", "add", "ann"): "ann",
    ("account", "show", "bob"): "bob",
    ("limit", "set", "ann"): "needs a limit to set",
    ("limit", "set", "ann", "--rate", "fast"): "5/s",
    ("credit", "ann", "many", "--reference", "x"): "whole number from -",
    ("token", "issue", "ann", "--expires", "2001-01-01"): "in the past",
    ("statement", "ann", "--month", "May"): "2026-11",
    ("page", "link"): "no page is served",
    ("account", "show"): "--help",
}
"""What is typed, and what the answer must say."""


async def test_a_wrong_command_says_what_to_do(file: Path) -> None:
    await run("account", "add", "ann", config=file)
    for arguments, words in WRONG.items():
        done = await run(*arguments, config=file)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err.startswith("blindrelay-ledger: ")
        assert words in done.err


async def test_relays_are_added_and_removed(file: Path) -> None:
    assert (await run("relay", "add", "one", config=file)).fields["token"].startswith("brt_")
    assert (await run("relay", "list", config=file)).fields == {"relays": ["one"]}
    await run("relay", "remove", "one", config=file)
    assert (await run("relay", "list", config=file)).fields == {"relays": []}


async def test_people_read_lines_instead_of_json(file: Path) -> None:
    await run("account", "add", "ann", config=file)
    shown = await run("account", "list", "--config", str(file))
    assert shown.out.startswith("ann\tenabled\tbalance 0")
    limited = await run(
        *("limit", "set", "ann", "--units", "5000", "--per", "day", "--rate", "90/m", "--config", str(file))
    )
    assert limited.out.splitlines()[1:] == [
        "limit max_units: 1,000,000",
        "limit concurrent: 100",
        "limit rate: 1.5/s",
        "limit units: 5,000 per day",
    ]
    exported = await run("export", "--csv", "--config", str(file))
    assert exported.out.startswith("account,exchange,at,state,units,token,receipt,")


async def test_nothing_is_lost_when_the_ledger_is_killed(file: Path, bridge: FakeBridge) -> None:
    relay_token = (await run("relay", "add", "relay", config=file)).fields["token"]
    await run("account", "add", "ann", config=file)
    token = (await run("token", "issue", "ann", config=file)).fields["token"]
    await run("credit", "ann", "10_000_000", "--reference", "order 1", config=file)
    envelopes = [bridge.envelope() for _ in range(4)]
    async with ledger_process(file) as ledger, Node(ledger.said["listening"], relay_token) as node:
        await node.connect()
        lease = await node.good_lease(token)
        for envelope in envelopes[:3]:
            await node.start(lease, envelope)
        await bridge.settle(envelopes[0], 100)
        await ledger.kill()
        await bridge.put(receipt=bridge.receipt(envelopes[1], 20))
        await bridge.put(receipt=bridge.receipt(envelopes[3], 7))
        async with ledger_process(file):
            await node.until(lambda: node.ended)
            await node.connect()
            assert node.acknowledged == 3
            assert node.reader.read((await node.lease(token)).lease)
            await node.start(lease, envelopes[3])
            await bridge.until(lambda: bridge.acknowledged == 3)
            statement = (await run("statement", "ann", config=file)).fields
            assert sorted(line["units"] for line in statement["lines"]) == [0, 7, 20, 100]
            assert (statement["balance"], statement["charged"]) == (10_000_000 - 127, 127)
            found = (await run("check", config=file)).fields
            assert found == {"balanced": True, "open": 1, "orphans": 0, "contradictions": 0}
            exported = (await run("export", config=file)).fields["lines"]
            assert {line["account"] for line in exported} == {"ann"}
            assert {line["exchange"] for line in exported} == {
                line["exchange"] for line in statement["lines"]
            }


async def test_a_ledger_stops_when_it_is_told_to(file: Path) -> None:
    await run("relay", "add", "relay", config=file)
    async with ledger_process(file) as ledger:
        assert await ledger.stop() == 0
    events = [json.loads(line)["event"] for line in (file.parent / "ledger.log").read_text().splitlines()]
    assert events[0] == "started"
    assert events[-1] == "stopped"


async def test_a_port_that_is_taken_is_one_clear_line(file: Path) -> None:
    await run("relay", "add", "relay", config=file)
    async with ledger_process(file) as ledger:
        done = await run("serve", config=with_other_books(file, ledger.said["admin"]))
    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert ledger.said["listening"] in line


def with_other_books(file: Path, admin: str) -> Path:
    """The configuration of another ledger that would listen on the same port for relays."""
    other = file.with_name("other.toml")
    text = file.read_text().replace("ledger.db", "other.db").replace(admin, f"127.0.0.1:{free_port()}")
    other.write_text(text)
    return other


async def test_a_relay_that_reports_does_not_keep_a_ledger_from_stopping(file: Path) -> None:
    relay_token = (await run("relay", "add", "relay", config=file)).fields["token"]
    async with ledger_process(file) as ledger, Node(ledger.said["listening"], relay_token) as node:
        await node.connect()
        ledger.popen.send_signal(signal.SIGTERM)
        assert await ledger.popen.wait() == 0
        await node.until(lambda: node.ended)


async def test_a_page_link_leads_to_the_page(bridge: FakeBridge, tmp_path: Path) -> None:
    file = write_config(tmp_path, bridge.config)
    file.write_text(file.read_text() + '\n[page]\nlisten = "127.0.0.1:0"\n')
    await run("relay", "add", "relay", config=file)
    async with ledger_process(file) as ledger:
        link = (await run("page", "link", config=file)).fields
        assert link["url"].startswith(ledger.said["page"])
        assert link["seconds"] > 0


async def test_doctor_checks_everything(file: Path, bridge: FakeBridge) -> None:
    failed = await run("doctor", config=file)
    checks = {check["check"]: check for check in json.loads(failed.out)["checks"]}
    assert failed.code == 1
    assert checks["relays"]["remedy"] or "token issue" in checks["relays"]["detail"]
    await run("relay", "add", "relay", config=file)
    assert (await run("doctor", config=file)).fields["ok"]
    async with ledger_process(file):
        assert (await run("doctor", config=file)).fields["ok"]
    await bridge.stop()
    without = await run("doctor", config=file)
    assert without.code == 1
    assert "cannot be reached" in without.out


async def test_metrics_tell_of_everybody_together(bridge: FakeBridge, tmp_path: Path) -> None:
    port = free_port()
    file = write_config(tmp_path, bridge.config, f'metrics = "127.0.0.1:{port}"')
    relay_token = (await run("relay", "add", "relay", config=file)).fields["token"]
    async with ledger_process(file) as ledger, Node(ledger.said["listening"], relay_token) as node:
        await node.connect()
        await bridge.settle(bridge.envelope(), 5)
        samples = await scrape(port)
    assert samples["nodes"] == samples["bridges_up"] == 1
    assert not [name for name in samples if "account" in name]
