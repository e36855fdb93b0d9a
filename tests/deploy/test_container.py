"""The container file, as text: the image runs as nobody and without a shell. No engine is run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
Stage = list[tuple[str, str]]


def stages() -> list[Stage]:
    """The instructions of each stage, in order."""
    found: list[Stage] = []
    for line in (ROOT / "deploy/Containerfile").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            if name == "FROM":
                found.append([])
            found[-1].append((name, rest))
    return found


def last(name: str, stage: Stage) -> str:
    """The last instruction with that name: the one that counts."""
    return [rest for each, rest in stage if each == name][-1]


def test_image_runs_as_nobody_and_without_a_shell() -> None:
    _, image = stages()
    assert last("USER", image) == "65532:65532"
    assert "RUN" not in dict(image)
    assert "distroless" in last("FROM", image)
    for name in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(last(name, image)), list), "the form that needs no shell"


def test_every_stage_has_a_version() -> None:
    for stage in stages():
        image = last("FROM", stage).split()[0]
        assert image.rpartition(":")[2] not in ("latest", image)


def test_image_runs_what_was_installed() -> None:
    build, image = stages()
    dependencies, backend, ourselves = (json.loads(rest) for name, rest in build if name == "RUN")
    for command, lock in ((dependencies, "relay"), (backend, "build")):
        assert "--require-hashes" in command
        assert command[-1] == f"deploy/locked/{lock}.txt"
        assert (ROOT / command[-1]).is_file()
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(ourselves)
    assert ourselves[-1] == "."
    target = ourselves[ourselves.index("--target") + 1]
    assert dependencies[dependencies.index("--target") + 1] == target
    assert last("COPY", image) == f"--from=build {target} {target}"
    assert f"PYTHONPATH={target} " in last("ENV", image)
    *_, option, module = json.loads(last("ENTRYPOINT", image))
    assert option == "-m"
    assert importlib.util.find_spec(f"{module}.__main__") is not None
