"""`blindrelay doctor`: each broken hop fails its own check, and TLS is looked at as gRPC would."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from blindrelay.testbed import Testbed
from blindrelay.trust import IdentityKey, format_identity
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.inner_pb2 import ErrorCode
from blindrelay.v1.limits import MAX_DIRECTORIES
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE

from ..scripted_bridge import Received, Responder, Response, ScriptedBridge, failing, responding
from .conftest import Run, succeeded

CHECKS = (
    *("configuration", "history", "name", "tcp", "tls", "token"),
    *("directory", "identity", "clock", "seal", "provider"),
)
PIN = format_identity(IdentityKey(b"\x05" * 32).public_key)
UNREACHABLE = failing(ErrorCode.ERROR_CODE_PROVIDER_UNREACHABLE, "silence")
NOT_SERVED = failing(ErrorCode.ERROR_CODE_NOT_ALLOWED, "not served")


def examined(run: Run, *options: object, code: int = 1) -> dict[str, Any]:
    """The failed check. The checks before it pass, and those after it are skipped."""
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


def expect(run: Run, relay: str, check: str, detail: str, remedy: str = "", code: int = 1) -> None:
    failed = examined(run, "--relay", relay, code=code)
    assert failed["check"] == check
    assert detail in failed["detail"]
    assert remedy in failed["remedy"]


def requests_to(bed: Testbed) -> list[dict[str, Any]]:
    """The requests that its provider has received."""
    listed: list[dict[str, Any]] = httpx.get(f"{bed.provider}/scripted/requests", timeout=PATIENCE).json()
    return listed


def test_every_check_passes(to_bed: Testbed, run: Run) -> None:
    seen = len(requests_to(to_bed))
    out = succeeded(run, "doctor")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", check] for check in CHECKS]
    assert "openai lists 1 model" in lines[-1]
    # No model was asked: the sealed round trip ends at the bridge, and the provider gives a list.
    asked = requests_to(to_bed)[seen:]
    assert [(each["method"], each["path"]) for each in asked] == [("GET", "/v1/models")]


def test_no_configuration_is_wrong_input(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BLINDRELAY_CONNECTION", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    failed = examined(run, code=2)
    assert (failed["check"], "blindrelay init" in failed["remedy"]) == ("configuration", True)


def test_broken_connection_strings_fail_their_check(bridge: ScriptedBridge, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "not-a-history"
    file.write_text("{")
    file.chmod(0o600)
    here, pinned = f"127.0.0.1:{bridge.port}", format_identity(bridge.identity.public_key)
    expect(run, f"{bridge.connection}&history={file}", "history", "not-a-history")
    expect(run, f"blindrelay://relay.invalid?bridge={PIN}", "name", "relay.invalid")
    expect(run, bridge.connection.replace("&tls=off", ""), "tls", "no TLS")
    expect(run, f"blindrelay://{here}?bridge={PIN}&ca={file}", "tls", "has no certificates in PEM")
    expect(run, bridge.connection.replace("brt_", "brt_x"), "token", "does not know this access token")
    wrong_pin = bridge.connection.replace(pinned, PIN)
    for identity in (PIN, pinned):
        expect(run, wrong_pin, "identity", identity, "not the relay's")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        closed = f"blindrelay://127.0.0.1:{held.getsockname()[1]}?bridge={PIN}&tls=off"
        expect(run, closed, "tcp", "Connection refused")


Breaks = Callable[[ScriptedBridge], None]


def no_directory(bridge: ScriptedBridge) -> None:
    bridge.substitute = lambda response: response.ClearField("directories")


def too_many_directories(bridge: ScriptedBridge) -> None:
    def many(response: GetKeyDirectoryResponse) -> None:
        response.directories.extend([response.directories[0]] * MAX_DIRECTORIES)

    bridge.substitute = many


def clock_off(seconds: int) -> Breaks:
    return lambda bridge: setattr(bridge, "clock_offset", seconds)


def hiding(bridge: ScriptedBridge) -> None:
    bridge.refuse_directories = OuterStatus.BRIDGE_UNAVAILABLE


def refusing(status: OuterStatus) -> Breaks:
    return lambda bridge: setattr(bridge, "refuse", status)


@pytest.mark.parametrize(
    ("breaks", "check", "detail", "remedy"),
    [
        (no_directory, "directory", "no key directory", "no bridge is up"),
        (too_many_directories, "identity", "more key directories than the protocol allows", ""),
        (clock_off(7_290), "clock", "clock is 2 h 1 min behind the bridge's newest signature", ""),
        (clock_off(-7_290), "clock", "clock is 2 h 1 min ahead of the bridge's newest signature", ""),
        (clock_off(-370), "clock", "6 min", ""),
        (refusing(OuterStatus.REFUSED), "seal", "refused", ""),
        (refusing(OuterStatus.BRIDGE_UNAVAILABLE), "seal", "", "no bridge is up"),
        (hiding, "directory", "", "no bridge is up"),
        (lambda bridge: None, "seal", "called an address that does not exist", ""),  # it answers everything
    ],
)
def test_faults_of_relay_and_bridge_fail_their_check(
    breaks: Breaks, check: str, detail: str, remedy: str, bridge: ScriptedBridge, run: Run
) -> None:
    breaks(bridge)
    expect(run, bridge.connection, check, detail, remedy)


def but_not_served(url: str, provider: Response) -> Response:
    """The bridge does not serve URLs with this text, and sends others to the provider."""

    async def answer(received: Received, respond: Responder) -> None:
        await (NOT_SERVED if url in received.head.url else provider)(received, respond)

    return answer


KEY_REFUSED = responding(401, b'{"error": {"message": "Incorrect API key provided"}}')


@pytest.mark.parametrize(
    ("provider", "detail", "remedy"),
    [
        (KEY_REFUSED, "answered 401: Incorrect API key provided", "refuses the key"),
        (UNREACHABLE, "silence", "cannot reach its provider"),
        (NOT_SERVED, "not served", "--origin"),
    ],
)
def test_provider_failures_are_explained(
    provider: Response, detail: str, remedy: str, bridge: ScriptedBridge, run: Run
) -> None:
    bridge.answer = but_not_served("doctor.invalid", provider)
    expect(run, bridge.connection, "provider", detail, remedy)


def test_provider_of_the_bridge_is_found(to_bridge: ScriptedBridge, run: Run) -> None:
    anthropic = responding(200, b'{"data": [{"id": "one"}, {"id": "two"}]}')
    to_bridge.answer = but_not_served("doctor.invalid", but_not_served("openai", anthropic))
    code, out, _ = run("doctor")
    assert (code, "anthropic lists 2 models" in out) == (0, True)


def test_missing_key_is_explained(bridge: ScriptedBridge, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    brought = bridge.connection + "&credentials=brought"
    expect(run, brought, "seal", "set OPENAI_API_KEY", "credentials=brought")


def test_failure_has_a_remedy(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.token = "brt_other"
    code, out, err = run("doctor")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    place = CHECKS.index("token")
    assert lines[place].split(maxsplit=2)[:2] == ["FAILED", "token"]
    assert lines[place + 1].strip().startswith("→ ask the relay's operator for a token")
    skipped = [line.split() for line in lines[place + 2 :]]
    assert skipped == [["skipped", each] for each in CHECKS[place + 1 :]]


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """A server that only shakes hands; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    taken, _ = listening.accept()
                    taken.settimeout(PATIENCE)
                    with taken, suppress(OSError):
                        context.wrap_socket(taken, server_side=True).close()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        server.join(PATIENCE)


def issue(authority: trustme.CA, name: str = "127.0.0.1", days: int = 1) -> trustme.LeafCert:
    """A certificate for this name that ends in so many days."""
    ends = datetime.now(UTC) + timedelta(days=days)
    return authority.issue_cert(name, not_before=ends - timedelta(days=9), not_after=ends)


CA = trustme.CA()


@pytest.mark.parametrize(
    ("certificate", "protocol", "check", "detail"),
    [
        (issue(trustme.CA()), "h2", "tls", "unable to get local issuer certificate"),
        (issue(CA, "relay.example"), "h2", "tls", "IP address mismatch"),
        (issue(CA, days=-1), "h2", "tls", "certificate has expired"),
        (issue(CA), "http/1.1", "tls", "HTTP/2"),
        (issue(CA), "h2", "token", "no connection to the relay"),
    ],
)
def test_tls_handshake_is_checked(
    certificate: trustme.LeafCert, protocol: str, check: str, detail: str, run: Run, tmp_path: Path
) -> None:
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols([protocol])
    with tls_server(context) as port:
        relay = f"blindrelay://127.0.0.1:{port}?bridge={PIN}"
        expect(run, f"{relay}&ca={tmp_path / 'ca.pem'}", check, detail)
        expect(run, relay, "tls", "")  # by gRPC's own roots
