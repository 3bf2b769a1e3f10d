"""The verb `archive`: what is packed, what is refused, what a check finds."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ternary_spike.archiving import check
from ternary_spike.archiving.packing import pack
from ternary_spike.cli import main
from ternary_spike.report.figures import figure, subplots
from ternary_spike.report.results import READ, Results
from ternary_spike.system.files import read_json, write_json
from tests.archiving.conftest import KEPT, git, give_weights

PRESET = Path("results/small")


@pytest.fixture(scope="session")
def packed(made, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "small.zip"
    pack(made / PRESET, out, "trained", made)
    return out


def a_run(clone: Path) -> Path:
    """A run of ternary spikes: of the files that a run may have, it has them all."""
    return sorted((clone / PRESET / "runs").glob("*-ternary-auto*/seed0/energy.json"))[0].parent


def refused(capsys, *words: str | Path) -> str:
    """The one line that a call of the verb ends with."""
    with pytest.raises(SystemExit) as ended:
        main(["archive", *map(str, words)])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def rewritten(archive: Path, out: Path, changes: dict[str, bytes | None], sums: bool = False) -> Path:
    """An archive with other content under some names, or without them; with a list of checksums to match if asked."""
    with zipfile.ZipFile(archive) as source:
        contents = {name: source.read(name) for name in source.namelist()} | changes
    contents = {name: content for name, content in contents.items() if content is not None}
    if sums:
        lines = (
            f"{hashlib.sha256(content).hexdigest()}  {name}\n"
            for name, content in contents.items()
            if name != check.SUMS and not name.endswith("/")
        )
        contents[check.SUMS] = "".join(lines).encode()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in contents.items():
            target.writestr(name, content)
    return out


def graph(archive: Path) -> dict[str, dict]:
    with zipfile.ZipFile(archive) as file:
        return {entity["@id"]: entity for entity in json.loads(file.read(check.METADATA))["@graph"]}


# what is packed --------------------------------------------------------------------------------------


def test_results_code_and_what_people_need_are_in_it_and_nothing_that_is_not_for_others(made, packed):
    commit = git(made, "rev-parse", "HEAD")
    with zipfile.ZipFile(packed) as file:
        names = set(file.namelist())
    assert {"README.md", "LICENSE", "CITATION.cff", "SHA256SUMS", "zenodo.json", "environment.json"} <= names
    assert {f"code/{commit}/{path}" for path in git(made, "ls-files").splitlines()} <= names
    for path in (made / PRESET).rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            assert path.relative_to(made).as_posix() in names
    assert not [name for name in names if Path(name).name.startswith(".snakemake")]


def test_the_same_input_gives_the_same_bytes(made, packed, tmp_path):
    for path in (made / PRESET).rglob("*.json"):
        path.touch()
    pack(made / PRESET, tmp_path / "again.zip", "trained", made)
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_it_verifies_itself_where_nothing_is_installed(packed, tmp_path):
    moved = Path(shutil.copy(packed, tmp_path / "moved.zip"))
    # -I -S: no package of this environment, no module of this folder
    done = subprocess.run([sys.executable, "-I", "-S", moved], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trained = len(list(KEPT.glob("runs/*/*/run.json")))
    assert f"{moved}: whole; " in done.stdout and f" {trained} runs, " in done.stdout
    with zipfile.ZipFile(moved) as file:
        file.extractall(tmp_path / "unpacked")
    sums = ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"]
    assert subprocess.run(sums, cwd=tmp_path / "unpacked").returncode == 0


def test_every_table_with_runs_names_them_with_their_seeds(made, packed):
    entities = graph(packed)
    for path in (made / PRESET / "tables").glob("*.csv"):
        sources = entities[path.relative_to(made).as_posix()].get("isBasedOn", [])
        sources = {source["@id"] for source in (sources if isinstance(sources, list) else [sources])}
        text = path.read_text()
        runs = sorted((made / PRESET / "runs").glob("*/seed*"))
        expected = {f"{run.relative_to(made).as_posix()}/" for run in runs if f"{run.parent.name}," in text}
        if path.name in ("history.csv", "runs.csv", "summary.csv"):
            assert sources == expected, path
        assert sources <= {f"{run.relative_to(made).as_posix()}/" for run in runs}
    # a table that has rows of single seeds names these alone
    with (made / PRESET / "tables/execution.csv").open() as file:
        named = {f"{PRESET}/runs/{row['id']}/seed{row['seed']}/" for row in csv.DictReader(file)}
    assert {source["@id"] for source in entities[f"{PRESET}/tables/execution.csv"]["isBasedOn"]} == named


def test_every_run_says_what_made_it(made, packed):
    entities = graph(packed)
    for path in (made / PRESET / "runs").glob("*/seed*/run.json"):
        origin = read_json(path)["provenance"]
        action = entities[f"#training-{path.parents[1].name}-{path.parent.name}"]
        assert action["instrument"]["@id"] == f"code/{origin['commit']}/"
        changed = " (files differed from the commit; what they were is not known)" if origin["dirty"] else ""
        assert action["description"] == " ".join(origin["command"]) + changed
        assert (action["startTime"], action["endTime"]) == (origin["started"], origin["finished"])
        assert action["result"]["@id"] == f"{path.parent.relative_to(made).as_posix()}/"


def test_a_figure_names_the_runs_that_its_notebook_read(clone, tmp_path):
    READ.clear()
    results = Results(clone / PRESET)
    runs = results.table("runs")
    done = runs[runs["last_epoch_percent"].notna()]
    drawn, _ = subplots(1, 1)
    figure(results, drawn, "all", "alt", "caption")
    figure(results, drawn, "one", "alt", "caption", done[:1])
    READ.clear()
    figure(results, drawn, "no-runs", "alt", "caption")
    old = clone / PRESET / "figures/old.svg"
    old.write_text("<svg></svg>")
    pack(clone / PRESET, tmp_path / "figures.zip", "none", clone)
    entities = graph(tmp_path / "figures.zip")
    places = {f"{PRESET}/runs/{run}/seed{seed}/" for run, seed in zip(done["id"], done["seed"], strict=True)}
    one = {place for place in places if place.split("/")[3] == done["id"].iloc[0]}

    def sources(name: str) -> set[str]:
        found = entities[f"{PRESET}/figures/{name}"].get("isBasedOn", [])
        return {source["@id"] for source in (found if isinstance(found, list) else [found])}

    for kind in ("svg", "pdf"):
        assert sources(f"all.{kind}") == places and sources(f"one.{kind}") == one and not sources(f"no-runs.{kind}")
    assert (
        sources("old.svg") == places and "did not note the runs" in entities[f"{PRESET}/figures/old.svg"]["description"]
    )


@pytest.mark.parametrize(
    "weights, there, said",
    [
        ("none", set(), "no weights are in it; 2 files of networks were left out"),
        ("trained", {"weights.safetensors"}, "(weights.safetensors of each run): 1 files, 0.0 MB; 1 files"),
        ("all", {"weights.safetensors", "folded.safetensors"}, "ONNX files made of them: 2 files, 0.0 MB"),
    ],
)
def test_it_says_which_weights_are_in_it(clone, tmp_path, capsys, weights, there, said):
    give_weights(a_run(clone))
    out = tmp_path / "weights.zip"
    main(["archive", str(clone / PRESET), "--weights", weights, "--out", str(out), "--repository", str(clone)])
    printed = capsys.readouterr().out
    with zipfile.ZipFile(out) as file:
        assert {Path(name).name for name in file.namelist() if name.endswith(".safetensors")} == there
        readme = file.read("README.md").decode()
    assert said in printed and said in readme and said in graph(out)["./"]["description"]


def test_what_the_configuration_names_outside_of_the_code_is_packed_too(clone, tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text("id\n")
    settings = {"experiments": "table.csv", "recipes": "config/recipes", "plugins": []}
    (clone / PRESET / "config.json").write_text(json.dumps(settings))
    monkeypatch.chdir(tmp_path)
    pack(clone / PRESET, tmp_path / "settings.zip", "none", clone)
    with zipfile.ZipFile(tmp_path / "settings.zip") as file:
        outside = [name for name in file.namelist() if name.startswith("configuration/") and not name.endswith("/")]
    assert outside == ["configuration/table.csv"]


# what is refused -------------------------------------------------------------------------------------


def damage_history(clone: Path) -> str:
    path = a_run(clone) / "history.csv"
    path.write_text(path.read_text().replace("1", "2", 1))
    return str(path)


def damage_record(clone: Path) -> str:
    path = a_run(clone) / "evaluation.json"
    path.write_text(path.read_text().replace("1", "2", 1))
    return str(path)


def damage_table(clone: Path) -> str:
    path = clone / PRESET / "tables/summary.csv"
    path.write_text(path.read_text().replace("1", "2", 1))
    return str(path)


def other_training(clone: Path) -> str:
    path = a_run(clone) / "energy.json"
    write_json(path, read_json(path) | {"trained_weights": "0" * 64})
    return f"{path} is of another training"


def a_run_is_gone(clone: Path) -> str:
    gone = a_run(clone)
    shutil.rmtree(gone)
    return f"{gone / 'run.json'} is missing, which"


def no_such_commit(clone: Path) -> str:
    path = a_run(clone) / "run.json"
    record = read_json(path)
    record["provenance"]["commit"] = "1" * 40
    write_json(path, record)
    return "commit " + "1" * 40


def no_commit_but_an_option(clone: Path) -> str:
    path = a_run(clone) / "run.json"
    record = read_json(path)
    record["provenance"]["commit"] = f"--output={clone / 'LICENSE'}\x1b[2J"
    write_json(path, record)
    return "as its commit, which is none"


def changed_code(clone: Path) -> str:
    with (clone / "LICENSE").open("a") as file:
        file.write("\n")
    return f"{clone}: LICENSE differ"


def no_tables(clone: Path) -> str:
    shutil.rmtree(clone / PRESET / "tables")
    return "has no tables yet"


SPOILT = (damage_history, damage_record, damage_table, other_training, a_run_is_gone)


@pytest.mark.parametrize("spoil", [*SPOILT, no_such_commit, no_commit_but_an_option, changed_code, no_tables])
def test_what_would_not_hold_is_refused_in_one_line_and_nothing_is_written(clone, tmp_path, capsys, spoil):
    expected = spoil(clone)
    line = refused(capsys, clone / PRESET, "--out", tmp_path / "no.zip", "--repository", clone)
    assert line.startswith("error: ") and expected in line, line
    assert not list(tmp_path.glob("*no.zip*"))


def test_a_preset_that_is_not_there_is_named_with_those_that_are(made, capsys):
    line = refused(capsys, made / "results/smal", "--repository", made)
    assert f"{made}/results/smal is no folder of results" in line and "there are small" in line


def test_an_archive_is_never_overwritten(made, packed, capsys):
    before = packed.read_bytes()
    line = refused(capsys, made / PRESET, "--out", packed, "--repository", made)
    assert f"{packed} is there already" in line and packed.read_bytes() == before


def test_code_that_belongs_to_no_clone_cannot_be_packed(made, tmp_path, capsys):
    line = refused(capsys, made / PRESET, "--out", tmp_path / "no.zip", "--repository", tmp_path)
    assert f"{tmp_path} is no clone of this repository" in line and "--repository" in line


# what a check finds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", f"{PRESET}/tables/runs.csv", "ro-crate-metadata.json", "SHA256SUMS"])
def test_a_damaged_byte_is_found_and_its_file_named(packed, tmp_path, capsys, name):
    content = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as file:
        info = file.getinfo(name)
    start = info.header_offset + 30 + len(info.filename)
    content[start + info.compress_size // 2] ^= 1
    (tmp_path / "damaged.zip").write_bytes(content)
    line = refused(capsys, "--check", tmp_path / "damaged.zip")
    assert f"{tmp_path}/damaged.zip: " in line and name in line


@pytest.mark.parametrize("keep", [0, 100, -1, -5000])
def test_a_part_of_an_archive_is_refused(packed, tmp_path, capsys, keep):
    (tmp_path / "part.zip").write_bytes(packed.read_bytes()[:keep])
    assert "part.zip" in refused(capsys, "--check", tmp_path / "part.zip")


@pytest.mark.parametrize(
    "changes, found",
    [
        ({"README.md": None}, "README.md is missing"),
        ({"README.md": b"other"}, "README.md is not the file that was packed"),
        ({"more.txt": b""}, "more.txt is not in its SHA256SUMS"),
        ({"../outside.txt": b""}, "'../outside.txt' is no name"),
        ({"SHA256SUMS": None}, "no archive that `archive` made"),
    ],
    ids=["removed", "replaced", "added", "outside", "no sums"],
)
def test_files_removed_replaced_or_added_are_named(packed, tmp_path, changes, found):
    with pytest.raises(check.Damaged, match=found.replace("(", r"\(")):
        check.check(rewritten(packed, tmp_path / "changed.zip", changes))


def test_metadata_that_do_not_name_a_tables_runs_are_found_even_if_the_checksums_hold(packed, tmp_path):
    with zipfile.ZipFile(packed) as file:
        metadata = json.loads(file.read(check.METADATA))
    for entity in metadata["@graph"]:
        if entity["@id"] == f"{PRESET}/tables/summary.csv":
            del entity["isBasedOn"]
        if entity["@id"] == f"{PRESET}/tables/runs.csv":
            entity["isBasedOn"] = {"@id": "results/small/runs/another/seed0/"}
    changed = rewritten(packed, tmp_path / "unnamed.zip", {check.METADATA: json.dumps(metadata).encode()}, sums=True)
    with pytest.raises(check.Damaged, match=r"runs\.csv came from .*another.*which runs .*summary\.csv came from"):
        check.check(changed)


def test_a_check_needs_neither_torch_nor_the_library_that_writes_metadata(packed):
    code = (
        "import sys; from ternary_spike.cli import main; main(['archive', '--check', sys.argv[1]]); "
        "sys.exit(any(name in sys.modules for name in ('rocrate', 'torch', 'pandas', 'yaml')))"
    )
    done = subprocess.run([sys.executable, "-c", code, packed], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
