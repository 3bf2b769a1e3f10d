"""The datasets by name: options, labels, downloads from a server of the test's own, and the two verbs."""

import functools
import hashlib
import http.server
import io
import subprocess
import sys
import tarfile
import threading
import zipfile

import pytest
from tonic.datasets import CIFAR10DVS
from torchvision import datasets

from ternary_spike import UserError
from ternary_spike.cli import main
from ternary_spike.data import dvs, registry
from ternary_spike.data.prepared import read_manifest
from tests.helpers.datasets import DVS_CLASSES, write_cifar, write_dvs


def test_every_dataset_is_described():
    assert registry.names() == ("digits", "cifar10", "cifar100", "cifar10dvs", "imagenet")
    for name in registry.names():
        known = registry.describe(name)
        assert known.name == name
        assert next(iter(known.sources.values())) == known.label
        others = list(known.sources.values())[1:]
        assert known.label not in others
        assert set(known.downloadable) <= {kind for kind in known.sources if registry.root_of(name, kind)}
        for option in known.options.values():
            assert not option.choices or option.default in option.choices


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("mnist", None, {}), "unknown dataset 'mnist'; known are digits, cifar10"),
        (("cifar10", "tonic", {}), "unknown source 'tonic'; known are torchvision, jpeg-npz, subset"),
        (("cifar10", None, {"split": "x"}), "unknown option 'split'; known are none"),
        (("cifar10dvs", None, {"split": "x"}), "split is 'x', but must be one of last-tenth"),
        (("cifar10dvs", None, {"frames": "0"}), "frames is '0', but must be a whole number of at least 1"),
        (("cifar10dvs", None, {"frames": "ten"}), "frames is 'ten', but must be a whole number"),
        (("cifar10dvs", None, {"frames": True}), "frames is True, but must be a whole number"),
    ],
)
def test_unknown_names_and_values(tmp_path, arguments, problem):
    dataset, source, options = arguments
    for call in (
        lambda: registry.prepare(dataset, source, tmp_path, options, tmp_path / "out"),
        lambda: registry.availability(dataset, source, tmp_path, options),
    ):
        with pytest.raises(UserError) as error:
            call()
        assert problem in str(error.value)


def test_a_path_is_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"no path is set; set data\.cifar10\.root to the folder that holds train\.npz"):
        registry.prepare("cifar10", "jpeg-npz", None, {}, tmp_path)


def test_digits_are_always_there(tmp_path):
    assert registry.availability("digits", offline=True) is None
    manifest = registry.prepare("digits", None, None, None, tmp_path)
    assert {name: split["samples"] for name, split in manifest.splits.items()} == {"train": 1347, "test": 450}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that a server on this machine offers: (folder, its address, paths that were asked for)."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{served.server_address[1]}", asked
        served.shutdown()
        thread.join()


@pytest.fixture
def cifar(server, tmp_path, monkeypatch):
    """torchvision's CIFAR10 made to fetch a tiny archive from the server."""
    folder, address, asked = server
    source = tmp_path / "source"
    write_cifar(source, "cifar10", train=50, test=20)
    archive = folder / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source / "cifar-10-batches-py", "cifar-10-batches-py")
    sums = (source / "cifar-10-batches-py" / "md5sums.txt").read_text()
    md5s = dict(line.split("  ")[::-1] for line in sums.splitlines())
    reader = datasets.CIFAR10
    monkeypatch.setattr(reader, "url", f"{address}/{archive.name}")
    monkeypatch.setattr(reader, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(reader, "train_list", [[name, md5s[name]] for name, _ in reader.train_list])
    monkeypatch.setattr(reader, "test_list", [[name, md5s[name]] for name, _ in reader.test_list])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": md5s["batches.meta"]})
    return archive, asked


def test_cifar_is_downloaded_once_repaired_and_prepared(cifar, tmp_path, capfd):
    _, asked = cifar
    root, out = tmp_path / "root", tmp_path / "out"
    main(["download", "--dataset", "cifar10", "--root", str(root)])
    assert asked and "100%" in capfd.readouterr().err  # the progress bar
    fetched = len(asked)
    (root / "cifar-10-batches-py" / "data_batch_2").unlink()
    main(["download", "--dataset", "cifar10", "--root", str(root)])
    assert len(asked) == fetched  # unpacked again from the archive
    main(["prepare", "--dataset", "cifar10", "--root", str(root), "--out", str(out)])
    assert "CIFAR-10: 50 train + 20 test samples" in capfd.readouterr().out
    assert read_manifest(out).label == "CIFAR-10"


def test_a_damaged_download_is_one_line(cifar, tmp_path, capsys):
    archive, _ = cifar
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(SystemExit) as stopped:
        main(["download", "--dataset", "cifar10", "--root", str(tmp_path / "root")])
    error = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 2
    assert error.startswith("error: cifar10 could not be downloaded from http://127.0.0.1")
    assert error.endswith("on a machine with network access and room on its disk")
    assert registry.availability("cifar10", None, tmp_path / "root", offline=True) is not None


def member(name: str, **kind) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in kind.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member("../outside")],
        [member("cifar-10-batches-py/../../outside")],
        [member("link", type=tarfile.SYMTYPE, linkname=".."), member("link/outside")],
        [member("hard", type=tarfile.LNKTYPE, linkname="../secret")],
        [member("device", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
    ],
    ids=["up", "down and up", "by a symbolic link", "by a hard link", "a device"],
)
def test_an_archive_cannot_leave_its_folder(cifar, tmp_path, monkeypatch, members):
    archive, _ = cifar
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "secret").write_text("secret")
    with tarfile.open(archive, "w:gz") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO())
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    with pytest.raises(UserError, match="cifar10 could not be downloaded"):
        registry.download("cifar10", tmp_path / "below" / "root")
    assert sorted(path.name for path in (tmp_path / "below").iterdir()) == ["root", "secret"]
    assert {path.name for path in (tmp_path / "below" / "root").iterdir()} <= {archive.name, "link"}
    with pytest.raises(UserError):
        registry.prepare("cifar10", None, tmp_path / "below" / "root", {}, tmp_path / "out")


def test_no_network_is_one_line(cifar, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/x.tar.gz")
    with pytest.raises(UserError, match=r"could not be downloaded .*refused"):
        registry.download("cifar10", tmp_path / "root")


@pytest.mark.parametrize("dataset", ["digits", "imagenet"])
def test_what_has_no_download_says_what_to_do(dataset, tmp_path):
    with pytest.raises(UserError, match=f"{dataset} has no download: "):
        registry.download(dataset, tmp_path)


def test_cifar10dvs_is_downloaded_and_a_cut_off_unpacking_repaired(server, tmp_path, monkeypatch):
    folder, address, asked = server
    source, root = tmp_path / "source", tmp_path / "root"
    write_dvs(source, 2)
    archive = folder / "CIFAR10DVS.zip"
    with zipfile.ZipFile(archive, "w") as outer:
        for name in DVS_CLASSES:
            inner = tmp_path / f"{name}.zip"
            with zipfile.ZipFile(inner, "w") as zipped:
                for path in (source / "CIFAR10DVS" / name).iterdir():
                    zipped.write(path, f"{name}/{path.name}")
            outer.write(inner, inner.name)
    monkeypatch.setattr(dvs, "RECORDINGS", 2)
    monkeypatch.setattr(CIFAR10DVS, "url", f"{address}/{archive.name}")
    monkeypatch.setattr(CIFAR10DVS, "file_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    registry.download("cifar10dvs", root)
    fetched = len(asked)
    for path in (root / "CIFAR10DVS" / "truck").iterdir():
        path.unlink()
    assert "truck" in registry.availability("cifar10dvs", None, root, offline=True)
    registry.download("cifar10dvs", root)
    cut_off = root / "CIFAR10DVS" / "ship" / "cifar10_ship_1.aedat4"
    content = cut_off.read_bytes()
    cut_off.write_bytes(b"")
    registry.download("cifar10dvs", root)
    assert cut_off.read_bytes() == content
    assert fetched and len(asked) == fetched
    assert registry.prepare("cifar10dvs", None, root, {}, tmp_path / "out").label == "CIFAR10-DVS"


def test_the_verb_takes_options_and_refuses_unknown_ones(tmp_path, capsys):
    write_dvs(tmp_path, 2)
    common = ["prepare", "--dataset", "cifar10dvs", "--source", "subset", "--root", str(tmp_path), "--out"]
    main([*common, str(tmp_path / "out"), "--option", "frames=4", "--option", "slicing=time"])
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.frames, manifest.source["slicing"]) == (4, "time")
    with pytest.raises(SystemExit) as stopped:
        main([*common, str(tmp_path / "other"), "--option", "frame=4"])
    assert stopped.value.code == 2
    assert "unknown option 'frame'; known are split" in capsys.readouterr().err


def test_a_path_may_name_an_environment_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("PICTURES", raising=False)
    for root in ("$PICTURES/copy", "${PICTURES}/copy"):
        reason = registry.availability("cifar10", "jpeg-npz", root)
        assert reason.startswith(
            "cifar10: the environment variable PICTURES, which data.cifar10.root names, is not set;"
        )
        with pytest.raises(UserError, match="PICTURES"):
            registry.prepare("cifar10", "jpeg-npz", root, None, tmp_path / "out")
        with monkeypatch.context() as there:
            there.setenv("PICTURES", str(tmp_path))
            assert str(tmp_path / "copy") in registry.availability("cifar10", "jpeg-npz", root)


def test_asking_what_there_is_does_not_wait_for_torch():
    code = """
import sys
from ternary_spike.data import registry
for name in registry.names():
    registry.describe(name)
    registry.is_original(name, "subset" if name != "digits" else "scikit-learn")
registry.availability("digits")
registry.availability("imagenet", None, "/nowhere")
sys.exit(any(name in sys.modules for name in ("torch", "numpy", "pandas")))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
