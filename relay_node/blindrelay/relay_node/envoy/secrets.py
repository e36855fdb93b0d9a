"""TLS files for Envoy, each named by a secret in a file that Envoy watches.

Envoy reads a TLS file once, unless a secret names it: then again whenever a file is moved into its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from blindrelay.relay_node.config import ReplicaConfig
from blindrelay.relay_node.envoy.routes import Resource
from blindrelay.serving import ServerTls

OF_CLIENTS: Final = "clients"
"""The name of the listener, as its secrets have it."""


def secrets(listener: ServerTls | None, replicas: Mapping[str, ReplicaConfig]) -> dict[str, Resource]:
    """All secrets by name: the certificate of each side, and the authorities that it trusts."""
    tls = {name: replica.tls for name, replica in replicas.items() if replica.tls is not None}
    made = {} if listener is None else _of(OF_CLIENTS, listener.client_ca, listener.certificate, listener.key)
    for name, each in tls.items():
        made |= _of(name, each.ca, each.certificate, each.key)
    return made


def certificate_of(name: str, folder: Path) -> Resource:
    """Where the certificate of a side with that name is found."""
    return _found(f"{name}-certificate", folder)


def authorities_of(name: str, folder: Path) -> Resource:
    """Where the authorities are found that a side with that name trusts."""
    return _found(f"{name}-authorities", folder)


def _of(name: str, ca: Path | None, certificate: Path | None, key: Path | None) -> dict[str, Resource]:
    made = {}
    if ca is not None:
        made[f"{name}-authorities"] = {"validation_context": {"trusted_ca": _file(ca)}}
    if certificate is not None and key is not None:
        pair = {"certificate_chain": _file(certificate), "private_key": _file(key)}
        made[f"{name}-certificate"] = {"tls_certificate": pair}
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    return {name: {"@type": kind, "name": name, **secret} for name, secret in made.items()}


def _file(path: Path) -> dict[str, Any]:
    return {"filename": str(path)}


def _found(secret: str, folder: Path) -> Resource:
    source = {"path": str(folder / f"{secret}.json"), "watched_directory": {"path": str(folder)}}
    return {"name": secret, "sds_config": {"resource_api_version": "V3", "path_config_source": source}}
