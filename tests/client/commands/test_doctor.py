"""`blindrelay doctor`: each hop is found broken by the check that is its own."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from blindrelay.serving import issue_token
from blindrelay.testbed import PartProcess, Testbed
from blindrelay.trust import IdentityKey, format_identity
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.inner_pb2 import ErrorCode
from blindrelay.v1.limits import MAX_DIRECTORIES
from blindrelay.v1.outer_status import OuterStatus

from ..conftest import Received, Responder, ScriptedBridge
from .conftest import PATIENCE, Run, failing

CHECKS = (
    "configuration",
    "history",
    "name",
    "tcp",
    "tls",
    "token",
    "directory",
    "identity",
    "clock",
    "seal",
    "provider",
)
PIN = format_identity(IdentityKey(b"\x05" * 32).public_key)


def examined(run: Run, *options: object, code: int = 1) -> dict[str, Any]:
    """The failed check, having made sure that it is the only one, and that nothing was looked at after it."""
    got, out, err = run("doctor", "--json", *options)
    assert err == ""
    report = json.loads(out)
    assert [each["check"] for each in report["checks"]] == list(CHECKS)
    (failed,) = [each for each in report["checks"] if each["status"] == "failed"]
    place = CHECKS.index(failed["check"])
    assert {each["status"] for each in report["checks"][:place]} <= {"ok"}
    assert {each["status"] for each in report["checks"][place + 1 :]} <= {"skipped"}
    assert (got, report["ok"]) == (code, False)
    assert failed["detail"]
    assert failed["remedy"]
    found: dict[str, Any] = failed
    return found


def test_all_is_well(to_bed: Testbed, run: Run) -> None:
    seen = len(httpx.get(f"{to_bed.provider}/scripted/requests").json())
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", check] for check in CHECKS]
    assert "openai lists 1 model" in lines[-1]
    # No model was asked: the sealed round trip ends at the bridge, and the provider gives a list.
    asked = httpx.get(f"{to_bed.provider}/scripted/requests").json()[seen:]
    assert [(each["method"], each["path"]) for each in asked] == [("GET", "/v1/models")]


@pytest.mark.usefixtures("to_bed")
def test_all_is_well_for_programs(run: Run) -> None:
    code, out, err = run("doctor", "--json", "--provider", "anthropic")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["ok"] is True
    assert {each["status"] for each in report["checks"]} == {"ok"}
    assert "anthropic lists 1 model" in report["checks"][-1]["detail"]


def test_no_configuration_is_wrong_input(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BLINDRELAY_CONNECTION", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    failed = examined(run, code=2)
    assert failed["check"] == "configuration"
    assert "blindrelay init" in failed["remedy"]


def test_a_history_that_is_damaged(bridge: ScriptedBridge, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "history"
    file.write_text("{")
    file.chmod(0o600)
    failed = examined(run, "--relay", f"{bridge.connection}&history={file}")
    assert failed["check"] == "history"
    assert bridge.directory_requests == 0


def test_a_name_that_is_not_resolved(run: Run) -> None:
    failed = examined(run, "--relay", f"blindrelay://relay.invalid?bridge={PIN}")
    assert failed["check"] == "name"
    assert "relay.invalid" in failed["detail"]


def test_a_port_where_nothing_listens(run: Run) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        relay = f"blindrelay://127.0.0.1:{held.getsockname()[1]}?bridge={PIN}&tls=off"
        failed = examined(run, "--relay", relay)
    assert failed["check"] == "tcp"
    assert "Connection refused" in failed["detail"]


def test_a_relay_without_tls(bridge: ScriptedBridge, run: Run) -> None:
    failed = examined(run, "--relay", bridge.connection.replace("&tls=off", ""))
    assert failed["check"] == "tls"
    assert "no TLS" in failed["detail"]


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """Shakes hands with whoever comes, and says no more; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    taken, _ = listening.accept()
                except OSError:
                    return
                taken.settimeout(PATIENCE)
                try:
                    context.wrap_socket(taken, server_side=True).close()
                except OSError:
                    taken.close()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        server.join(PATIENCE)


def of_a_stranger(ca: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


def of_another_name(ca: trustme.CA) -> trustme.LeafCert:
    return ca.issue_cert("relay.example")


def that_has_ended(ca: trustme.CA) -> trustme.LeafCert:
    now = datetime.now(UTC)
    return ca.issue_cert("127.0.0.1", not_before=now - timedelta(days=2), not_after=now - timedelta(days=1))


def that_is_good(ca: trustme.CA) -> trustme.LeafCert:
    return ca.issue_cert("127.0.0.1")


@pytest.mark.parametrize(
    ("certificate", "protocol", "check", "message"),
    [
        (of_a_stranger, "h2", "tls", "unable to get local issuer certificate"),
        (of_another_name, "h2", "tls", "IP address mismatch"),
        (that_has_ended, "h2", "tls", "certificate has expired"),
        (that_is_good, "http/1.1", "tls", "HTTP/2"),
        (that_is_good, "h2", "token", "no connection to the relay"),
    ],
)
def test_certificates(
    certificate: Callable[[trustme.CA], trustme.LeafCert],
    protocol: str,
    check: str,
    message: str,
    run: Run,
    tmp_path: Path,
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(ca).configure_cert(context)
    context.set_alpn_protocols([protocol])
    with tls_server(context) as port:
        relay = f"blindrelay://127.0.0.1:{port}?bridge={PIN}&ca={tmp_path / 'ca.pem'}"
        failed = examined(run, "--relay", relay)
    assert failed["check"] == check
    assert message in failed["detail"]


def test_roots_that_are_none(run: Run, bridge: ScriptedBridge, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    failed = examined(
        run, "--relay", f"blindrelay://127.0.0.1:{bridge.port}?bridge={PIN}&ca={tmp_path}/ca.pem"
    )
    assert failed["check"] == "tls"
    assert "ca.pem has no certificates in PEM" in failed["detail"]


def test_too_many_directories_are_no_matter_of_time(to_bridge: ScriptedBridge, run: Run) -> None:
    def many(response: GetKeyDirectoryResponse) -> None:
        response.directories.extend([response.directories[0]] * MAX_DIRECTORIES)

    to_bridge.substitute = many
    failed = examined(run)
    assert failed["check"] == "identity"
    assert "more key directories than the protocol allows" in failed["detail"]


def test_a_relay_with_a_private_certificate(bed: Testbed, run: Run, tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    of_relay = ca.issue_cert("localhost")
    of_relay.private_key_pem.write_to_path(tmp_path / "relay.key")
    (tmp_path / "relay.key").chmod(0o600)
    (tmp_path / "relay.pem").write_bytes(b"".join(each.bytes() for each in of_relay.cert_chain_pems))
    token = issue_token(tmp_path / "tokens", "doctor", datetime.now(UTC))
    (tmp_path / "relay.toml").write_text(
        'listen = "127.0.0.1:0"\ntokens = "tokens"\n[tls]\ncertificate = "relay.pem"\nkey = "relay.key"\n'
        f'[[replica]]\naddress = "{bed.parts["bridge"].listening}"\n'
    )
    config = str(tmp_path / "relay.toml")
    relay = PartProcess("relay", "blindrelay.relay_node", lambda: ["serve", "--config", config, "--json"])
    relay.start()
    try:
        address = relay.listening.replace("127.0.0.1", "localhost")
        options = f"bridge={bed.identity}&ca={tmp_path / 'ca.pem'}"
        code, out, err = run("doctor", "--relay", f"blindrelay://{token}@{address}?{options}")
    finally:
        relay.stop()
    assert (code, err) == (0, "")
    assert "TLSv1.3, certificate good for" in out


def test_grpcs_own_roots_are_used_where_none_are_named(run: Run) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with tls_server(context) as port:
        failed = examined(run, "--relay", f"blindrelay://127.0.0.1:{port}?bridge={PIN}")
    assert failed["check"] == "tls"
    assert "ca=FILE" in failed["remedy"]


def test_a_wrong_token(bed: Testbed, run: Run) -> None:
    failed = examined(run, "--relay", bed.relay.replace("brt_", "brt_x"))
    assert failed["check"] == "token"
    assert "operator" in failed["remedy"]


def test_a_relay_without_a_bridge(to_bridge: ScriptedBridge, run: Run) -> None:
    def nothing(response: GetKeyDirectoryResponse) -> None:
        del response.directories[:]

    to_bridge.substitute = nothing
    assert examined(run)["check"] == "directory"


def test_a_wrong_pin(bed: Testbed, run: Run) -> None:
    failed = examined(run, "--relay", bed.relay.replace(bed.identity, PIN))
    assert failed["check"] == "identity"
    assert PIN in failed["detail"]
    assert bed.identity in failed["detail"]
    assert "not the relay's" in failed["remedy"]


@pytest.mark.parametrize(("offset", "words"), [(7_290, "behind"), (-7_290, "ahead of")])
def test_a_clock_that_is_off(offset: int, words: str, to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.clock_offset = offset
    failed = examined(run)
    assert failed["check"] == "clock"
    assert f"clock is 2 h 1 min {words} what the bridge signed" in failed["detail"]


def test_a_clock_that_is_off_by_more_than_exchanges_may_be(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.clock_offset = -400
    failed = examined(run)
    assert failed["check"] == "clock"
    assert "6 min" in failed["detail"]


def test_a_relay_that_alters_what_it_carries(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.refuse = OuterStatus.REFUSED
    assert examined(run)["check"] == "seal"


def test_a_bridge_that_calls_whatever_it_is_told(to_bridge: ScriptedBridge, run: Run) -> None:
    failed = examined(run)  # it answers everything, and so the impossible address too
    assert failed["check"] == "seal"
    assert "does not exist" in failed["detail"]


def only_at_nowhere(
    code: ErrorCode.ValueType, provider: Callable[[Received, Responder], Any]
) -> Callable[[Received, Responder], Any]:
    async def answer(received: Received, respond: Responder) -> None:
        refuses = "doctor.invalid" in received.head.url
        await (failing(code, "it is not on the list") if refuses else provider)(received, respond)

    return answer


async def key_refused(_: Received, respond: Responder) -> None:
    await respond.whole(b'{"error": {"message": "Incorrect API key provided"}}', 401)


async def models_of_anthropic(received: Received, respond: Responder) -> None:
    if "anthropic" in received.head.url:
        await respond.whole(b'{"data": [{"id": "one"}, {"id": "two"}]}')
    else:
        await failing(ErrorCode.ERROR_CODE_NOT_ALLOWED, "this bridge does not serve it")(received, respond)


@pytest.mark.parametrize(
    ("provider", "message", "remedy"),
    [
        (
            key_refused,
            "the provider answered 401: Incorrect API key provided",
            "the provider refuses the key",
        ),
        (
            failing(ErrorCode.ERROR_CODE_PROVIDER_UNREACHABLE, "the provider was not reached"),
            "the provider was not reached",
            "does not reach its provider",
        ),
        (failing(ErrorCode.ERROR_CODE_NOT_ALLOWED, "not served"), "not served", "--origin"),
    ],
)
def test_the_provider(
    provider: Callable[[Received, Responder], Any],
    message: str,
    remedy: str,
    to_bridge: ScriptedBridge,
    run: Run,
) -> None:
    to_bridge.answer = only_at_nowhere(ErrorCode.ERROR_CODE_NOT_ALLOWED, provider)
    failed = examined(run)
    assert failed["check"] == "provider"
    assert message in failed["detail"]
    assert remedy in failed["remedy"]


def test_the_provider_that_the_bridge_has_is_found(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = only_at_nowhere(ErrorCode.ERROR_CODE_NOT_ALLOWED, models_of_anthropic)
    code, out, _ = run("doctor")
    assert code == 0
    assert "anthropic lists 2 models" in out


def test_a_failure_says_what_to_do(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.token = "brt_other"
    code, out, err = run("doctor")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    place = CHECKS.index("token")
    assert lines[place].split(maxsplit=2)[:2] == ["FAILED", "token"]
    assert lines[place + 1].strip().startswith("→ ask the relay's operator for a token")
    assert [line.split() for line in lines[place + 2 :]] == [
        ["skipped", each] for each in CHECKS[place + 1 :]
    ]


@pytest.fixture(scope="module")
def fragile_bed() -> Iterator[Testbed]:
    with Testbed("scripted") as bed:
        yield bed


def test_parts_that_are_down(fragile_bed: Testbed, run: Run) -> None:
    fragile_bed.kill("provider")
    failed = examined(run, "--relay", fragile_bed.relay)
    assert failed["check"] == "provider"
    assert "does not reach its provider" in failed["remedy"]
    fragile_bed.kill("bridge")
    failed = examined(run, "--relay", fragile_bed.relay)
    assert failed["check"] in ("directory", "seal")  # as soon as the relay has noticed
    assert "no bridge is up" in failed["remedy"]
    fragile_bed.kill("relay")
    assert examined(run, "--relay", fragile_bed.relay)["check"] == "tcp"
