"""The commands: up, which stays until interrupted, and demo, which shows who saw what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from blindrelay.testbed.demo import QUESTION
from blindrelay.testbed.evidence.traces import children_of, environment_of
from tests.patience import PATIENCE

COMMAND = [sys.executable, "-m", "blindrelay.testbed"]


def _run(command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=3 * PATIENCE, env=env)


@contextmanager
def _running(*arguments: str, program: Sequence[str] = COMMAND) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _ended(process: subprocess.Popen[str], signal_number: int) -> tuple[int, str]:
    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed("scripted") as bed:
        yield bed


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_up_prints_one_line_and_stays_until_interrupted(signal_number: int) -> None:
    with _running("up", "--json", "--provider", "scripted", "--replicas", "2") as process:
        assert process.stdout is not None
        described = json.loads(process.stdout.readline())
        assert described["provider"].startswith("http://127.0.0.1:")
        assert list(described["pids"]) == ["provider", "bridge-1", "bridge-2", "relay"]
        with SealedTransport(described["relay"]) as sealed, sealed.httpx2_client() as client:
            assert client.get("https://api.openai.com/v1/models").status_code == 200
        assert _ended(process, signal_number) == (0, "")
    for pid in described["pids"].values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_up_shows_a_part_that_dies_and_keeps_the_others() -> None:
    with _running("up", "--json", "--provider", "scripted") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        pids = json.loads(process.stdout.readline())["pids"]
        os.kill(pids["provider"], signal.SIGKILL)
        told = process.stderr.readline()
        assert told == "blindrelay-testbed: provider ended by signal 9; it wrote nothing\n"
        os.kill(pids["relay"], 0)
        assert _ended(process, signal.SIGTERM)[0] == 0


def test_the_demo_asks_answers_and_shows_what_the_relay_forwarded() -> None:
    shown = _run([*COMMAND, "demo"])
    assert (shown.returncode, shown.stderr) == (0, "")
    answer = next(line for line in shown.stdout.splitlines() if line.startswith("  answer"))
    assert "Paris" in answer
    assert f"question  {QUESTION}" in shown.stdout
    _, _, table = shown.stdout.partition("What each party saw")
    relay = table.partition("\n  relay ")[2].partition("\n  bridge ")[0]
    assert all(word in relay for word in ("exchange_id", "to bridge", "to client"))
    assert not any(word in relay for word in ("Paris", "POST"))
    assert "\N{ESCAPE}" not in shown.stdout


def test_demo_by_envoy() -> None:
    shown = _run([*COMMAND, "demo", "--provider", "scripted", "--data-plane", "envoy"])
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "answer    The capital of France is Paris." in shown.stdout
    assert "passes on what it cannot open, by Envoy" in shown.stdout
    assert "Envoy checked the lease" in shown.stdout


@pytest.mark.parametrize("more", [(), ("--ledger",)], ids=["tokens", "ledger"])
def test_testbed_by_envoy(more: tuple[str, ...]) -> None:
    with _running("up", "--json", "--provider", "scripted", "--data-plane", "envoy", *more) as process:
        assert process.stdout is not None
        described = json.loads(process.stdout.readline())
        assert b"/envoy\0-c\0" in b"".join(
            environment_of(pid) for pid in children_of(described["pids"]["relay"])
        )
        with SealedTransport(described["relay"]) as sealed, sealed.httpx2_client() as client:
            assert client.get("https://api.openai.com/v1/models").status_code == 200
        assert _ended(process, signal.SIGTERM) == (0, "")


def test_interrupted_demo_ends_silently() -> None:
    """It waits for the end of the response, which never comes."""
    code = (
        "import sys\n"
        "from functools import partialmethod\n"
        "from openai.resources.chat.completions import Completions\n"
        "from blindrelay.testbed import cli\n"
        "held = {'scripted': {'hold': 'never released'}}\n"
        "Completions.create = partialmethod(Completions.create, extra_body=held)\n"
        "sys.exit(cli.main())\n"
    )
    program = [sys.executable, "-c", code]
    with _running("demo", "--provider", "scripted", program=program) as process:
        assert process.stdout is not None
        shown = ""
        while "The capital of" not in shown:
            letter = process.stdout.read(1)
            assert letter, "it has ended"
            shown += letter
        assert _ended(process, signal.SIGINT) == (130, "")


def test_the_demo_can_use_a_relay_that_runs_and_say_that_a_script_answers(bed: Testbed) -> None:
    code = (
        "import sys\n"
        "from blindrelay.testbed import cli, providers\n"
        "providers.llama_is_installed = lambda: False\n"
        "sys.exit(cli.main())\n"
    )
    ours, running = _run([sys.executable, "-c", code, "demo"]), _run([*COMMAND, "demo", "--relay", bed.relay])
    for shown in (ours, running):
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "answer    The capital of France is Paris." in shown.stdout
    assert "a scripted provider takes its place" in ours.stdout
    assert "starting" not in running.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--relay", "relay.example"), 2, "a connection string has the form blindrelay://"),
        (("--relay", "blindrelay://token@127.0.0.1:1?tls=off"), 2, "no bridge is pinned"),
        (("--provider", "openai"), 2, "set OPENAI_API_KEY"),
        (("--relay", "WRONG TOKEN"), 1, "the relay does not know this access token: ask its operator"),
        (("--relay", "NOBODY LISTENS"), 1, "no connection to the relay"),
    ],
)
def test_an_error_is_one_line(bed: Testbed, arguments: tuple[str, ...], code: int, message: str) -> None:
    relays = {
        "WRONG TOKEN": bed.relay.replace(bed.token, "brt_" + "A" * 43),
        "NOBODY LISTENS": bed.connection("127.0.0.1:9"),
    }
    command = [*COMMAND, "demo", *(relays.get(each, each) for each in arguments)]
    shown = _run(command, OPENAI_API_KEY="")
    assert shown.returncode == code
    assert shown.stderr.startswith("blindrelay-testbed: ")
    assert message in shown.stderr
    assert "AAAA" not in shown.stderr, "no token is shown"
    assert shown.stderr.count("\n") == 1
