"""Where there is no room is told from trying, and named by its disk."""

import errno
import os
from pathlib import Path

import pytest

from ternary_spike.system import room
from ternary_spike.system.errors import UserError


def test_a_folder_that_is_not_there_yet_is_asked_above(tmp_path):
    assert room.refused(tmp_path / "a/b") is None
    room.require_room(tmp_path / "a/b")
    assert not list(tmp_path.iterdir())
    assert room.disk_of(tmp_path / "a/b") == room.disk_of(tmp_path) and room.disk_of(Path("/proc/self")) == Path(
        "/proc"
    )


def test_a_full_disk_is_named_and_another_refusal_is_others_matter(tmp_path, monkeypatch):
    for number, full in ((errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, False), (errno.EACCES, False)):
        refusal = OSError(number, os.strerror(number))
        monkeypatch.setattr(room, "refused", lambda folder, size, refusal=refusal: refusal)
        if full:
            with pytest.raises(UserError, match=f"takes nothing more, on the disk at /.*: {os.strerror(number)}"):
                room.require_room(tmp_path)
        else:
            room.require_room(tmp_path)
