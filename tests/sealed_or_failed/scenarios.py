"""Every way in which an exchange can fail, each with canaries in it; and some who leak, to be seen."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

import h2.connection
import httpx
import httpx2
from openai import OpenAI

from blindrelay.client import BlindRelayError, SealedTransport
from blindrelay.client.portal import Portal
from blindrelay.sealing import IdentityKey, format_identity
from blindrelay.testbed.attacks.alterations import at, cut_after, flip
from blindrelay.testbed.attacks.relay import Hook, HostileRelay
from blindrelay.testbed.processes import PartProcess

from .canaries import Canaries
from .world import OUTSIDE, Scenario, World

_ORIGIN: Final = "https://api.openai.com"
_SHORT: Final = 3.0
"""Seconds: nothing here is worth waiting for."""

_PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY", "WS_PROXY")


def _requests(canaries: Canaries) -> Iterator[dict[str, Any]]:
    """An exchange's content in every place that it can have."""
    headers = {"authorization": f"Bearer {canaries.key}", "openai-beta": canaries.header}
    yield {
        "method": "POST",
        "url": f"{_ORIGIN}/v1/chat/completions?after={canaries.query}",
        "headers": headers,
        "json": {"model": canaries.model, "messages": [{"role": "user", "content": canaries.body}]},
    }
    yield {"method": "GET", "url": f"{_ORIGIN}/v1/models/{canaries.path}", "headers": headers}
    yield {
        "method": "POST",
        "url": f"{_ORIGIN}/v1/audio/transcriptions",
        "headers": headers,
        "files": {"file": (canaries.file_name, canaries.body.encode() * 10)},
        "data": {"model": canaries.model},
    }


def _said(send: Callable[..., Any], canaries: Canaries) -> str:
    """Sends all of them; how the last one ended."""
    said = ""
    for request in _requests(canaries):
        try:
            answer = send(**request)
            said = answer.headers.get("x-blindrelay-error", str(answer.status_code))
        except (httpx.HTTPError, httpx2.HTTPError, BlindRelayError) as error:
            said = getattr(error, "kind", type(error).__name__)
    return said


def _through(connection: str, canaries: Canaries) -> str:
    """With the library, synchronously and asynchronously."""
    with SealedTransport(connection) as sealed:
        with sealed.httpx2_client(timeout=_SHORT) as client:
            said = _said(client.request, canaries)

        async def asynchronously() -> None:
            async with sealed.async_httpx_client(timeout=_SHORT) as client:
                for request in _requests(canaries):
                    try:
                        await client.request(**request)
                    except (httpx.HTTPError, BlindRelayError):
                        continue

        asyncio.run(asynchronously())
    return said


def _with(connection: Callable[[World], str]) -> Scenario:
    """With the program's own key, which is then content too."""
    return lambda world, canaries: _through(f"{connection(world)}&credentials=brought", canaries)


def _another_pin(world: World) -> str:
    return world.bed.relay.replace(world.bed.identity, format_identity(IdentityKey.generate().public_key))


def _with_tls(world: World) -> str:
    return world.bed.relay.replace("tls=off", "tls=on")


def _at_a_name(world: World) -> str:
    return _with_tls(world).replace("127.0.0.1", "relay.invalid")


def _hostile(hook: Callable[[], Hook]) -> Scenario:
    """Through a relay that does what it likes."""

    def scenario(world: World, canaries: Canaries) -> str:
        with _hostile_relay(world, hook()) as connection:
            return _through(connection, canaries)

    return scenario


@contextmanager
def _hostile_relay(world: World, hook: Hook) -> Iterator[str]:
    portal = Portal()
    relay = portal.call(_made(world, hook))
    running = relay.running()
    address = portal.call(running.__aenter__())
    world.known.add(address.port)
    try:
        yield world.bed.connection(str(address))
    finally:
        portal.call(running.__aexit__(None, None, None))
        portal.close()


async def _made(world: World, hook: Hook) -> HostileRelay:
    return HostileRelay([world.bed.direct.partition("@")[2].partition("?")[0]], hook)


def _proxies_in_the_environment(world: World, canaries: Canaries) -> str:
    names = {each: world.sink.proxy for name in _PROXY_VARIABLES for each in (name, name.lower())}
    with patch.dict(os.environ, names):
        return _through(world.bed.relay, canaries)


def _base_urls_in_the_environment(world: World, canaries: Canaries) -> str:
    """An SDK with our client and somebody else's base URL: sealed, and refused by the bridge."""
    with (
        patch.dict(os.environ, {"OPENAI_BASE_URL": f"http://{OUTSIDE}/v1"}),
        SealedTransport(world.bed.relay) as sealed,
        OpenAI(api_key=canaries.key, http_client=sealed.httpx2_client(), max_retries=0) as client,
    ):
        try:
            client.chat.completions.create(
                model=canaries.model, messages=[{"role": "user", "content": canaries.body}]
            )
        except Exception as error:
            return type(error).__name__
    return "answered"


def _too_large(world: World, canaries: Canaries) -> str:
    with SealedTransport(world.bed.relay) as sealed, sealed.httpx_client(timeout=60) as client:
        body = json.dumps({"model": canaries.model, "input": canaries.body * 4_000}).encode()
        headers = {"content-type": "application/json"}
        answer = client.post(f"{_ORIGIN}/v1/embeddings", content=body, headers=headers)
    return str(answer.headers["x-blindrelay-error"])


def _left_in_mid_stream(world: World, canaries: Canaries) -> str:
    with SealedTransport(world.bed.relay) as sealed, sealed.httpx_client(timeout=_SHORT) as client:
        body = {
            "model": canaries.model,
            "stream": True,
            "messages": [{"role": "user", "content": canaries.body}],
        }
        with client.stream("POST", f"{_ORIGIN}/v1/chat/completions", json=body) as answer:
            next(answer.iter_raw())
    return "left"


def _bridge_gone(world: World, canaries: Canaries) -> str:
    world.bed.stop("bridge")
    try:
        return _through(world.bed.relay, canaries)
    finally:
        world.bed.start("bridge")
        world.bed.wait_until_ready()


def _relay_gone(world: World, canaries: Canaries) -> str:
    world.bed.stop("relay")
    try:
        return _through(world.bed.relay, canaries)
    finally:
        world.bed.start("relay")
        world.bed.wait_until_ready()


def _redirected(world: World, canaries: Canaries) -> str:
    """The provider sends the client to itself in clear, outside."""
    script = {"scripted": {"status": 307, "headers": {"location": f"http://{OUTSIDE}/v1/x"}}}
    with SealedTransport(world.bed.relay) as sealed, sealed.httpx_client(timeout=_SHORT) as client:
        body = {"model": canaries.model, "messages": [{"role": "user", "content": canaries.body}], **script}
        answer = client.post(f"{_ORIGIN}/v1/chat/completions", json=body)
    return str(answer.headers.get("x-blindrelay-error", answer.status_code))


def _through_the_endpoint(connection: Callable[[World], str]) -> Scenario:
    """`blindrelay proxy` before a relay that fails; what a program says to it is in clear by nature."""

    def scenario(world: World, canaries: Canaries) -> str:
        state = world.folder / "endpoint"

        def command() -> list[str]:
            return ["proxy", "--port", "0", "--json", "--relay", connection(world)]

        proxies = dict.fromkeys(_PROXY_VARIABLES, world.sink.proxy)
        part = PartProcess(
            "endpoint", "blindrelay.client", command, {"BLINDRELAY_STATE": str(state), **proxies}
        )
        part.start()
        world.own.add(int(part.announcement["url"].rpartition(":")[2]))
        token = (state / "endpoint-token").read_text().strip()
        try:
            with httpx.Client(trust_env=False, timeout=20, headers={"x-blindrelay-token": token}) as client:

                def send(*, url: str, **options: Any) -> Any:
                    return client.request(url=url.replace(_ORIGIN, part.announcement["url"]), **options)

                return _said(send, canaries)
        finally:
            part.stop()

    return scenario


_PROGRAM: Final = """
import os, sys
from openai import OpenAI
print(os.environ["OPENAI_BASE_URL"], flush=True)
for base in (None, "https://api.openai.com/v1", "http://api.openai.com/v1"):
    try:
        OpenAI(base_url=base, max_retries=0, timeout=5).chat.completions.create(
            model=sys.argv[1], messages=[{"role": "user", "content": sys.argv[2]}])
    except Exception as error:
        print(type(error).__name__, flush=True)
    else:
        print("answered", flush=True)
"""


def _run(connection: Callable[[World], str]) -> Scenario:
    """`blindrelay run` with a program that goes to the endpoint, and then past it."""

    def scenario(world: World, canaries: Canaries) -> str:
        program = world.folder / "program.py"
        program.write_text(_PROGRAM)
        port = _free_port()
        world.own.add(port)
        command = [
            *(sys.executable, "-m", "blindrelay.client", "run", "--port", str(port)),
            *("--relay", connection(world), "--"),
            *(sys.executable, str(program), canaries.model, canaries.body),
        ]
        environment = {**os.environ, "BLINDRELAY_STATE": str(world.folder), "OPENAI_API_KEY": canaries.key}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        return " ".join(done.stdout.split()[1:]) or done.stderr

    return scenario


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _well(world: World, canaries: Canaries) -> str:
    return _through(world.bed.relay, canaries)


def in_clear(_: World, canaries: Canaries) -> str:
    """A client as most are: the positive control."""
    with httpx.Client(trust_env=False, timeout=_SHORT) as client:
        return _said(lambda url, **more: client.request(url=url.replace("https", "http"), **more), canaries)


def in_clear_through_a_proxy(world: World, canaries: Canaries) -> str:
    """A client that believes its environment."""
    with httpx.Client(proxy=world.sink.proxy, timeout=_SHORT) as client:
        return _said(lambda url, **more: client.request(url=url.replace("https", "http"), **more), canaries)


def in_compressed_headers(_: World, canaries: Canaries) -> str:
    """HTTP/2's header compression hides letters from whoever does not know it."""
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    headers = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "x")]
    connection.send_headers(1, [*headers, *((f"x-{kind}", word) for kind, word in canaries.items())])
    with socket.create_connection((OUTSIDE, 80)) as stream:
        stream.sendall(connection.data_to_send())
    return "sent"


def in_a_name(_: World, canaries: Canaries) -> str:
    """Names are asked for in clear."""
    for _kind, word in canaries.items():
        try:
            socket.getaddrinfo(f"{word}.example", 443)
        except OSError:
            continue
    return "asked"


CONTROLS: Final[dict[str, Scenario]] = {
    "in clear": in_clear,
    "in clear through a proxy": in_clear_through_a_proxy,
    "in compressed headers": in_compressed_headers,
    "in a name": in_a_name,
}
"""They leak everything."""

FAILURES: Final[dict[str, Scenario]] = {
    "the relay is down": _relay_gone,
    "the bridge is gone": _bridge_gone,
    "nothing listens there": _with(lambda world: world.bed.connection("127.0.0.1:1")),
    "the pin is wrong": _with(_another_pin),
    "the token is wrong": _with(lambda world: world.bed.relay.replace(world.bed.token, "brt_wrong")),
    "the relay has no TLS": _with(_with_tls),
    "the relay's name is not resolved": _with(_at_a_name),
    "no directories": _hostile(lambda: Hook(directories=lambda _: [])),
    "no directory at all": _hostile(lambda: Hook(directories=lambda _: b"\xff nonsense")),
    "a forged directory": _hostile(lambda: Hook(directories=_forged)),
    "an altered envelope": _hostile(lambda: Hook(envelopes=lambda envelope: [envelope[:-1] + b"\x01"])),
    "an altered request": _hostile(lambda: Hook(up=flip(0, -1))),
    "an altered answer": _hostile(lambda: Hook(down=flip(0, -1))),
    "a cut answer": _hostile(lambda: Hook(down=cut_after(0))),
    "an answer in clear": _hostile(lambda: Hook(down=at(0, lambda _: [b'{"choices": []}']))),
    "proxies in the environment": _proxies_in_the_environment,
    "base URLs in the environment": _base_urls_in_the_environment,
    "too large": _too_large,
    "left in mid-stream": _left_in_mid_stream,
    "redirected into the open": _redirected,
    "the endpoint before a relay that is down": _through_the_endpoint(
        lambda world: world.bed.connection("127.0.0.1:1")
    ),
    "the endpoint with a wrong pin": _through_the_endpoint(_another_pin),
    "the endpoint with a name that is not resolved": _through_the_endpoint(_at_a_name),
    "the endpoint, and all is well": _through_the_endpoint(lambda world: world.bed.relay),
    "a program that is run before a relay that is down": _run(
        lambda world: world.bed.connection("127.0.0.1:1")
    ),
    "a program that is run, and all is well": _run(lambda world: world.bed.relay),
    "all is well": _well,
    "all is well with a key of one's own": _with(lambda world: world.bed.relay),
}
"""They leak nothing, and speak to nobody but the relay."""

SCENARIOS: Final = {**CONTROLS, **FAILURES}


def _forged(directories: list[Any]) -> list[Any]:
    for signed in directories:
        signed.directory = signed.directory[:-1] + bytes([signed.directory[-1] ^ 1])
    return directories
