"""The client outside asyncio's main thread: it works, or says at once why it cannot."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from .conftest import URL, Received, Responder, ScriptedBridge, head, whole

PROLOGUE = """
import asyncio, atexit, os, signal, sys, threading, time
from blindrelay.client import BlindRelayError, ForkError, SealedTransport, UnsupportedRuntimeError
CONNECTION, URL = sys.argv[1:]
STALLING = URL + "/stalling"
def new_client():
    return SealedTransport(CONNECTION).httpx2_client()
def status_from(client):
    response = client.post(URL, json={})
    return response.headers.get("x-blindrelay-error", response.status_code)
def status():
    with new_client() as client:
        return status_from(client)
async def async_status():
    async with SealedTransport(CONNECTION).async_httpx2_client() as client:
        return (await client.post(URL, json={})).status_code
def in_child(work):
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writer, str(work()).encode())
        except BaseException as error:
            os.write(writer, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said
def refusal():
    try:
        SealedTransport(CONNECTION)
    except UnsupportedRuntimeError as error:
        return str(error).partition(":")[0]
"""

# Each begins with its name and what it prints. The prologue comes first, or where PROLOGUE stands.
WORLDS = """
# a thread after main -> [200, 200, 200] 200
def work():
    threading.main_thread().join()
    print([status() for _ in range(3)], asyncio.run(async_status()))
threading.Thread(target=work).start()

# a thread after main, begun before -> 200 200 200
client = new_client()
print(status_from(client))
def work():
    threading.main_thread().join()
    print(status_from(client), asyncio.run(async_status()))
threading.Thread(target=work).start()

# the last exit handler -> 200 200
import atexit
atexit.register(lambda: print(status()))
PROLOGUE
print(status())

# a signal handler -> 200 200
client = new_client()
signal.signal(signal.SIGALRM, lambda *_: print(status_from(client)))
print(status_from(client))
signal.raise_signal(signal.SIGALRM)

# uvloop -> 200
import uvloop
print(uvloop.run(async_status()))

# nest_asyncio -> 200
import nest_asyncio
nest_asyncio.apply()
async def cell():
    print(asyncio.get_running_loop().run_until_complete(async_status()))
asyncio.run(cell())

# trio -> 200 {}
import trio
async def both():
    print(await async_status())
    async with SealedTransport(CONNECTION).async_httpx2_client() as client:
        async def pieces():
            for _ in range(3):
                await trio.sleep(0)
                yield b"piece"
        async with client.stream("POST", URL, content=pieces()) as response:
            print((await response.aread()).decode())
trio.run(both)

# a cancelled trio task -> True 200 True 200
import blindrelay.client.relay_connection, trio
blindrelay.client.relay_connection.MAX_EXCHANGES = 1  # the next exchange needs its room
async def cancelled(between_reads):
    async with SealedTransport(CONNECTION).async_httpx2_client(timeout=10) as client:
        with trio.move_on_after(60 if between_reads else 0.2) as scope:
            async with client.stream("POST", STALLING, json={}) as response:
                if between_reads:
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
                await response.aread()
        print(scope.cancelled_caught, (await client.post(URL, json={})).status_code)
trio.run(cancelled, True)
trio.run(cancelled, False)

# trio as a guest of asyncio -> 200
import trio
async def main():
    loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
    trio.lowlevel.start_guest_run(
        async_status, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result)
    print((await done).unwrap())
asyncio.run(main())

# a fork before the first exchange -> 200 200 200
client = new_client()
print(*[in_child(lambda: status_from(client)) for _ in range(3)])

# a fork of idle clients -> 200 200 200 200 200
client = new_client()
kept = client.post(URL, json={})
print(in_child(status), in_child(lambda: status_from(client)), in_child(lambda: asyncio.run(async_status())))
print(status_from(client), in_child(lambda: in_child(status)))

# a fork after a loop -> 200 200 200
client = SealedTransport(CONNECTION).async_httpx2_client()
async def once():
    return (await client.post(URL, json={})).status_code
print(asyncio.run(once()))
print(in_child(status), in_child(lambda: asyncio.run(once())))

# a fork in an exchange -> ForkError client/fork ForkError 200 200
client = new_client()
with client.stream("POST", STALLING, json={}):
    print(in_child(status), in_child(lambda: status_from(client)), in_child(lambda: in_child(status)))
    print(status_from(client))
print(in_child(status))

# a fork in a running loop -> ForkError 200
async def main():
    async with SealedTransport(CONNECTION).async_httpx2_client() as client:
        await client.post(URL, json={})
        print(in_child(status))
        print((await client.post(URL, json={})).status_code)
asyncio.run(main())

# gevent -> BlindRelay cannot run under gevent
from gevent import monkey; monkey.patch_all()
PROLOGUE
print(refusal())

# gevent, too late -> client/unsupported_runtime
client = new_client()
from gevent import monkey; monkey.patch_all()
print(status_from(client))

# eventlet -> BlindRelay cannot run under eventlet
import os; os.environ['EVENTLET_NO_GREENDNS'] = 'yes'
import eventlet; eventlet.monkey_patch()
PROLOGUE
print(refusal())
"""


def worlds() -> list[object]:
    """The name, the program and its output of each."""
    found = []
    for text in WORLDS.split("\n# ")[1:]:
        title, _, program = text.partition("\n")
        name, _, printed = title.partition(" -> ")
        whole = program if "PROLOGUE\n" in program else f"PROLOGUE\n{program}"
        found.append(pytest.param(whole.replace("PROLOGUE\n", PROLOGUE), printed, id=name))
    return found


@pytest.fixture
def stalling_bridge(bridge: ScriptedBridge) -> ScriptedBridge:
    """A bridge that never ends its response to a request for /stalling."""

    async def answer(received: Received, respond: Responder) -> None:
        if not received.head.url.endswith("/stalling"):
            await whole(received, respond)
            return
        await respond.send(head=head())
        await asyncio.Event().wait()

    bridge.answer = answer
    return bridge


@pytest.mark.parametrize(("program", "printed"), worlds())
def test_works_or_says_why_not(program: str, printed: str, stalling_bridge: ScriptedBridge) -> None:
    arguments = [sys.executable, "-X", "dev", "-c", program, stalling_bridge.connection, URL]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=100, check=False)
    assert (" ".join(done.stdout.split()), done.returncode) == (printed, 0), done.stderr
    assert "BlindRelay" not in done.stderr
