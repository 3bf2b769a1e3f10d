"""Writing small files: whole or not at all."""

import errno
import hashlib
import os
import resource
import signal
import threading
from pathlib import Path

import pytest
import torch

from ternary_spike import UserError
from ternary_spike.system.files import (
    read_json,
    read_tensors,
    replaced,
    require_listed,
    sha256_of,
    write_csv,
    write_json,
    write_listed,
    write_tensors,
)


@pytest.fixture
def small_files():
    """Lets no file grow beyond 4 kB, as a full disk or a quota would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, previous)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError, match="stop"), replaced(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_one_clear_line_and_keeps_the_old_file(tmp_path, small_files):
    write_json(tmp_path / "a.json", {"a": 1})
    write_tensors(tmp_path / "w.safetensors", {"w": torch.ones(4)})
    before = sha256_of(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"cannot write .*a\.json: .*make room"):
        write_json(tmp_path / "a.json", list(range(5000)))
    with pytest.raises(UserError, match=r"cannot write .*w\.safetensors"):
        write_tensors(tmp_path / "w.safetensors", {"w": torch.ones(5000)})
    with pytest.raises(UserError, match=r"cannot write .*t\.csv"):
        write_csv(tmp_path / "t.csv", [{"x": i} for i in range(5000)])
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert sha256_of(tmp_path / "w.safetensors") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "w.safetensors"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot write .*file/a\.json"):
        write_json(tmp_path / "file" / "a.json", {})


def test_written_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_json_without_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_bad_json_is_refused_by_name(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json cannot be read as JSON"):
        read_json(path)


def test_checksum_of_tensors_is_verified(tmp_path):
    path = tmp_path / "w.safetensors"
    write_tensors(path, {"w": torch.arange(8.0)}, {"note": "x"})
    good = sha256_of(path)
    tensors, metadata = read_tensors(path, good)
    assert torch.equal(tensors["w"], torch.arange(8.0)) and metadata == {"note": "x"}
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"w\.safetensors is not the file that was recorded"):
        read_tensors(path, good)


def test_none_is_an_empty_cell(tmp_path):
    write_csv(tmp_path / "t.csv", [{"a": None, "b": 0.1}])
    assert Path(tmp_path / "t.csv").read_text() == "a,b\n,0.1\n"


def test_a_record_is_sealed_and_read_without_its_seal(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"id": "a", "accuracy": 0.5})
    assert read_json(path) == {"id": "a", "accuracy": 0.5}
    written = path.read_text()
    lines = written.splitlines(keepends=True)
    assert lines[-2] == f' "sha256": "{hashlib.sha256("".join(lines[:-2])[:-2].encode()).hexdigest()}"\n'
    for changed in (
        written.replace("0.5", "0.6"),
        written + " ",
        written.replace("sha256", "sha257"),
        written.replace('"seal"', '"sael"'),
        "".join([*lines[:-3], lines[-3].rstrip(",\n"), "\n}\n"]),  # without its last key
    ):
        path.write_text(changed)
        with pytest.raises(UserError, match=r"run\.json was changed after it was written"):
            read_json(path)
    path.write_text('{"id": "a"}')  # as earlier versions wrote it
    assert read_json(path) == {"id": "a"}
    with pytest.raises(ValueError, match="'sha256' is the seal's"):
        write_json(path, {"sha256": "x"})


def test_a_listed_file_is_that_of_its_list(tmp_path):
    path = tmp_path / "plan.csv"
    write_listed(path, "a,b\n1,2\n")
    require_listed(path)
    path.write_text("a,b\n1,3\n")
    with pytest.raises(UserError, match=r"plan\.csv is not the file that plan\.csv\.sha256 lists"):
        require_listed(path)
    (tmp_path / "plan.csv.sha256").unlink()  # as earlier versions left it
    require_listed(path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_disk_that_flushes_nothing_and_keeps_no_permissions_takes_results(tmp_path, monkeypatch, number):
    def lacking(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", lacking)
    monkeypatch.setattr(Path, "chmod", lacking)
    write_json(tmp_path / "a.json", {"a": 1})
    write_listed(tmp_path / "plan.csv", "a,b\n")
    assert read_json(tmp_path / "a.json") == {"a": 1}
    require_listed(tmp_path / "plan.csv")


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    for read in (read_json, sha256_of, require_listed):
        if read is require_listed:
            (tmp_path / "run.json.sha256").symlink_to("run.json")
        said = []
        reader = threading.Thread(target=lambda read=read, said=said: said.append(refusal(read, tmp_path / "run.json")))
        reader.daemon = True  # it would wait for ever
        reader.start()
        reader.join(5)
        assert said and "run.json" in said[0] and "a pipe" in said[0]


def refusal(read, path: Path) -> str:
    with pytest.raises(UserError) as error:
        read(path)
    return str(error.value)


def test_a_flush_that_fails_is_no_lack(tmp_path, monkeypatch):
    def failing(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(UserError, match=r"cannot write .*a\.json: Input/output error"):
        write_json(tmp_path / "a.json", {"a": 1})
    assert not list(tmp_path.iterdir())


def test_tensors_are_read_where_no_file_can_be_mapped(tmp_path):
    write_tensors(tmp_path / "w.safetensors", {"w": torch.arange(8.0)}, {"note": "x"})
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "w.safetensors").read_bytes()), daemon=True
    )
    writer.start()
    tensors, metadata = read_tensors(tmp_path / "pipe")
    assert torch.equal(tensors["w"], torch.arange(8.0)) and metadata == {"note": "x"}
