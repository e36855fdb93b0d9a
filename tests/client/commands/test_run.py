"""`blindrelay run`: programs whose calls are sealed or refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blindrelay.client.commands.run import program
from blindrelay.client.commands.run.program import PlainProgram
from tests.patience import PATIENCE

from ..scripted_bridge import ScriptedBridge
from .conftest import Run, command, refused, streaming, succeeded, terminal, walls_are_allowed

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

PRINT_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"

ASK_OPENAI = """
import openai
answer = openai.OpenAI(max_retries=0).chat.completions.create(
    model="m", messages=[{"role": "user", "content": "What is the capital of France?"}]
)
print(answer.choices[0].message.content)
"""

BYPASS = """
import os, urllib.request, httpx
for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
    others = {each for each in os.environ if each.upper().endswith("_PROXY") and each != name}
    others = {each: os.environ.pop(each) for each in others}
    try:
        httpx.get("https://api.openai.com/v1/models", timeout=60)
    except httpx.ProxyError as error:
        print(error)
    os.environ.update(others)
try:
    urllib.request.urlopen("http://api.openai.com/v1/models")
except OSError as error:
    print(error.code, error.headers["x-blindrelay-error"], error.read().count(b"not sealed: api.openai.com"))
"""


@pytest.fixture(params=["--wall", "--no-wall"])
def level(request: pytest.FixtureRequest) -> str:
    """What holds the program: a wall, if this machine allows one, or only its variables."""
    if request.param == "--wall" and not walls_are_allowed():
        pytest.skip("this machine allows no network namespaces")
    return str(request.param)


@pytest.mark.usefixtures("to_bed")
def test_an_sdk_runs_unchanged(run: Run, level: str) -> None:
    paris = "The capital of France is Paris.\n"
    assert run("run", level, "--", sys.executable, "-c", ASK_OPENAI) == (0, paris, "")


@pytest.mark.usefixtures("to_bed")
def test_requests_to_the_proxy_are_refused_and_reported(run: Run, level: str) -> None:
    code, out, err = run("run", level, "--", sys.executable, "-c", BYPASS)
    assert (code, err) == (0, "blindrelay: refused because not sealed: api.openai.com (5)\n")
    assert out.splitlines() == ["403 not sealed: api.openai.com"] * 4 + ["403 endpoint/not_sealed 1"]


def environment_of(run: Run, *options: object) -> dict[str, Any]:
    out = succeeded(run, "run", "--no-wall", *options, "--", sys.executable, "-c", PRINT_ENVIRONMENT)
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.usefixtures("to_bridge")
def test_environment_points_to_the_endpoint(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay's token and a proxy's password are kept back."""
    given = {
        "OPENAI_API_KEY": "sk-mine",
        "ANTHROPIC_AUTH_TOKEN": "mine",
        "NO_PROXY": "api.openai.com",
        "KEPT": "as it is",
        "BLINDRELAY_PROXY": "http://user:password@proxy.example:3128",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = environment_of(run)
    endpoint = found["OPENAI_BASE_URL"].removesuffix("/openai/v1")
    assert endpoint.startswith("http://127.0.0.1:")
    assert found["ANTHROPIC_BASE_URL"] == endpoint + "/anthropic"
    assert found["GOOGLE_GEMINI_BASE_URL"] == endpoint + "/gemini"
    (token,) = {found[f"{name}_API_KEY"] for name in ("OPENAI", "ANTHROPIC", "GEMINI", "MISTRAL", "CO")}
    assert token.startswith("brl_")
    assert {found[each] for name in PROXIES for each in (name, name.lower())} == {endpoint}
    assert found["NO_PROXY"] == found["no_proxy"] == "127.0.0.1,localhost,::1"
    assert found["KEPT"] == "as it is"
    kept_back = {"ANTHROPIC_AUTH_TOKEN", "BLINDRELAY_CONNECTION", "BLINDRELAY_PROXY"}
    assert not kept_back & set(found)
    assert environment_of(run)["OPENAI_API_KEY"] != token


def test_all_models_of_the_bridge_are_one_base_url(to_bridge: ScriptedBridge, run: Run) -> None:
    for options in (["--provider", "models"], ["--relay", to_bridge.connection + "&provider=models"]):
        found = environment_of(run, *options)
        endpoint = found["OPENAI_BASE_URL"].removesuffix("/models/v1")
        assert endpoint.startswith("http://127.0.0.1:")
        assert found["ANTHROPIC_BASE_URL"] == endpoint + "/models/anthropic"
        assert found["GOOGLE_GEMINI_BASE_URL"] == endpoint + "/gemini"
    assert "provider is one of" in refused(run, "run", "--no-wall", "--provider", "none", "--", "true")


@pytest.mark.usefixtures("to_bridge")
@pytest.mark.parametrize("own", [{"GRPC_VERBOSITY": "ERROR", "GRPC_ENABLE_FORK_SUPPORT": "0"}, {}])
def test_grpc_settings_reach_the_program_if_they_are_the_users(
    own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("GRPC_VERBOSITY", "GRPC_ENABLE_FORK_SUPPORT")  # which the client sets for itself
    for name in names:
        monkeypatch.delenv(name, raising=False)
    program = ("run", "--no-wall", "--", sys.executable, "-c", PRINT_ENVIRONMENT)
    found = json.loads(command(*program, environment=own).communicate(timeout=PATIENCE)[0])
    assert {name: found[name] for name in names if name in found} == own


def test_own_keys_are_kept_with_brought_credentials(
    bridge: ScriptedBridge, run: Run, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "mine")
    relay = bridge.connection + "&credentials=brought"
    found = environment_of(run, "--relay", relay)
    assert (found["OPENAI_API_KEY"], found["ANTHROPIC_AUTH_TOKEN"]) == ("sk-mine", "mine")
    assert "/brl_" in found["OPENAI_BASE_URL"]
    bridge.answer = streaming()
    lists = "import openai; openai.OpenAI(max_retries=0).models.list()"
    run("run", level, "--relay", relay, "--", sys.executable, "-c", lists)
    (received,) = bridge.received
    assert received.head.url == "https://api.openai.com/v1/models"
    assert received.headers[b"authorization"] == b"Bearer sk-mine"


@pytest.mark.usefixtures("to_bridge")
@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        (["true"], 0, ""),
        (["sh", "-c", "exit 42"], 42, ""),
        (["sh", "-c", "kill -TERM $$"], 143, ""),
        (["sh", "-c", "test $1 = --port", "sh", "--port"], 0, ""),
        (["no-such-program"], 127, "blindrelay: no-such-program: not found\n"),
        (["/dev/null"], 126, "blindrelay: /dev/null: Permission denied\n"),
    ],
)
def test_exit_code_is_the_programs(program: list[str], code: int, said: str, run: Run, level: str) -> None:
    assert run("run", level, "--", *program) == (code, "", said)
    assert run("run", level, *program) == (code, "", said)


@pytest.mark.usefixtures("to_bridge")
def test_stdin_reaches_the_program(level: str) -> None:
    command_line = [sys.executable, "-m", "blindrelay.client", "run", level, "--", "cat"]
    done = subprocess.run(command_line, input=b"hello", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"")


# Blocked signals wait for sigwait(). With handlers, one that came just before pause() would not end it.
SLEEPER = """
import signal, sys
awaited = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
print("ready", flush=True)
while True:
    print("got", int(signal.sigwait(awaited)), flush=True)
    if "once" not in sys.argv:
        sys.exit(7)
"""


@pytest.mark.usefixtures("to_bridge")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_signals_are_passed_on(name: str, level: str) -> None:
    number = getattr(signal, name)
    with command("run", level, "--", sys.executable, "-c", SLEEPER) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (7, b"got %d\n" % number, b"")


@pytest.mark.usefixtures("to_bridge")
def test_ctrl_c_at_a_terminal_comes_once(level: str) -> None:
    with terminal("run", level, "--", sys.executable, "-c", SLEEPER, "once") as person:
        person.wait_for("ready")
        pid = person.process.pid
        child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        person.type("\x03")
        person.wait_for("got 2")
        person.process.send_signal(signal.SIGTERM)
        person.wait_for("got 15")
        os.kill(child, signal.SIGKILL)
        assert person.end() == 128 + signal.SIGKILL
    assert person.shown.count("got 2") == 1


@pytest.mark.usefixtures("to_bridge")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("runs", [True, False], ids=["it runs", "it does not run yet"])
def test_signal_during_the_start_is_passed_on(
    number: signal.Signals, runs: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also Ctrl-C at a terminal, which a program that does not run yet has not got."""
    started: list[subprocess.Popen[bytes]] = []
    start = PlainProgram.start

    def interrupted(self: PlainProgram) -> subprocess.Popen[bytes]:
        if not runs:
            signal.raise_signal(number)
        started.append(start(self))
        if runs:
            signal.raise_signal(number)
        return started[0]

    monkeypatch.setattr(PlainProgram, "start", interrupted)
    monkeypatch.setattr(program, "_in_foreground", lambda: True)
    try:
        assert run("run", "--no-wall", "--", "sleep", "600") == (128 + number, "", "")
        assert started[0].poll() == -number
    finally:
        started[0].kill()
        started[0].wait()


def test_signal_after_a_start_that_failed_ends_this_process() -> None:
    with socket.socket() as listener, program.forwarded_signals() as signals:
        with pytest.raises(FileNotFoundError):
            signals.start(PlainProgram(["/no/program"], {}, listener))
        with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
            signal.raise_signal(signal.SIGTERM)
