"""What the README shows is what runs."""

import csv
import re
import subprocess
import sys
from pathlib import Path

from ternary_spike.report.reference import kept
from ternary_spike.report.scale import scale_leads, scale_runs, trend
from ternary_spike.report.show import decimal

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# the neurons alone must need none of these
WORKFLOW_PACKAGES = (
    "pandas",
    "torchvision",
    "tonic",
    "sklearn",
    "snakemake",
    "safetensors",
    "yaml",
    "matplotlib",
    "onnx",
)


def test_the_librarys_lines_run_with_torch_alone():
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    forbid = f"import sys\nfor name in {WORKFLOW_PACKAGES!r}:\n    sys.modules[name] = None  # its import then fails\n"
    check = "\nassert spikes.shape == current.shape and set(spike.detach().unique().tolist()) == {-1.0, 0.0, 1.0}\n"
    check += "assert neuron.amplitude.grad is not None\n"
    done = subprocess.run([sys.executable, "-c", forbid + block + check], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


def test_it_is_short_and_says_what_this_is_in_its_first_lines():
    lines = README.splitlines()
    assert len(lines) <= 120
    first = " ".join(lines[2:5])
    assert all(word in first for word in ("spiking neurons", "library", "reproduction of the paper"))
    assert len(re.findall(r"^!\[", README, flags=re.M)) == 1


def test_what_it_says_of_prior_methods_is_what_the_files_say():
    with (ROOT / "results/reference/rivals-digits/tables/rivals.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] and row["verdict"]]
    assert {(row["timesteps"], row["n"]) for row in rows} == {("2", "3")}
    combined = sum(row["kind"] == "combination" for row in rows)
    above, below, open_ = (
        sum(row["verdict"].startswith(word) for row in rows) for word in ("above", "below", "not decided")
    )
    assert above + below + open_ == len(rows)
    said = (
        f"of {len(rows)} rows of prior methods, {combined} of them combined with ternary spikes, {above} are above the "
    )
    said += f"ternary spike, {below} below and {open_} not decided"
    assert said in " ".join(README.split())


def test_the_lead_on_real_pictures_is_what_the_files_say():
    with (ROOT / "results/reference/rivals-w16/tables/rivals.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file) if row["neuron"] == "binary" and not row["method"]}
    leads = [
        f"+{-float(row['difference_points']):.2f} ± {float(row['interval_points']):.2f}"
        for row in (rows[""], rows["wide_window"])
    ]
    assert all(rows[name]["n"] == "3" for name in ("", "wide_window"))
    assert f"ternary spikes are {leads[0]} points above binary ones, and {leads[1]} above binary ones" in " ".join(
        README.split()
    )


def test_what_it_says_of_prior_methods_on_real_pictures_is_what_the_files_say():
    with (ROOT / "results/reference/rivals-w16/tables/rivals.csv").open() as file:
        rows = list(csv.DictReader(file))
    repeated = [row for row in rows if row["kind"] in ("prior", "combination") and row["verdict"] and row["n"] in "23"]
    counted = [sum(row["verdict"].startswith(word) for row in repeated) for word in ("above", "below", "not decided")]
    assert sum(counted) == len(repeated)
    (ternary,) = [row for row in rows if row["kind"] == "paper" and row["neuron"] == "ternary"]
    t32, t128 = (
        next(row for row in rows if row["timesteps"] == str(steps) and row["neuron"] == "if") for steps in (32, 128)
    )
    reached = [f"{float(row['last_epoch_mean_percent']):.2f}" for row in (t128, ternary, t32)]
    more = [
        f"{float(t128[column]) / float(ternary[column]):.1f}"
        for column in ("synops_mean_per_image", "energy_mean_microjoule")
    ]
    said = (
        "Of {} rows of prior methods that have two or three seeds there, {} are above the ternary spike, {} below and "
        "{} not decided. A converted network takes 128 timesteps to pass it ({} % beside {} %, one seed; {} % with "
        "32), with {} times the additions and {} times the energy by the paper's formula."
    )
    assert said.format(len(repeated), *counted, *reached, *more) in " ".join(README.split())
    assert t128["n"] == "1" and float(reached[0]) > float(reached[1]) > float(reached[2])


def test_the_lead_with_a_gradient_of_the_same_shape_is_what_the_files_say():
    with (ROOT / "results/reference/rivals-w16/tables/differences.csv").open() as file:
        (row,) = [row for row in csv.DictReader(file) if row["question"] == "same option" and "triangle" in row["id"]]
    points, half = float(row["difference_points"]), float(row["interval_points"])
    said = f"ternary spikes are {decimal(points, 2, sign=True)} ± {half:.2f} points above binary ones, which is no lead"
    assert points - half < 0 and said in " ".join(README.split())


def test_where_the_lead_points_with_scale_is_what_the_files_say():
    leads = scale_leads(scale_runs(kept(ROOT / "results/reference"))).query("base == 'binary'")
    width, epochs = (trend(leads[leads["axis"] == axis]) for axis in ("width", "epochs"))
    changes = [f"{decimal(found.points, 2, sign=True)} ± {found.half:.2f}" for found in (width, epochs)]
    (widest,) = leads[leads["axis"] == "width"].query("value == @width.last").to_dict("records")
    reached = f"{decimal(widest['difference_points'], 2, sign=True)} ± {widest['interval_points']:.2f}"
    said = (
        f"From width {width.first} to {width.last} the lead changes by {changes[0]} points, to {reached}: it "
        f"{width.word} with width at this scale. From {epochs.first} to {epochs.last} epochs at width 8 it changes by "
        f"{changes[1]}, which is within its interval"
    )
    assert said in " ".join(README.split()) and abs(epochs.points) <= epochs.half


def test_links_and_pictures_exist():
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in t]
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w[\w-]*)", README, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_tests_that_the_makefile_names_are_there():
    shown = subprocess.run(
        ["make", "--dry-run", "test-versions", "READY=", "TORCH_VERSIONS=2.10"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    named = set(re.findall(r"tests/[\w/]+(?:\.py)?", shown.stdout))
    assert {"tests/membrane", "tests/neurons/test_lif.py"} <= named, shown.stderr
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_files_that_the_documents_name_are_there():
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "config").rglob("*.md")]
    missing = [
        f"{document.relative_to(ROOT)}: {name}"
        for document in documents
        for name in re.findall(
            r"(?<!\w/)(?:lib/ternary_spike|workflow|tests|config|notebooks)/[\w/.]+\.\w+", document.read_text()
        )
        if not (ROOT / name).exists()
    ]
    assert missing == []
