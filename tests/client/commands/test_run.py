"""`blindrelay run`: a program that can only leave sealed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blindrelay.testbed import Testbed

from ..conftest import ScriptedBridge
from .conftest import PATIENCE, Run, command, streaming, terminal

URLS = {
    "OPENAI_BASE_URL": "/openai/v1",
    "OPENAI_API_BASE": "/openai/v1",
    "ANTHROPIC_BASE_URL": "/anthropic",
    "ANTHROPIC_API_BASE": "/anthropic",
    "GOOGLE_GEMINI_BASE_URL": "/gemini",
    "GEMINI_API_BASE": "/gemini",
    "MISTRAL_BASE_URL": "/mistral",
    "MISTRAL_API_BASE": "/mistral/v1",
    "MISTRAL_AZURE_API_BASE": "/mistral/v1",
    "CO_API_URL": "/cohere",
    "COHERE_API_BASE": "/cohere/v2/chat",
}
KEYS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "MISTRAL_API_KEY",
    "MISTRAL_AZURE_API_KEY",
    "CO_API_KEY",
    "COHERE_API_KEY",
)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

PRINT_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"

ASK_OPENAI = """
import openai
answer = openai.OpenAI(max_retries=0).chat.completions.create(
    model="m", messages=[{"role": "user", "content": "What is the capital of France?"}]
)
print(answer.choices[0].message.content)
"""

ASK_ANTHROPIC = """
import anthropic
with anthropic.Anthropic(max_retries=0).messages.stream(
    model="m", max_tokens=9, messages=[{"role": "user", "content": "What is the capital of France?"}]
) as stream:
    print(stream.get_final_text())
"""

BYPASS = """
import os, urllib.request, httpx
for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
    others = {each for each in os.environ if each.upper().endswith("_PROXY") and each != name}
    others = {each: os.environ.pop(each) for each in others}
    try:
        httpx.get("https://api.openai.com/v1/models")
    except httpx.ConnectError as error:
        print(error)
    os.environ.update(others)
try:
    urllib.request.urlopen("http://api.openai.com/v1/models")
except OSError as error:
    print(error.reason)
"""


@pytest.mark.usefixtures("to_bed")
@pytest.mark.parametrize("program", [ASK_OPENAI, ASK_ANTHROPIC])
def test_an_sdk_runs_unchanged(program: str, run: Run) -> None:
    assert run("run", "--", sys.executable, "-c", program) == (0, "The capital of France is Paris.\n", "")


@pytest.mark.usefixtures("to_bed")
def test_what_would_bypass_fails_closed(run: Run) -> None:
    code, out, err = run("run", "--", sys.executable, "-c", BYPASS)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["[Errno 111] Connection refused"] * 5


def environment_of(run: Run, *options: object) -> dict[str, Any]:
    code, out, err = run("run", *options, "--", sys.executable, "-c", PRINT_ENVIRONMENT)
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_its_environment(to_bed: Testbed, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "mine")
    monkeypatch.setenv("NO_PROXY", "api.openai.com")
    monkeypatch.setenv("KEPT", "as it is")
    found = environment_of(run)
    endpoint = found["OPENAI_BASE_URL"].removesuffix("/openai/v1")
    assert endpoint.startswith("http://127.0.0.1:")
    assert {name: found[name] for name in URLS} == {name: endpoint + path for name, path in URLS.items()}
    (token,) = {found[name] for name in KEYS}
    assert token.startswith("brl_")
    assert "ANTHROPIC_AUTH_TOKEN" not in found
    (nowhere,) = {found[each] for name in PROXIES for each in (name, name.lower())}
    assert nowhere.startswith("http://127.0.0.1:")
    assert nowhere != endpoint
    assert found["NO_PROXY"] == found["no_proxy"] == "127.0.0.1,localhost,::1"
    assert found["KEPT"] == "as it is"
    assert environment_of(run)["OPENAI_API_KEY"] != token


def test_keys_of_ones_own(bridge: ScriptedBridge, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "mine")
    relay = bridge.connection + "&credentials=brought"
    found = environment_of(run, "--relay", relay)
    assert (found["OPENAI_API_KEY"], found["ANTHROPIC_AUTH_TOKEN"]) == ("sk-mine", "mine")
    assert "/brl_" in found["OPENAI_BASE_URL"]
    bridge.answer = streaming()
    lists = "import openai; openai.OpenAI(max_retries=0).models.list()"
    run("run", "--relay", relay, "--", sys.executable, "-c", lists)
    (received,) = bridge.received
    assert received.head.url == "https://api.openai.com/v1/models"
    assert received.headers[b"authorization"] == b"Bearer sk-mine"


@pytest.mark.usefixtures("to_bridge")
def test_a_port_may_be_named(run: Run) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = environment_of(run, "--port", port)
    assert found["OPENAI_BASE_URL"] == f"http://127.0.0.1:{port}/openai/v1"


@pytest.mark.usefixtures("to_bridge")
@pytest.mark.parametrize(
    ("program", "code"),
    [
        (["true"], 0),
        (["false"], 1),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["sh", "-c", "test $1 = --port", "sh", "--port"], 0),
    ],
)
def test_the_exit_code_is_the_programs(program: list[str], code: int, run: Run) -> None:
    assert run("run", "--", *program) == (code, "", "")
    assert run("run", *program) == (code, "", "")


@pytest.mark.usefixtures("to_bridge")
def test_what_cannot_be_run(run: Run, tmp_path: Path) -> None:
    assert run("run", "--", "no-such-program") == (127, "", "blindrelay: no-such-program: not found\n")
    file = tmp_path / "file"
    file.write_text("")
    assert run("run", "--", file) == (126, "", f"blindrelay: {file}: Permission denied\n")


def test_wrong_input_is_2(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BLINDRELAY_CONNECTION", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for arguments, message in [
        ((), "Missing argument 'CMD...'"),
        (("--prot", "1", "true"), "No such option"),
        (("--", "true"), "no relay is configured"),
    ]:
        code, out, err = run("run", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err


SLEEPER = """
import signal, sys

def got(number, _):
    print("got", number, flush=True)
    if "once" not in sys.argv:
        sys.exit(7)

for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
    signal.signal(getattr(signal, name), got)
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def sleeper(to_bridge: ScriptedBridge) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = command("run", "--", sys.executable, "-c", SLEEPER)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_signals_are_handed_on(name: str, sleeper: Callable[[], subprocess.Popen[bytes]]) -> None:
    number = getattr(signal, name)
    process = sleeper()
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (7, b"got %d\n" % number, b"")


@pytest.mark.usefixtures("to_bridge")
def test_a_terminals_ctrl_c_comes_once() -> None:
    with terminal("run", "--", sys.executable, "-c", SLEEPER, "once") as person:
        person.wait_for("ready")
        (child,) = children(person.process.pid)
        person.type("\x03")
        person.wait_for("got 2")
        person.process.send_signal(signal.SIGTERM)
        person.wait_for("got 15")
        os.kill(child, signal.SIGKILL)
        assert person.end() == 128 + signal.SIGKILL
    assert person.shown.count("got 2") == 1


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
