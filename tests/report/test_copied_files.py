"""A report carries what its numbers come from: what pages link to by itself, the rest in archives."""

import os
import tarfile

import pytest

from ternary_spike import claims
from ternary_spike.report.copied_files import copy_files
from ternary_spike.report.figures import framed
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
    files = (("figures/a<b.svg", "<svg></svg>"), ("figures/gone.svg", "<svg></svg>"), ("notebooks/page.ipynb", "{}"))
    for name, content in files:
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_text(content)
    (other / "runs/digits-resnet8-T2-binary/seed0/weights.safetensors").write_bytes(b"large")
    table = '<a href="files/reference/other/tables/claims.csv">claims.csv</a>'
    pages = ["no figure", framed("<svg></svg>", "a<b", "of a page"), table]
    copy_files(Results(own), kept(folder / "kept"), {"neuron.csv": own / "plan.csv"}, folder / "files", pages)
    return folder


def files_of(place, archive: str) -> dict[str, bytes]:
    with tarfile.open(place / archive) as opened:
        return {name: opened.extractfile(name).read() for name in opened.getnames()}


def small_files(source) -> list:
    return [path for path in (source / "runs").rglob("*") if path.is_file() and path.suffix != ".safetensors"]


def test_the_preset_s_records_tables_and_figures_stand_there_and_stale_files_go(carried):
    place, source = carried / "files", carried / "own"
    assert {path.name for path in (place / "runs").rglob("*") if path.is_file()} == {"run.json"}
    for record in (place / "runs").rglob("run.json"):
        assert record.read_bytes() == (source / record.relative_to(place)).read_bytes()
    assert (place / "tables/summary.csv").exists() and (place / "bench/neuron.csv").exists()
    assert [path.name for path in (place / "figures").iterdir()] == ["a<b.svg"]  # no page shows the other one
    assert not (place / "runs/gone").exists()


def test_all_that_runs_left_is_in_one_archive_and_notebooks_in_another(carried):
    place, source = carried / "files", carried / "own"
    expected = small_files(source)
    assert len(expected) > 50
    assert files_of(place, "runs.tar.xz") == {
        path.relative_to(source).as_posix(): path.read_bytes() for path in expected
    }
    assert files_of(place, "notebooks.tar.xz") == {"page.ipynb": b"{}"}


def test_a_kept_set_s_records_and_linked_tables_stand_there_and_all_of_it_is_in_its_archive(carried):
    place, source = carried / "files/reference/other", carried / "kept/other"
    assert {path.name for path in place.rglob("*") if path.is_file()} == {"run.json", "set.tar.xz", "claims.csv"}
    assert (place / "tables/claims.csv").read_bytes() == (source / "tables/claims.csv").read_bytes()
    expected = [*small_files(source), *(source / "tables").glob("*.csv")]
    found = files_of(place, "set.tar.xz")
    assert found == {path.relative_to(source).as_posix(): path.read_bytes() for path in expected}
    assert list(found) == sorted(found)


def test_the_report_of_a_kept_set_has_that_set_s_files_once(carried, tmp_path):
    copy_files(Results(carried / "kept/other"), kept(carried / "kept"), {}, tmp_path, [])
    archives = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.tar.xz")}
    assert archives == {"runs.tar.xz"}
    # pages of kept sets link to their records
    records = [path.relative_to(tmp_path / "reference/other") for path in tmp_path.glob("reference/other/**/run.json")]
    assert records and all((tmp_path / record).is_file() for record in records)


def test_a_run_costs_the_report_little_more_than_its_record(carried):
    """A report of hundreds of runs is one that can be sent: with `make rivals` a run takes 8 kB of it, pages aside."""
    place = carried / "files"
    records = list((place / "runs").rglob("run.json"))
    size = sum(path.stat().st_size for path in records) + (place / "runs.tar.xz").stat().st_size
    assert size < len(records) * 8000 and size < 0.3 * sum(len(c) for c in files_of(place, "runs.tar.xz").values())


def test_the_same_files_make_the_same_archives(carried, tmp_path):
    copy_files(Results(carried / "own"), kept(carried / "kept"), {}, tmp_path, [])
    for name in ("reference/other/set.tar.xz", "runs.tar.xz", "notebooks.tar.xz"):
        assert (tmp_path / name).read_bytes() == (carried / "files" / name).read_bytes()


def test_an_archive_of_other_files_or_none_at_all_is_written_anew_and_one_of_the_same_is_left(carried, tmp_path):
    def copied() -> dict[str, bytes]:
        copy_files(Results(carried / "own"), kept(carried / "kept"), {}, tmp_path, [])
        return files_of(tmp_path, "runs.tar.xz")

    expected = copied()
    archive = tmp_path / "runs.tar.xz"
    first = archive.read_bytes()
    os.utime(archive, ns=(1, 1))
    assert copied() == expected and archive.stat().st_mtime_ns == 1
    for damaged in (first[:-100], b"", b"no archive", (tmp_path / "notebooks.tar.xz").read_bytes()):
        archive.write_bytes(damaged)
        assert copied() == expected
    page = carried / "own/notebooks/page.ipynb"
    page.write_text('{"changed": 1}')
    try:
        copied()
        assert files_of(tmp_path, "notebooks.tar.xz") == {"page.ipynb": b'{"changed": 1}'}
    finally:
        page.write_text("{}")
