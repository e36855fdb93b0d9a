"""Other programs that forward gRPC, each as one process, set up to do no more than our relay must."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from bench.chain import Chain
from bench.programs import ENVOY, NGINX
from blindrelay.testbed.ports import free_address

_STREAMS: Final = 10_000
_EXTENSIONS: Final = "type.googleapis.com/envoy.extensions"


def start_envoy(chain: Chain, name: str, behind: str) -> str:
    """Envoy with one worker thread. Its address. Raises UnavailableError."""
    binary = ENVOY.path()
    address = free_address()
    config = chain.folder / "envoy.json"
    config.write_text(json.dumps(_envoy_config(address, behind)))
    command = [binary, "-c", config, "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
    chain.program(name, command, address)
    return address


def start_controlled_envoy(chain: Chain, name: str, control: str, behind: str) -> str:
    """Envoy as `blindrelay-relay envoy` configures it, its control process, and a double of its ledger.

    Its address. Raises UnavailableError.
    """
    binary = ENVOY.path()
    address = free_address()
    config = chain.control(address, behind, control)
    options = ("--concurrency", "1", "--log-level", "error", "--disable-hot-restart")
    flush = ("--file-flush-interval-msec", "100")
    chain.program(name, [binary, "-c", config, *flush, *options], address, relays=True)
    return address


def start_nginx(chain: Chain, name: str, behind: str) -> str:
    """nginx's grpc_pass in a single process. Its address. Raises UnavailableError."""
    binary = NGINX.path()
    address = free_address()
    config = chain.folder / "nginx.conf"
    config.write_text(_nginx_config(chain.folder, address, behind))
    chain.program(name, [binary, "-c", config, "-e", "stderr"], address)
    return address


def _envoy_config(address: str, behind: str) -> dict[str, Any]:
    listener = {
        "address": _socket_address(address),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": _connection_manager()}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(behind)]}}


def _connection_manager() -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "bridge", "timeout": "0s"}}
    router = {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    return {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "codec_type": "HTTP2",
        "http2_protocol_options": {"max_concurrent_streams": _STREAMS},
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }


def _cluster(behind: str) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _socket_address(behind)}}
    most = {"max_requests": _STREAMS, "max_pending_requests": _STREAMS, "max_connections": 1_000}
    options = f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions"
    http2 = {"http2_protocol_options": {"max_concurrent_streams": _STREAMS}}
    return {
        "name": "bridge",
        "connect_timeout": "5s",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "bridge", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {"thresholds": [most]},
        "typed_extension_protocol_options": {
            options.partition("/")[2]: {"@type": options, "explicit_http_config": http2}
        },
    }


def _socket_address(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _nginx_config(folder: Path, address: str, behind: str) -> str:
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off;
master_process off;
pid {folder}/nginx.pid;
{"user root;" if os.getuid() == 0 else ""}
events {{ worker_connections 20000; }}
http {{
    access_log off;
    {temporary}
    upstream bridge {{ server {behind}; keepalive 64; }}
    server {{
        listen {address} http2;
        http2_max_concurrent_streams 1000;
        keepalive_requests 100000000;
        client_max_body_size 0;
        location / {{
            grpc_pass grpc://bridge;
            grpc_read_timeout 1h;
            grpc_send_timeout 1h;
        }}
    }}
}}
"""
