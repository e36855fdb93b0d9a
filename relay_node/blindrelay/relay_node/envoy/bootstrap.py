"""envoy.yaml, from its commented template."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from string import Template
from textwrap import indent
from typing import Any, Final

from blindrelay.relay_node.config import EnvoyConfig, RelayConfig
from blindrelay.relay_node.envoy.folder import EnvoyFolder
from blindrelay.relay_node.envoy.secrets import OF_CLIENTS, authorities_of, certificate_of
from blindrelay.serving import ServerTls
from blindrelay.v1.envelope import METADATA_KEY, ROUTING_KEY
from blindrelay.v1.grpc_profile import AUTHORIZATION_KEY, RETRY_AFTER_KEY

KEPT_HEADERS: Final = (
    *(":authority", ":method", ":path", ":scheme", "content-type", "te", "user-agent", "x-forwarded-proto"),
    *("grpc-encoding", "grpc-timeout"),
    *(AUTHORIZATION_KEY, METADATA_KEY, ROUTING_KEY, "blindrelay-token-digest-bin"),
)
"""What Envoy keeps of a client's headers. The route removes more of them before a bridge sees the rest."""

KEPT_ANSWERS: Final = (
    *(":status", "content-type", "date", "grpc-encoding", "grpc-message", "grpc-status"),
    RETRY_AFTER_KEY,
)
"""What Envoy keeps of a bridge's or the control process's headers and trailers."""

_TEMPLATE: Final = Path(__file__).with_name("bootstrap.yaml")
_TLS_INDENT: Final = 6 * " "


def bootstrap(config: RelayConfig, envoy: EnvoyConfig, folder: EnvoyFolder) -> str:
    """The text of envoy.yaml."""
    template = Template(_TEMPLATE.read_text("utf-8"))
    return template.substitute(
        folder=folder.bootstrap.parent,
        control=folder.control,
        admin=folder.admin,
        host=config.listen.host.strip("[]"),
        port=config.listen.port,
        max_heap_bytes=envoy.max_heap_bytes,
        max_connections=envoy.max_connections,
        max_exchanges=config.max_exchanges,
        other_headers=all_but(KEPT_HEADERS),
        other_answers=all_but(KEPT_ANSWERS),
        tls="" if config.tls is None else _tls(config.tls, folder.bootstrap.parent),
    )


def all_but(names: Iterable[str]) -> str:
    """A regular expression for every name but these. RE2, which Envoy uses, has no negative look-ahead."""
    first: dict[str, list[str]] = {}
    ends = False
    for name in names:
        if name:
            first.setdefault(name[0], []).append(name[1:])
        else:
            ends = True
    others = "".join(sorted(first)).replace("-", r"\-")
    ways = [f"[^{others}].*" if others else ".+"]
    ways += [_literal(letter) + all_but(rests) for letter, rests in sorted(first.items())]
    return f"({'|'.join(ways)})" if ends else f"({'|'.join(ways)}|)"


def _literal(letter: str) -> str:
    return letter if letter.isalnum() else f"[{letter}]"


def _tls(tls: ServerTls, folder: Path) -> str:
    context: dict[str, Any] = {
        "alpn_protocols": ["h2"],
        "tls_certificate_sds_secret_configs": [certificate_of(OF_CLIENTS, folder)],
    }
    if tls.client_ca is not None:
        context["validation_context_sds_secret_config"] = authorities_of(OF_CLIENTS, folder)
    socket = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": tls.client_ca is not None,
            "common_tls_context": context,
        },
    }
    return indent(f"transport_socket: {json.dumps(socket)}", _TLS_INDENT)
