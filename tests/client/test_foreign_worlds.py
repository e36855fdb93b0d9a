"""The client outside asyncio's main thread: it works, or says at once why it cannot."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from .conftest import Received, Responder, ScriptedBridge, head

URL = "https://api.openai.com/v1/chat/completions"

PROLOGUE = """
import asyncio, atexit, os, signal, sys, threading, time
from blindrelay.client import BlindRelayError, ForkError, SealedTransport, UnsupportedRuntimeError
CONNECTION, URL = sys.argv[1:]
STALLING = URL + "/stalling"
def status_from(client):
    response = client.post(URL, json={})
    return response.headers.get("x-blindrelay-error", response.status_code)
def status():
    with SealedTransport(CONNECTION).httpx2_client() as client:
        return status_from(client)
async def async_status():
    async with SealedTransport(CONNECTION).async_httpx2_client() as client:
        return (await client.post(URL, json={})).status_code
"""

THREAD_AFTER_MAIN = """
def work():
    threading.main_thread().join()
    print([status() for _ in range(3)], asyncio.run(async_status()))
threading.Thread(target=work).start()
"""

STARTED_CLIENT_AFTER_MAIN = """
client = SealedTransport(CONNECTION).httpx2_client()
print(status_from(client))
def work():
    threading.main_thread().join()
    print(status_from(client), asyncio.run(async_status()))
threading.Thread(target=work).start()
"""

EXIT_HANDLER = """
client = SealedTransport(CONNECTION).httpx2_client()
print(status_from(client))
atexit.register(lambda: print(status_from(client), status()))
"""

EARLY_EXIT_HANDLER = (
    """
import atexit
atexit.register(lambda: print(status()))
"""
    + PROLOGUE
    + """
print(status())
"""
)

DAEMON_THREAD = """
thread = threading.Thread(target=lambda: print(status()), daemon=True)
thread.start()
thread.join()
"""

SIGNAL_HANDLER = """
client = SealedTransport(CONNECTION).httpx2_client()
signal.signal(signal.SIGALRM, lambda *_: print(status_from(client)))
print(status_from(client))
signal.raise_signal(signal.SIGALRM)
"""

SYNCHRONOUS_IN_A_RUNNING_LOOP = """
async def cell():
    print(status())
asyncio.run(cell())
"""

UVLOOP = """
import uvloop
print(uvloop.run(async_status()))
"""

NEST_ASYNCIO = """
import nest_asyncio
nest_asyncio.apply()
async def cell():
    print(asyncio.get_running_loop().run_until_complete(async_status()))
asyncio.run(cell())
"""

TRIO = """
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
"""

TRIO_CANCELLED = """
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
"""

TRIO_ON_ASYNCIO = """
import trio
async def main():
    loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
    trio.lowlevel.start_guest_run(
        async_status, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result)
    print((await done).unwrap())
asyncio.run(main())
"""

FORKED = """
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
"""

FORK_BEFORE_THE_FIRST_EXCHANGE = (
    FORKED
    + """
client = SealedTransport(CONNECTION).httpx2_client()
print(*[in_child(lambda: status_from(client)) for _ in range(3)])
"""
)

FORK_OF_IDLE_CLIENTS = (
    FORKED
    + """
client = SealedTransport(CONNECTION).httpx2_client()
kept = client.post(URL, json={})
print(in_child(status), in_child(lambda: status_from(client)), in_child(lambda: asyncio.run(async_status())))
print(status_from(client), in_child(lambda: in_child(status)))
"""
)

FORK_OF_AN_ENDED_LOOP = (
    FORKED
    + """
client = SealedTransport(CONNECTION).async_httpx2_client()
async def once():
    return (await client.post(URL, json={})).status_code
print(asyncio.run(once()))
print(in_child(status), in_child(lambda: asyncio.run(once())))
"""
)

FORK_IN_AN_EXCHANGE = (
    FORKED
    + """
client = SealedTransport(CONNECTION).httpx2_client()
with client.stream("POST", STALLING, json={}):
    print(in_child(status), in_child(lambda: status_from(client)), in_child(lambda: in_child(status)))
    print(status_from(client))
print(in_child(status))
"""
)

FORK_IN_A_RUNNING_LOOP = (
    FORKED
    + """
async def main():
    async with SealedTransport(CONNECTION).async_httpx2_client() as client:
        await client.post(URL, json={})
        print(in_child(status))
        print((await client.post(URL, json={})).status_code)
asyncio.run(main())
"""
)

POOL = """
import multiprocessing
def work(_):
    return status()
with SealedTransport(CONNECTION).httpx2_client() as client:
    with client.stream("POST", STALLING, json={}):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            try:
                pool.map(work, range(4))
            except ForkError as error:
                print(type(error).__name__)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, range(4)))
"""

PATCHED = """
try:
    SealedTransport(CONNECTION)
except UnsupportedRuntimeError as error:
    print(str(error).partition(":")[0])
"""

GEVENT = "from gevent import monkey; monkey.patch_all()" + PROLOGUE + PATCHED

EVENTLET = (
    "import os; os.environ['EVENTLET_NO_GREENDNS'] = 'yes'; import eventlet; eventlet.monkey_patch()"
    + PROLOGUE
    + PATCHED
)

GEVENT_AFTER_THE_TRANSPORT = """
client = SealedTransport(CONNECTION).httpx2_client()
from gevent import monkey
monkey.patch_all()
print(status_from(client))
"""

WHERE = [
    ("a thread after main", PROLOGUE + THREAD_AFTER_MAIN, "[200, 200, 200] 200"),
    ("a thread after main, begun before", PROLOGUE + STARTED_CLIENT_AFTER_MAIN, "200 200 200"),
    ("an exit handler", PROLOGUE + EXIT_HANDLER, "200 200 200"),
    ("the last exit handler", EARLY_EXIT_HANDLER, "200 200"),
    ("a daemon thread", PROLOGUE + DAEMON_THREAD, "200"),
    ("a signal handler", PROLOGUE + SIGNAL_HANDLER, "200 200"),
    ("a notebook", PROLOGUE + SYNCHRONOUS_IN_A_RUNNING_LOOP, "200"),
    ("uvloop", PROLOGUE + UVLOOP, "200"),
    ("nest_asyncio", PROLOGUE + NEST_ASYNCIO, "200"),
    ("trio", PROLOGUE + TRIO, "200 {}"),
    ("a cancelled trio task", PROLOGUE + TRIO_CANCELLED, "True 200 True 200"),
    ("trio as a guest of asyncio", PROLOGUE + TRIO_ON_ASYNCIO, "200"),
    ("a fork before the first exchange", PROLOGUE + FORK_BEFORE_THE_FIRST_EXCHANGE, "200 200 200"),
    ("a fork of idle clients", PROLOGUE + FORK_OF_IDLE_CLIENTS, "200 200 200 200 200"),
    ("a fork after a loop", PROLOGUE + FORK_OF_AN_ENDED_LOOP, "200 200 200"),
    ("a fork in an exchange", PROLOGUE + FORK_IN_AN_EXCHANGE, "ForkError client/fork ForkError 200 200"),
    ("a fork in a running loop", PROLOGUE + FORK_IN_A_RUNNING_LOOP, "ForkError 200"),
    ("a process pool", PROLOGUE + POOL, "ForkError [200, 200, 200, 200]"),
    ("gevent", GEVENT, "BlindRelay cannot run under gevent"),
    ("gevent, too late", PROLOGUE + GEVENT_AFTER_THE_TRANSPORT, "client/unsupported_runtime"),
    ("eventlet", EVENTLET, "BlindRelay cannot run under eventlet"),
]


@pytest.fixture
def stalling_bridge(bridge: ScriptedBridge) -> ScriptedBridge:
    """A bridge that never ends its response to a request for /stalling."""

    async def answer(received: Received, respond: Responder) -> None:
        if not received.head.url.endswith("/stalling"):
            await respond.whole()
            return
        await respond.send(head=head())
        await asyncio.Event().wait()

    bridge.answer = answer
    return bridge


@pytest.mark.parametrize(("program", "printed"), [pytest.param(*each[1:], id=each[0]) for each in WHERE])
def test_works_or_says_why_not(program: str, printed: str, stalling_bridge: ScriptedBridge) -> None:
    arguments = [sys.executable, "-X", "dev", "-c", program, stalling_bridge.connection, URL]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=100, check=False)
    assert (" ".join(done.stdout.split()), done.returncode) == (printed, 0), done.stderr
    assert "BlindRelay" not in done.stderr
