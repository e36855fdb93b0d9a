"""The command `health`: asks the running server whether exchanges can succeed, for probes that cannot."""

from __future__ import annotations

import sys
from typing import Final, Protocol

import grpc

from blindrelay.serving.address import Address
from blindrelay.serving.files import read_bytes, read_secret
from blindrelay.serving.own_certificate import own_name
from blindrelay.serving.tls import ServerTls

PATIENCE: Final = 5.0
"""Seconds for the answer."""


class Listening(Protocol):
    """What the configurations of all servers have."""

    @property
    def listen(self) -> Address: ...

    @property
    def tls(self) -> ServerTls | None: ...


def show_health(config: Listening) -> bool:
    """Prints what the running server says. Returns whether it serves. Raises ConfigError."""
    answer = health_of(config.listen, config.tls)
    sys.stdout.write(f"{config.listen}: {answer}\n")
    return answer == "SERVING"


def health_of(listen: Address, tls: ServerTls | None) -> str:
    """What the server on this machine says: SERVING, NOT_SERVING, or the gRPC status if it does not answer.

    Raises ConfigError for an unusable certificate.
    """
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

    with _channel(listen.from_here, tls) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer = ask(HealthCheckRequest().SerializeToString(), timeout=PATIENCE)
        except grpc.RpcError as error:
            return f"no answer ({error.code().name})"
    status = HealthCheckResponse.FromString(answer).status
    return str(HealthCheckResponse.ServingStatus.Name(status))


def _channel(address: Address, tls: ServerTls | None) -> grpc.Channel:
    """Trusts the listener's own certificate alone, and shows it too where clients need one."""
    if tls is None:
        return grpc.insecure_channel(str(address))
    certificate = read_bytes(tls.certificate, "TLS certificate")
    shown = (None, None) if tls.client_ca is None else (read_secret(tls.key, "TLS key"), certificate)
    options = (("grpc.ssl_target_name_override", own_name(tls)),)
    return grpc.secure_channel(str(address), grpc.ssl_channel_credentials(certificate, *shown), options)
