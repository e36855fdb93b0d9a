"""The README's commands and snippets work as printed, and the workflows call make targets that exist."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from blindrelay.testbed import Testbed
from blindrelay.testbed.ports import free_port

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
UNFENCED = re.sub(r"```.+?```", "", README, flags=re.DOTALL)
COMMANDS = [
    re.sub(r"\s+#.*", "", line.strip())
    for block in re.findall(r"(?:^    .+\n)+", UNFENCED.replace("\\\n", " "), re.MULTILINE)
    for line in block.splitlines()
]
"""The commands of indented blocks, one a line, without comments."""

EXAMPLE = re.compile(r"blindrelay://TOKEN@relay\.example:443\?bridge=br1…")
PROGRAM = """
import os
asked = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}
if "OPENAI_BASE_URL" in os.environ:
    import openai
    print(openai.OpenAI().chat.completions.create(**asked).choices[0].message.content)
else:
    import anthropic
    print(anthropic.Anthropic().messages.create(**asked).content[0].text)
"""


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed("scripted") as bed:
        yield bed


@pytest.fixture(scope="module")
def environment(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A new user's environment: an empty home, and the commands on the path."""
    home = tmp_path_factory.mktemp("home")
    mine = {name: value for name, value in os.environ.items() if not name.startswith("BLINDRELAY_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return mine | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "PATH": path}


@pytest.fixture(scope="module")
def port() -> int:
    """A free port, instead of the one in the README."""
    return free_port()


def starting(*beginnings: str) -> list[str]:
    """The README's commands with these beginnings. There is at least one of each."""
    assert all(any(command.startswith(each) for command in COMMANDS) for each in beginnings)
    return [command for command in COMMANDS if command.startswith(beginnings)]


def output_of(command: str, environment: Mapping[str, str], folder: Path, typed: str | None = None) -> str:
    """What a shell command prints. It must succeed."""
    run: Any = {"env": environment, "cwd": folder, "input": typed, "capture_output": True, "text": True}
    done: subprocess.CompletedProcess[str] = subprocess.run(["bash", "-c", command], timeout=200, **run)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_kind_of_command_is_tried() -> None:
    kinds = ("make ", "pip install ", ".venv/bin/python -m blindrelay.testbed up", "blindrelay ", "curl ")
    programs = ("export TOKEN=", "OPENAI_BASE_URL=", "ANTHROPIC_BASE_URL=")
    assert [command for command in COMMANDS if not command.startswith((*kinds, *programs))] == []


def called_by(workflow: Path) -> list[str]:
    """Each make call, with every value of its matrix."""
    jobs: dict[str, Any] = yaml.safe_load(workflow.read_text())["jobs"]
    found = []
    for job in jobs.values():
        targets = job.get("strategy", {}).get("matrix", {}).get("target", [""])
        for step in job["steps"]:
            if (command := step.get("run", "")).startswith("make "):
                found += [command.replace("${{ matrix.target }}", target) for target in targets]
    return found


CI_RUN = [f"make {target}" for target in re.findall(r"^ *run (\S+)$", (ROOT / ".ci/run").read_text(), re.M)]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize(
    "command",
    [*starting("make "), *CI_RUN, *(each for workflow in WORKFLOWS for each in called_by(workflow))],
)
def test_make_targets_exist(command: str) -> None:
    words = re.sub(r" ARGS=.*", "", command).split()
    subprocess.run([*words, "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", starting("pip install "))
def test_extras_exist(command: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r'"\./blindrelay\[(\w+)\]"', command)
    assert extras
    assert set(extras) <= set(project["optional-dependencies"])


def test_program_streams(bed: Testbed, environment: dict[str, str], tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    program, replaced = EXAMPLE.subn(bed.relay, snippet)
    assert replaced == 1
    assert "flush=True" in program
    (tmp_path / "program.py").write_text(program)
    assert output_of("python -W error program.py", environment, tmp_path).strip()


def test_testbed_prints_a_connection_string(environment: dict[str, str]) -> None:
    (command,) = starting(".venv/bin/python -m blindrelay.testbed up")
    arguments = command.split()[1:]
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as testbed:
        assert testbed.stdout is not None
        try:
            assert any("blindrelay://" in line for line in testbed.stdout)
        finally:
            testbed.send_signal(signal.SIGINT)


def test_commands_work_without_code(
    bed: Testbed, environment: dict[str, str], port: int, tmp_path: Path
) -> None:
    init, chat, proxy, show_token = starting("blindrelay ", "export TOKEN=")
    output_of(f"{init} --yes", environment, tmp_path, typed=f"{bed.relay}\n")
    assert output_of(chat, environment, tmp_path).strip()
    with subprocess.Popen(
        [*proxy.split(), "--port", str(port)], env=environment, stdout=subprocess.PIPE, text=True
    ) as endpoint:
        assert endpoint.stdout is not None
        endpoint.stdout.readline()
        try:
            (tmp_path / "your_program.py").write_text(PROGRAM)
            for command in starting("OPENAI_BASE_URL=", "ANTHROPIC_BASE_URL=", "curl "):
                here = f"{show_token} && {command}".replace("8484", str(port))
                assert output_of(here, environment, tmp_path).strip()
        finally:
            endpoint.send_signal(signal.SIGINT)
