"""Runs the containers of a rendered chart as processes, with their files, probes and hooks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from blindrelay.testbed.ports import free_port
from tests.deploy.chart import ROOT, Manifest, Secrets, pods_of, write_config

PATIENCE = 120.0
"""Seconds for a pod to become ready, or to end."""

PORTS = (8443, 8470, 8471, 8472, 8490)
ENTRY_POINTS = {
    image: ["/usr/bin/python3", "-m", module]
    for text in (file.read_text() for file in ROOT.glob("deploy/Containerfile*"))
    for image in re.findall(r"build -f \S+ -t (\S+)", text)
    for module in re.findall(r'ENTRYPOINT \["/usr/bin/python3", "-m", "(\S+)"\]', text)
}
"""What each image runs, as its file says."""


class Kubelet:
    """Stands for a cluster with one pod of each part. `folder`: a short path, since sockets are below it.

    Attributes:
        ports: where each part listens, by the port in the pod.
    """

    def __init__(self, manifests: list[Manifest], secrets: Secrets, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._pods = {pods.part: pods for pods in pods_of(manifests)}
        self.ports = {port: free_port() for port in (8443, *range(8470, 8473), 8490)}
        for pods in self._pods.values():
            for name in ("etc", "run", "state"):
                (folder / pods.part / name).mkdir(parents=True)
            write_config(pods, manifests, secrets, folder / pods.part / "etc")
            for file in (folder / pods.part / "etc").glob("*.toml"):
                file.chmod(0o600)
                file.write_text(self._here(pods.part, file.read_text()))

    def start(self, part: str) -> None:
        """Starts the containers of a pod."""
        for container in self._pods[part].containers:
            image = container["image"].partition(":")[0]
            command = [*container.get("command", ENTRY_POINTS.get(image, [])), *container.get("args", ())]
            self._running[container["name"]] = self._run(part, command)

    def wait_until_ready(self, part: str) -> None:
        """Asks the pod's readiness probes, until all agree."""
        deadline = time.monotonic() + PATIENCE
        for container in self._pods[part].containers:
            if "readinessProbe" in container:
                command = container["readinessProbe"]["exec"]["command"]
                while self._run(part, command).wait() != 0:
                    assert self._running[container["name"]].poll() is None, f"{container['name']} has ended"
                    assert time.monotonic() < deadline, f"{container['name']} does not become ready"

    def wait_until_unready(self, part: str) -> None:
        """Asks the pod's readiness probes, until one disagrees."""
        deadline = time.monotonic() + PATIENCE
        while self._is_ready(part):
            assert time.monotonic() < deadline, f"{part} stays ready"

    def _is_ready(self, part: str) -> bool:
        return all(
            self._run(part, container["readinessProbe"]["exec"]["command"]).wait() == 0
            for container in self._pods[part].containers
            if "readinessProbe" in container
        )

    def pre_stop(self, part: str) -> dict[str, subprocess.Popen[bytes]]:
        """Starts the hooks that run before containers are told to end, by container."""
        return {
            container["name"]: self._run(part, container["lifecycle"]["preStop"]["exec"]["command"])
            for container in self._pods[part].containers
            if "lifecycle" in container
        }

    def terminate(self, container: str) -> int:
        """Tells a container to end. Returns its exit code."""
        process = self._running[container]
        process.terminate()
        return process.wait(PATIENCE)

    def command(self, part: str, *arguments: str) -> str:
        """What a command inside the pod prints, as `kubectl exec` runs it."""
        command = [
            sys.executable,
            "-m",
            *arguments,
            "--config",
            str(self._folder / part / f"etc/{part}.toml"),
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    def _run(self, part: str, command: list[str]) -> subprocess.Popen[bytes]:
        here: list[str] = [self._here(part, word) for word in command]
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                here,
                env={**os.environ, "PATH": programs},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _here(self, part: str, text: str) -> str:
        """The same with the paths, addresses and programs of this machine."""
        text = re.sub(r"[a-z0-9.-]+\.svc:", "localhost:", text).replace("0.0.0.0:", "127.0.0.1:")
        for port, ours in self.ports.items():
            text = text.replace(f":{port}", f":{ours}")
        paths = {"/etc/blindrelay": "etc", "/run/blindrelay": "run", "/var/lib/blindrelay": "state"}
        for inside, outside in paths.items():
            text = text.replace(inside, str(self._folder / part / outside))
        return text.replace("/usr/bin/python3", sys.executable)


def values_for(provider: str, identity: str, **parts: Mapping[str, Any]) -> dict[str, Any]:
    """Values with one bridge, whose provider is on this machine."""
    entry = {
        **{"name": "openai", "preset": "openai", "stateless": "script.toml"},
        **{"target": provider, "credential": {"file": "openai-key"}},
    }
    bridge = {"identity": identity, "replicas": 1, "config": {"provider": [entry]}, **parts.pop("bridge", {})}
    return {"bridge": bridge, **parts}
