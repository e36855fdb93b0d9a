"""Who could have written a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from blindrelay.client.state_file import Whose, whose


def test_owner_and_mode_of_a_file_are_judged(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o600)
    assert whose(path.stat()) is Whose.OURS
    assert whose(path.stat(), stat.S_ISDIR) is Whose.OF_NO_SUCH_KIND
    path.chmod(0o644)
    assert whose(path.stat()) is Whose.OPEN_TO_OTHERS
    assert whose(path.stat(), others=0o022) is Whose.OURS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_file_given_to_another_user_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o600)
    os.chown(path, 12_345, 12_345)
    assert whose(path.stat()) is Whose.ANOTHER_USERS
