"""A report carries what its numbers come from: its own files one by one, those of kept sets mostly in an archive."""

import zipfile

import pytest

from ternary_spike import claims
from ternary_spike.report.copied_files import copy_files
from ternary_spike.report.reference import kept
from ternary_spike.report.results import Results
from ternary_spike.tables import collect
from tests.report import fixture


def collected(folder):
    tables = collect.tables(collect.read_plan(fixture.demo(folder)), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    return folder


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """Results, a kept set, and what a report of them carries; one of its files was there before and is stale."""
    folder = tmp_path_factory.mktemp("copied")
    own, other = collected(folder / "own"), collected(folder / "kept/other")
    (folder / "files/runs/gone/seed0").mkdir(parents=True)
    (folder / "files/runs/gone/seed0/run.json").write_text("of a run that the plan no longer has")
    (other / "runs/digits-resnet8-T2-binary/seed0/weights.safetensors").write_bytes(b"large")
    copy_files(Results(own), kept(folder / "kept"), {"neuron.csv": own / "plan.csv"}, folder / "files")
    return folder


def test_the_preset_s_files_stand_there_one_by_one_and_stale_ones_go(carried):
    runs = sorted(path.relative_to(carried / "own") for path in (carried / "own/runs").rglob("*") if path.is_file())
    assert len(runs) > 50
    for path in runs:
        assert (carried / "files" / path).read_bytes() == (carried / "own" / path).read_bytes()
    assert (carried / "files/tables/summary.csv").exists() and (carried / "files/bench/neuron.csv").exists()
    assert not (carried / "files/runs/gone").exists()


def test_a_kept_set_s_records_stand_there_and_the_rest_is_in_its_archive(carried):
    place, source = carried / "files/reference/other", carried / "kept/other"
    assert {path.name for path in (place / "runs").rglob("*") if path.is_file()} == {"run.json"}
    assert (place / "tables/runs.csv").read_bytes() == (source / "tables/runs.csv").read_bytes()
    with zipfile.ZipFile(place / "runs.zip") as archive:
        names = archive.namelist()
        expected = [path for path in (source / "runs").rglob("*") if path.is_file() and path.suffix != ".safetensors"]
        assert names == sorted(path.relative_to(source).as_posix() for path in expected)
        assert all(archive.read(name) == (source / name).read_bytes() for name in names)
    assert (place / "runs.zip").stat().st_size < 0.3 * sum(path.stat().st_size for path in expected)


def test_the_same_files_make_the_same_archive(carried, tmp_path):
    copy_files(Results(carried / "own"), kept(carried / "kept"), {}, tmp_path)
    again = (tmp_path / "reference/other/runs.zip").read_bytes()
    assert again == (carried / "files/reference/other/runs.zip").read_bytes()
