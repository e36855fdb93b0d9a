"""Rebuilds a wheel from this repository and compares it with a released one, byte for byte.

    python deploy/verify_release.py WHEEL [--commit REF]     does this wheel come from that commit?
    python deploy/verify_release.py --twice [--commit REF]   are two builds of it the same?

Exit code 0: the same; 1: not, and it says which file differs; 2: asked for wrongly, or it could not be built.
Needs git, and what deploy/locked/build.txt pins, since another version of it writes another wheel:

    python -m pip install --require-hashes -r deploy/locked/build.txt
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", nargs="?", type=Path, help="the released file")
    parser.add_argument("--twice", action="store_true", help="compare two builds with each other")
    parser.add_argument("--commit", default="HEAD", help="what it was built from: a tag or commit (HEAD)")
    given = parser.parse_args()
    if given.twice is (given.wheel is not None):
        parser.error("give a wheel, or --twice")
    if other := other_versions():
        sys.stderr.write(
            f"verify_release: install deploy/locked/build.txt first; here is {', '.join(other)}\n"
        )
        return 2
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        try:
            ours = built(given.commit, Path(first))
            theirs = built(given.commit, Path(second)) if given.twice else given.wheel
            wrong = list(differences(ours, theirs))
        except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
            said = getattr(error, "stderr", None) or str(error)
            sys.stderr.write(f"verify_release: {said.strip()}\n")
            return 2
        if wrong:
            print("\n".join(wrong))
            return 1
        print(f"the same: sha256 {digest(ours)}  {ours.name}")
    return 0


def other_versions() -> list[str]:
    """What builds wheels here in another version than the pinned one."""
    pinned = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "deploy/locked/build.txt").read_text(), re.MULTILINE)
    return [f"{name} {here}, not {wanted}" for name, wanted in pinned if (here := installed(name)) != wanted]


def installed(name: str) -> str:
    """The version of a package that is installed here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def built(commit: str, folder: Path) -> Path:
    """The wheel of a commit, built in a folder of its own."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "--format=tar", commit], check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True, capture_output=True)
    # The time of every file in the wheel.
    seconds = run("git", "-C", str(ROOT), "log", "-1", "--format=%ct", commit).strip()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": seconds}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=environment)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def differences(ours: Path, theirs: Path) -> Iterator[str]:
    """A sentence for each file that is not the same; none if the wheels are, to the last byte."""
    if digest(ours) == digest(theirs):
        return
    with zipfile.ZipFile(ours) as mine, zipfile.ZipFile(theirs) as other:
        names = set(mine.namelist()), set(other.namelist())
        yield from (f"only in the rebuilt wheel: {name}" for name in sorted(names[0] - names[1]))
        yield from (f"only in the given wheel: {name}" for name in sorted(names[1] - names[0]))
        same = True
        for name in sorted(names[0] & names[1]):
            if mine.read(name) != other.read(name):
                same = False
                yield f"differs: {name}"
        if same and names[0] == names[1]:
            yield "the files are the same, and the archives around them are not (times, order or compression)"


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
