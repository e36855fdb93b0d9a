"""deploy/make_venv.py, which a new user's first command runs."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

MAKE_VENV = Path(__file__).parents[2] / "deploy" / "make_venv.py"


def test_ctrl_c_is_one_line_and_leaves_no_environment(tmp_path: Path) -> None:
    # pip waits for its requirements, which nobody writes, until the terminal interrupts it.
    folder, requirements = tmp_path / "venv", tmp_path / "requirements.txt"
    os.mkfifo(requirements)
    script = (
        "import fcntl, signal, sys, termios; from pathlib import Path\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.path.insert(0, {str(MAKE_VENV.parent)!r}); import make_venv\n"
        f"sys.exit(make_venv.main(Path({str(folder)!r}), ['-r', {str(requirements)!r}]))"
    )
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=terminal,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with requirements.open("w"):  # opens when pip does
        os.write(controller, b"\x03")
        _, errors = process.communicate(timeout=60)
    os.close(controller)
    os.close(terminal)
    assert (process.returncode, errors) == (130, f"Interrupted. {folder} was removed.\n")
    assert not folder.exists()
