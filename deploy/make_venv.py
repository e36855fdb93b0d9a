"""Makes a virtual environment and says what it is doing: what the Makefile's set-up targets call.

    python deploy/make_venv.py FOLDER PIP_ARGUMENT …

It runs before anything is installed, so it needs the standard library alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PACKAGES_A_LINE: Final = 25
"""Packages for each line of progress: a minute of silence looks like a hang."""

LINES_ON_FAILURE: Final = 25
"""Lines of pip's output that are shown if it fails."""


def main(folder: Path, pip_arguments: Sequence[str]) -> int:
    """Makes the environment, or leaves none behind. Returns the exit code."""
    print(f"Setting up {folder}, once. This takes a minute or two.", flush=True)
    try:
        # What another Python or a broken set-up left in the folder would break this one.
        venv.create(folder, clear=True, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError):
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{folder} could not be created. On Debian, install python3-venv.", file=sys.stderr)
        return 1
    try:
        installed = _installed(folder, pip_arguments)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"Interrupted. {folder} was removed.", file=sys.stderr)
        return 130
    if not installed:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"The installation failed (see pip's last lines above). {folder} was removed.", file=sys.stderr)
        return 1
    return 0


def _installed(folder: Path, pip_arguments: Sequence[str]) -> bool:
    """Whether pip installed everything."""
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    pip = subprocess.Popen(
        [*command, "--progress-bar", "off", *pip_arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        return _succeeds(pip)
    finally:
        # After Ctrl-C it must not write into a folder that is being removed.
        pip.terminate()
        pip.wait()


def _succeeds(pip: subprocess.Popen[str]) -> bool:
    """Prints pip's progress. Returns whether it succeeded; if not, its last lines are printed."""
    last, collected = deque[str](maxlen=LINES_ON_FAILURE), 0
    for line in pip.stdout or ():
        last.append(line)
        if line.startswith("Collecting "):
            collected += 1
            if collected % PACKAGES_A_LINE == 0:
                print(f"  {collected} packages found", flush=True)
        elif line.startswith("Installing collected packages"):
            print(f"  installing {line.count(',') + 1} packages", flush=True)
    if pip.wait() == 0:
        return True
    sys.stderr.writelines(last)
    return False


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: make_venv.py FOLDER PIP_ARGUMENT …")
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
