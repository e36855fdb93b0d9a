"""docs/service.md, followed line by line: its files and its commands lead to a paid exchange."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed.ports import free_port
from blindrelay.testbed.processes import PartProcess

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/service.md").read_text()
BIN = Path(sys.executable).parent
STEPS = PAGE.partition("## 1. The bridge")[2].partition("## What you know")[0]
PORTS = sorted(set(re.findall(r"127\.0\.0\.1:(\d{4})", PAGE)))
CALL_SECONDS = 60
CHECK = "blindrelay-ledger check --config ledger.toml"
STATEMENT = "blindrelay-ledger statement alice --config ledger.toml"
MOST_CHECKS = 60
"""Each takes a second."""
UMASK = int(re.findall(r"umask (\d+)", PAGE)[0], 8)


def blocks(text: str) -> dict[str, str]:
    """The configuration files, by the name in their first line."""
    found = re.findall(r"```toml\n(# (\S+)\n.*?)```", text, re.DOTALL)
    return {name: block for block, name in found}


def commands(text: str) -> list[str]:
    """What is typed, in order."""
    return re.findall(r"^    (\S.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)


class Follower:
    """Somebody who does what the page says, with a provider that costs nothing, and on free ports."""

    def __init__(self, folder: Path, provider: str, running: ExitStack) -> None:
        self.folder = folder
        self._running = running
        self._provider = provider
        self._ports = {port: str(free_port()) for port in PORTS}
        self._environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "BLINDRELAY_STATE": str(folder / "state"),
            "OPENAI_API_KEY": "sk-of-nobody",
        }
        self._identity = "br1…"
        self.outputs: dict[str, str] = {}

    def follow(self, text: str) -> None:
        """Writes the files as far as the identity is known, and types the commands."""
        for name, block in blocks(text).items():
            (self.folder / name).write_text(self.adapted(block))
        for command in commands(text):
            self.type(self.adapted(command))

    def adapted(self, text: str) -> str:
        for port, free in self._ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
        text = text.replace('preset = "openai"', f'preset = "openai"\ntarget = "http://{self._provider}"')
        return text.replace("br1…", self._identity)

    def type(self, command: str) -> None:
        if " serve " in command:
            self._serve(command)
        elif command.startswith("export BLINDRELAY_CONNECTION"):
            self._environment["BLINDRELAY_CONNECTION"] = command.partition("=")[2].strip('"')
        elif not command.startswith("export "):
            self.outputs[command] = self.run(command)

    def run(self, command: str) -> str:
        """What a command prints. It must succeed."""
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            umask=UMASK,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        if "identity --make" in command:
            self._identity = re.findall(r"br1[a-z2-7]+", done.stdout)[0]
        return done.stdout

    def json(self, command: str) -> Any:
        return json.loads(self.run(f"{command} --json"))

    def _serve(self, command: str) -> None:
        log = self._running.enter_context((self.folder / "log").open("a+"))
        process = subprocess.Popen(
            [*command.split(), "--json"],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self._running.callback(_end, process)
        assert process.stdout is not None
        assert _announcement(process.stdout), f"{command}: {(self.folder / 'log').read_text()}"


def _announcement(output: IO[str]) -> Any:
    line = output.readline()
    return line and json.loads(line)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(CALL_SECONDS)
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Follower]:
    """After the page's numbered steps, once the bridge's receipt has come."""
    provider = PartProcess("provider", "blindrelay.testbed.scripted_provider", list)
    provider.start()
    with ExitStack() as running:
        running.callback(provider.stop)
        follower = Follower(tmp_path_factory.mktemp("service"), provider.listening, running)
        for step in re.split(r"\n## \d\. ", STEPS):
            follower.follow(step)
        # That none is open does not tell: before the relay has reported the start, none is open either.
        assert any(charges(follower) == ["posted"] for _ in range(MOST_CHECKS))
        yield follower


def charges(service: Follower) -> list[str]:
    """The states of Alice's exchanges."""
    return [line["state"] for line in service.json(STATEMENT)["lines"]]


def output(service: Follower, part: str) -> str:
    """What the one command printed that has this part."""
    return next(text for command, text in service.outputs.items() if part in command)


def test_the_exchange_is_answered_and_paid(service: Follower) -> None:
    assert "Paris" in output(service, "blindrelay chat")
    statement = service.json(STATEMENT)
    bill = service.json("blindrelay bill")
    (line,) = statement["lines"]
    assert line["units"] == bill["units"] == 100_000 - statement["balance"]
    assert bill["exchanges"] == 1
    assert float(bill["exact_units"]) > 0


def test_both_sides_can_check(service: Follower) -> None:
    assert service.json(CHECK)["balanced"]
    assert "gpt-5-mini" in output(service, "blindrelay bill")
    assert output(service, "blindrelay bill verify")


def test_the_operator_has_no_word_of_it(service: Follower) -> None:
    seen = output(service, "statement alice") + service.run("blindrelay-ledger export --config ledger.toml")
    held = b"".join(path.read_bytes() for path in service.folder.glob("ledger.db*"))
    for word in ("Paris", "capital", "gpt-5-mini"):
        assert word not in seen
        assert word.encode() not in held


def test_the_link_leads_to_the_page(service: Follower) -> None:
    link = output(service, "page link").split()[0]
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=CALL_SECONDS) as browser:
        assert "Sign in" in browser.get(link).text
        answer = browser.post(link.partition("?")[0], data={"code": link.partition("code=")[2]})
    assert "<title>Overview" in answer.text


def test_the_bound_is_what_the_page_says(service: Follower) -> None:
    assert service.json(STATEMENT)["overdraft_bound"] == 4 * 1_000_000
    section = PAGE.partition("## The bound")[2].partition("\n## ")[0]
    for command in commands(section):
        if command.startswith("blindrelay-ledger"):
            service.type(service.adapted(command))
    # The relay holds an allowance at the old price for a few seconds more.
    assert any(service.json(STATEMENT)["overdraft_bound"] == 0 for _ in checks())
    (connection,) = re.findall(r"^    (blindrelay://\S+)$", section, re.M)
    asked = service.adapted(connection).replace("token=@", f"token=@{service.folder}/")
    with SealedTransport(asked).httpx_client(timeout=CALL_SECONDS) as client:
        assert ask(client) == httpx.codes.BAD_REQUEST
        assert ask(client, max_completion_tokens=5_000) == httpx.codes.OK


def checks() -> Iterator[None]:
    """One a second."""
    for _ in range(MOST_CHECKS):
        yield
        time.sleep(1)


def ask(client: httpx.Client, **options: int) -> int:
    """The status of a chat completion."""
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}], **options}
    return client.post("https://api.openai.com/v1/chat/completions", json=body).status_code
