"""Locks, and disks that have none."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from ternary_spike import UserError
from ternary_spike.system import devices, locks
from ternary_spike.training import checkpoints


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def without_locks(request, monkeypatch):
    def flock(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_folder_is_used_where_there_are_no_locks(tmp_path, without_locks):
    for _ in range(2):  # the first leaves nothing that would stop the second
        with checkpoints.exclusive(tmp_path) as locked, checkpoints.sole_writer(tmp_path):
            assert locked is False
            assert (tmp_path / "lock").read_text().startswith(f"{os.getpid()} on ")


def test_without_locks_a_process_of_this_machine_is_noticed_by_its_number(tmp_path, without_locks):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp_path / "lock").write_text(f"{other.pid} on {os.uname().nodename}")
    with pytest.raises(UserError, match=rf"in use: process {other.pid} on .*, says .*lock; .*delete that file"):
        checkpoints.exclusive(tmp_path).__enter__()
    other.communicate(b"\n")
    with checkpoints.exclusive(tmp_path) as locked:  # killed, it would have left its number
        assert locked is False


def test_with_locks_the_number_is_not_asked(tmp_path):
    (tmp_path / "lock").write_text(f"{os.getppid()} on {os.uname().nodename}")
    with checkpoints.exclusive(tmp_path) as locked:
        assert locked is True


def test_gpus_are_not_shared_out_without_locks(tmp_path, without_locks):
    with pytest.raises(UserError, match=rf"{tmp_path} is on a disk without locks.*set TMPDIR"):
        devices.claim(["0"], tmp_path)


def test_a_lock_that_fails_is_named(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match=rf"cannot lock {tmp_path}/lock: Input/output error; .*another disk"):
        checkpoints.exclusive(tmp_path).__enter__()
    with pytest.raises(OSError, match="Input/output"), (tmp_path / "lock").open() as file:
        locks.hold(file)
