"""The checks that relay and bridge share in `doctor`. Each prints a line, and a remedy if it failed."""

from __future__ import annotations

import errno
import json
import math
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from blindrelay.serving.address import Address
from blindrelay.serving.errors import ServingError
from blindrelay.serving.listener import bound
from blindrelay.serving.own_certificate import own_certificate
from blindrelay.serving.tls import ServerTls
from blindrelay.serving.tokens import list_tokens
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.picklable_error import PicklableError

PATIENCE: Final = 10.0
"""Seconds for one attempt to reach a peer."""

_DAY: Final = 86_400
_SOON: Final = 14 * _DAY
"""A certificate that expires within two weeks is a failure."""


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether it passed, what was found, and what to do if it failed."""

    check: str
    ok: bool
    detail: str
    remedy: str = ""


class CheckFailedError(PicklableError):
    """A check failed. `remedy` says what to do."""

    def __init__(self, detail: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.remedy = remedy


Examine = Callable[[Path], Iterable[Finding]]
"""Yields the findings for a configuration file."""


def finding(name: str, check: Callable[[], str]) -> Finding:
    """Runs a check, which returns what it found or raises CheckFailedError or ServingError."""
    try:
        return Finding(name, True, check())
    except CheckFailedError as failure:
        return Finding(name, False, str(failure), failure.remedy)
    except ServingError as error:
        return Finding(name, False, str(error))


def show(findings: Iterable[Finding], *, as_json: bool) -> bool:
    """Prints each finding when it is known, or all as one JSON line. Returns whether all checks passed."""
    shown = []
    for each in findings:
        shown.append(each)
        if not as_json:
            sys.stdout.write(f"{'ok' if each.ok else 'FAILED':<8} {each.check:<14} {each.detail}\n")
            if each.remedy:
                sys.stdout.write(f"{'':<24}→ {each.remedy}\n")
            sys.stdout.flush()
    well = all(each.ok for each in shown)
    if as_json:
        sys.stdout.write(json.dumps({"ok": well, "checks": [asdict(each) for each in shown]}) + "\n")
    return well


def listener_findings(tokens: Path | None, tls: ServerTls | None, listen: Address) -> Iterator[Finding]:
    """Checks the tokens, the certificate and the port, as far as they are configured."""
    if tokens is not None:
        yield finding("tokens", partial(check_tokens, tokens))
    if tls is not None:
        yield finding("tls", partial(check_certificate, tls))
    yield finding("listen", partial(check_port, listen, tls))


def check_tokens(path: Path) -> str:
    """Counts the tokens of the file. Raises ConfigError, CheckFailedError."""
    count = len(list_tokens(path))
    if not count:
        raise CheckFailedError(
            f"{path} has no tokens, so nobody is admitted", f"run `token issue NAME --tokens {path}`"
        )
    return f"{path} is valid (tokens: {count})"


def check_certificate(tls: ServerTls) -> str:
    """Checks how long the listener's certificate is valid. Raises ConfigError, CheckFailedError."""
    left = _seconds_left(tls)
    days = math.floor(left / _DAY)
    if left < _SOON:
        expiry = f"expires in {days} days" if left > 0 else "has expired, or is not valid yet"
        remedy = "renew the certificate: a running process loads the new files without a restart"
        raise CheckFailedError(f"{tls.certificate} {expiry}", remedy)
    return f"{tls.certificate} matches its key and is valid for {days} days"


def check_port(address: Address, tls: ServerTls | None) -> str:
    """Checks that the port is free, or used by one of our processes. Raises StartError, ConfigError."""
    try:
        bound(address).close()
    except ServingError as problem:
        taken = isinstance(problem.__cause__, OSError) and problem.__cause__.errno == errno.EADDRINUSE
        if not taken or not _is_ours(address, tls):
            raise
        return f"{address} is in use by a running relay or bridge"
    return f"{address} is free"


def _seconds_left(tls: ServerTls) -> float:
    """Seconds until the certificate expires. 0 or less if it is not valid now."""
    shown = own_certificate(tls)
    return ssl.cert_time_to_seconds(str(shown["notAfter"])) - time.time() if shown else 0.0


def _is_ours(address: Address, tls: ServerTls | None) -> bool:
    """Whether the listener has our certificate, or, without TLS, speaks our protocol."""
    here = address.from_here
    if tls is not None:
        try:
            shown = ssl.get_server_certificate((here.host, here.port), timeout=PATIENCE)
        except OSError:
            return False
        ours = ssl.PEM_cert_to_DER_cert(_first_certificate(tls.certificate))
        return ssl.PEM_cert_to_DER_cert(shown) == ours
    with grpc.insecure_channel(str(here)) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(KEY_DIRECTORY_METHOD)
        try:
            ask(b"", timeout=PATIENCE)
        except grpc.RpcError as error:
            return OuterStatus.of(error.code(), error.details()) is not None
        return True


def _first_certificate(path: Path) -> str:
    text = path.read_text("ascii")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return begin + text.partition(begin)[2].partition(end)[0] + end + "\n"
