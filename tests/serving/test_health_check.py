"""The command `health`, as a probe runs it, and what it trusts."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from blindrelay.serving import (
    STREAMS_PER_RELAY,
    Address,
    ConfigError,
    ServerTls,
    add_health_check,
    health,
    health_check,
    listen,
    server_options,
)
from blindrelay.serving.health import MAX_CHECKS, Health
from blindrelay.serving.health_check import health_of
from tests.patience import PATIENCE

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def patient_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, a check takes long."""
    monkeypatch.setattr(health_check, "PATIENCE", PATIENCE)
    monkeypatch.setattr(health, "REQUEST_SECONDS", PATIENCE)


@dataclass(frozen=True)
class Listening:
    listen: Address
    tls: ServerTls | None = None


@asynccontextmanager
async def served(tls: ServerTls | None = None, *, serving: bool = True) -> AsyncIterator[Address]:
    service, server = Health(), grpc.aio.server(options=server_options(STREAMS_PER_RELAY))
    server.add_generic_rpc_handlers((service.handler(),))
    address = listen(server, LOOPBACK, tls)
    await service.set(serving)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(0)


def certificate(folder: Path, *names: str, mutual: bool = False) -> ServerTls:
    """Files of a listener; with `mutual`, clients need a certificate of the same authority."""
    authority = trustme.CA()
    issued = authority.issue_cert(*names)
    issued.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return ServerTls(folder / "chain.pem", folder / "key.pem", folder / "ca.pem" if mutual else None)


async def asked(address: Address, tls: ServerTls | None) -> str:
    return await asyncio.to_thread(health_of, address, tls)


@pytest.mark.parametrize("serving", [True, False])
async def test_health_is_what_the_server_says(serving: bool) -> None:
    async with served(serving=serving) as address:
        assert await asked(address, None) == ("SERVING" if serving else "NOT_SERVING")


@pytest.mark.parametrize("name", ["relay.example", "*.bridges.example", "127.0.0.1"])
async def test_certificate_may_be_for_any_name(tmp_path: Path, name: str) -> None:
    tls = certificate(tmp_path, name)
    async with served(tls) as address:
        assert await asked(address, tls) == "SERVING"


async def test_server_that_asks_for_certificates_is_shown_its_own(tmp_path: Path) -> None:
    tls = certificate(tmp_path, "bridge.example", mutual=True)
    async with served(tls) as address:
        assert await asked(address, tls) == "SERVING"
        assert await asked(address, ServerTls(tls.certificate, tls.key)) == "no answer (UNAVAILABLE)"


async def test_server_with_another_certificate_is_not_trusted(tmp_path: Path) -> None:
    others, ours = (tmp_path / name for name in ("others", "ours"))
    others.mkdir()
    ours.mkdir()
    async with served(certificate(others, "relay.example")) as address:
        assert await asked(address, certificate(ours, "relay.example")) == "no answer (UNAVAILABLE)"


def test_certificate_for_no_name_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "blindrelay.serving.own_certificate.own_certificate", lambda _: {"notAfter": "tomorrow"}
    )
    with pytest.raises(ConfigError, match="is for no host name"):
        health_of(LOOPBACK, certificate(tmp_path, "relay.example"))


async def test_address_of_every_interface_is_asked_on_loopback() -> None:
    async with served() as address:
        assert await asked(Address("0.0.0.0", address.port), None) == "SERVING"


@pytest.mark.parametrize(("serving", "code"), [(True, 0), (False, 1)])
async def test_exit_code_tells(serving: bool, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(serving=serving) as address:
        commands = (parser := argparse.ArgumentParser()).add_subparsers()
        add_health_check(commands, lambda _: Listening(address))
        given = parser.parse_args(["health", "--config", "any.toml"])
        assert await asyncio.to_thread(given.run, given) == code
        assert capsys.readouterr().out == f"{address}: {'SERVING' if serving else 'NOT_SERVING'}\n"


async def test_checks_whose_request_does_not_come_leave_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address has at most half of all."""
    monkeypatch.setattr("blindrelay.serving.health.REQUEST_SECONDS", 600.0)
    async with served() as address, grpc.aio.insecure_channel(str(address)) as channel:
        check: Any = channel.stream_stream("/grpc.health.v1.Health/Check")
        calls = [check() for _ in range(MAX_CHECKS // 2 + 1)]
        codes = [asyncio.create_task(call.code()) for call in calls]
        ended, _ = await asyncio.wait(codes, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert [code.result() for code in ended] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
        for call in calls:
            call.cancel()
        await asyncio.wait(codes)


async def test_check_whose_request_does_not_come_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindrelay.serving.health.REQUEST_SECONDS", 0.05)
    async with served() as address, grpc.aio.insecure_channel(str(address)) as channel:
        check: Any = channel.stream_stream("/grpc.health.v1.Health/Check")
        assert await check().code() is grpc.StatusCode.DEADLINE_EXCEEDED
