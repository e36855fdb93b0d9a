"""The folder that Envoy and the control process share: what Envoy watches, a socket and a pipe."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVarTuple

from blindrelay.relay_node.envoy.routes import Resource
from blindrelay.serving import ConfigError, StartError
from blindrelay.serving.files import replace_file

T = TypeVarTuple("T")

_PRIVATE: Final = 0o700
_MAX_FOLDER_PATH: Final = 90
"""Bytes of the folder's path. The system allows 108 for a socket's."""


class EnvoyFolder:
    """Only this user may enter the folder: its files hold keys and tokens."""

    def __init__(self, path: Path) -> None:
        """Makes the folder and the pipe if need be.

        Raises ConfigError, and StartError if another control process uses the folder.
        """
        self._path = path.resolve()
        self._written: dict[str, tuple[object, ...]] = {}
        if len(os.fsencode(self._path)) > _MAX_FOLDER_PATH:
            raise ConfigError(
                f"[envoy] folder = {path} is too long for the sockets in it: "
                f"choose a path of at most {_MAX_FOLDER_PATH} bytes"
            )
        try:
            self._path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            if self._path.stat().st_mode & 0o077:
                raise ConfigError(f"[envoy] folder = {path} is open to others: run chmod 700 on it")
            if not self.pipe.exists():
                os.mkfifo(self.pipe, 0o600)
            elif not stat.S_ISFIFO(self.pipe.stat().st_mode):
                raise ConfigError(f"{self.pipe} is not a pipe: remove it")
            if _answers(self.control):
                raise StartError(f"another control process uses {path}: stop it first")
            self.control.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"[envoy] folder = {path} cannot be used ({error.strerror})") from None

    @property
    def bootstrap(self) -> Path:
        """The configuration that Envoy is started with."""
        return self._path / "envoy.yaml"

    @property
    def control(self) -> Path:
        """The socket on which the control process listens."""
        return self._path / "control.sock"

    @property
    def admin(self) -> Path:
        """The socket of the admin interface inside Envoy."""
        return self.admin_of(self._path)

    @staticmethod
    def admin_of(path: Path) -> Path:
        """The same, of a folder that another process has made."""
        return path.resolve() / "admin.sock"

    @property
    def envoy_runs(self) -> bool:
        """Whether an Envoy with this folder's configuration runs."""
        return _answers(self.admin)

    @property
    def pipe(self) -> Path:
        """Where Envoy writes a line for each start and end."""
        return self._path / "usage.pipe"

    def pipe_number(self) -> int | None:
        """The inode of the pipe. None if there is none, and then Envoy would write to a file of that name."""
        try:
            status = self.pipe.stat()
        except OSError:
            return None
        return status.st_ino if stat.S_ISFIFO(status.st_mode) else None

    def write_bootstrap(self, text: str) -> None:
        """Raises ConfigError."""
        replace_file(self.bootstrap, text, "Envoy configuration")

    def publish(self, name: str, made_of: Callable[[*T], list[Resource]], *given: *T) -> None:
        """Writes a watched file, unless it was made of the same before. Raises ConfigError."""
        if self._written.get(name) != given:
            text = json.dumps({"resources": made_of(*given)}, indent=1) + "\n"
            replace_file(self._path / f"{name}.json", text, "Envoy configuration")
            self._written[name] = given


def _answers(path: Path) -> bool:
    """Whether a process listens on the socket."""
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(os.fspath(path)) == 0
