"""Published methods from the run table to the report: a network, what is made of it, and what learns from that."""

import re
from html import unescape

import pytest
import yaml

from ternary_spike import claims
from ternary_spike.cli import main
from ternary_spike.configuration import run_table
from ternary_spike.planning import plan, plan_file
from ternary_spike.report.site import build
from ternary_spike.system.files import read_json
from ternary_spike.tables import collect
from tests.cli.test_verbs import RECIPE
from tests.helpers.sheets import sheet, training_alone, write_sheet
from tests.helpers.tiny import prepare_tiny
from tests.workflow.running import REPOSITORY, copied, smoke

HEAD = "dataset,architecture,timesteps,neuron,method,own_recipe,variant,neuron_options,recipe,seeds,"
HEAD += "tables,control,source,method_options\n"
ROWS = """tiny,resnet6w4,2,relu,,,,,tiny,0,,false,,
tiny,resnet6w4,2,binary,,,,,tiny,0,2,false,,
tiny,resnet6w4,2,ternary,converted,,,,tiny,0,,false,tiny-resnet6w4-T2-relu,
tiny,resnet6w4,2,,each_step,,,,tiny,0,2,false,,
tiny,resnet6w4,2,ternary,each_step,false,wider,,tiny,0,2,false,,margin=0.75
tiny,resnet6w4,2,ternary,taught,,,,tiny,1,,false,tiny-resnet6w4-T2-ternary-converted,
"""
CONVERTED = training_alone("Converted", "Converted") | {"recipe": {"epochs": 0}}
CONVERTED["sources"] = CONVERTED["sources"] | {"recipe.epochs": "paper: nothing is trained"}


def write_sheets(folder):
    write_sheet(folder, "each_step", sheet())
    write_sheet(folder, "converted", CONVERTED)
    write_sheet(folder, "taught", training_alone("Taught", "Teacher"))


def words_of(run, folder, data):
    """The command line that the rule `train` makes of a run."""
    out, sheets = folder / "runs" / run.folder, folder / "methods"
    words = ["train", "--id", run.id, "--seed", run.seed, "--data", data, "--recipe", folder / "tiny.yaml"]
    words += ["--architecture", run.architecture, "--neuron", run.neuron, "--timesteps", run.timesteps]
    words += ["--keep-recipe"] if run.method and not run.method.own_recipe else []
    words += ["--method-sheet", sheets / run.method.path.name] if run.method else []
    changed = run.method.changed if run.method else {}
    for option, values in (
        ("--neuron-option", run.given_options), ("--method-option", changed), ("--set", run.changes)
    ):  # fmt: skip
        words += [word for key, value in values.items() for word in (option, f"{key}={value}")]
    words += ["--source", folder / "runs" / run.source_folder] if run.source_folder else []
    words += ["--device", "cpu", "--threads", "1", "--checkpoints", folder / "checkpoints" / run.folder, "--out", out]
    return [str(word) for word in words]


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """The runs of a small table, trained in the order in which they build on each other, with all their tables."""
    folder = tmp_path_factory.mktemp("results")
    data = prepare_tiny(folder / "data")
    (folder / "table.csv").write_text(HEAD + ROWS)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE | {"epochs": 1}))
    write_sheets(folder / "methods")
    rows = run_table.read_experiments(folder / "table.csv", folder / "methods")
    sources = {"tiny": plan.DataSource("tiny", "test")}
    runs = plan.make_plan(rows, plan.Selection(), sources, folder, {}, lambda source: None)
    for run in runs:
        main(words_of(run, folder, data))
        at = folder / "runs" / run.folder
        words = ["--run", str(at), "--data", str(data), "--device", "cpu", "--threads", "1"]
        main(["evaluate", *words, "--out", str(at / "evaluation.json")])
    plan_file.write_rows(folder / "plan.csv", [run.row() for run in runs])
    tables = collect.tables(collect.read_plan(folder / "plan.csv"), folder)
    collect.write_tables(tables | {"claims": claims.judge(tables)}, folder / "tables")
    return folder, tables


def record_of(folder, name, seed=0):
    return read_json(folder / "runs" / name / f"seed{seed}" / "run.json")


def test_the_record_says_which_method_by_which_values(preset):
    folder, _ = preset
    record = record_of(folder, "tiny-resnet6w4-T2-binary-each_step")
    assert record["sheet"]["label"] == "Each Step (partly)" and record["sheet"]["filled_in"] == ["the margin"]
    assert record["method"].endswith(":AtEachTimestep") and record["method_options"] == {"margin": 0.5}
    assert record["model"]["neuron_options"] == {"threshold": 1.0, "surrogate": "triangle"}
    assert (record["recipe"]["momentum"], record["recipe"]["weight_decay"]) == (0.5, 1e-4)
    assert record["changed"] == {}  # the method's changes are no shortening
    assert record_of(folder, "tiny-resnet6w4-T2-binary")["sheet"] is None


def test_a_run_whose_row_leaves_the_method_s_recipe_out_has_the_row_s(preset):
    folder, _ = preset
    name = "tiny-resnet6w4-T2-ternary-each_step-row_recipe-wider"
    record = record_of(folder, name)
    assert (record["recipe"]["momentum"], record["recipe"]["weight_decay"]) == (0.9, 1e-4)
    assert record["method"].endswith(":AtEachTimestep") and record["method_options"] == {"margin": 0.75}
    assert record["sheet"]["recipe"] == {} and record["sheet"]["own_recipe"] is False
    assert record_of(folder, "tiny-resnet6w4-T2-binary-each_step")["sheet"]["own_recipe"] is True


def test_a_chain_starts_each_run_from_the_weights_of_the_one_before(preset):
    folder, _ = preset
    relu, converted = (
        record_of(folder, "tiny-resnet6w4-T2-relu"),
        record_of(folder, "tiny-resnet6w4-T2-ternary-converted"),
    )
    taught = record_of(folder, "tiny-resnet6w4-T2-ternary-taught", seed=1)
    assert converted["source"]["weights"] == relu["files"]["weights.safetensors"] and converted["recipe"]["epochs"] == 0
    assert taught["source"] == {
        "id": "tiny-resnet6w4-T2-ternary-converted",
        "seed": 0,
        "weights": converted["files"]["weights.safetensors"],
    }


def test_no_table_shows_a_method_without_its_level_or_for_the_paper_s_own(preset):
    _, tables = preset
    summary = tables["summary"].set_index("id")
    labels = {
        "tiny-resnet6w4-T2-relu": "",
        "tiny-resnet6w4-T2-binary": "",
        "tiny-resnet6w4-T2-ternary-converted": "Converted (faithful)",
        "tiny-resnet6w4-T2-binary-each_step": "Each Step (partly)",
        "tiny-resnet6w4-T2-ternary-each_step-row_recipe-wider": "Each Step (partly; the row's recipe; margin=0.75)",
        "tiny-resnet6w4-T2-ternary-taught": "Taught (faithful)",
    }
    assert dict(summary["method"]) == labels
    assert {name: variant.removesuffix(", wider") for name, variant in summary["variant"].items()} == labels
    assert set(summary["state"]) == {"done"} and not summary["reduced"].str.contains("recipe changed").any()
    runs = tables["runs"].set_index("id")
    assert runs.loc["tiny-resnet6w4-T2-ternary-taught", "source_run"] == "tiny-resnet6w4-T2-ternary-converted"
    shown = tables["table2"].set_index("id")["method"]
    assert shown["tiny-resnet6w4-T2-binary-each_step"] == "binary Each Step (partly)"
    assert tables["controls"].empty  # a prior method is no option of the paper's neurons


def test_pages_of_runs_name_method_and_source(preset):
    folder, _ = preset
    main(["trace", "--out", str(folder / "trace.csv")])
    main(["amplitudes", "--out", str(folder / "amplitudes.csv")])
    (folder / "report").mkdir()
    build(folder, folder / "report")

    def page(name):
        html = (folder / "report/runs" / f"{name}.html").read_text()
        return html, re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))

    _, text = page("tiny-resnet6w4-T2-binary-each_step")
    filled = "filled in by its sheet, where its name here says nothing else: the margin"
    assert f"Each Step (partly): Nobody, nowhere; {filled}; recipe: momentum = 0.5" in text
    html, text = page("tiny-resnet6w4-T2-ternary-taught")
    assert "trained as Taught (faithful) has it" in text
    assert '<a href="tiny-resnet6w4-T2-ternary-converted.html">' in html
    assert "trained as" not in page("tiny-resnet6w4-T2-binary")[1]


def test_a_sheet_by_hand_needs_no_neuron_and_no_id(preset, tmp_path, capsys):
    folder, _ = preset
    words = ["train", "--data", folder / "data", "--recipe", folder / "tiny.yaml", "--seed", 0, "--timesteps", 1]
    words += ["--architecture", "resnet6w4", "--checkpoints", tmp_path, "--out", tmp_path / "out", "--device", "cpu"]
    words = [str(word) for word in words]
    main([*words, "--method-sheet", str(folder / "methods/each_step.yaml")])
    assert read_json(tmp_path / "out/run.json")["id"] == "tiny-resnet6w4-T1-binary-each_step"
    for more, message in (
        ([], "--neuron is missing; name one, or a --method-sheet that names one"),
        (["--method-sheet", str(folder / "methods/taught.yaml")], "--neuron is missing"),
        (
            ["--method", "cross_entropy", "--method-sheet", str(folder / "methods/each_step.yaml")],
            "--method cross_entropy: --method-sheet says how to train; leave one of them out",
        ),
    ):
        with pytest.raises(SystemExit):
            main([*words, *more])
        assert message in capsys.readouterr().err


def test_a_threshold_that_is_found_takes_the_place_of_the_sheet_s(preset, tmp_path):
    """The sheet's threshold is 1; the search and what trains with its result know nothing of it."""
    folder, _ = preset
    name, binary = "tiny-resnet6w4-T2-binary-each_step-equal", folder / "runs/tiny-resnet6w4-T2-binary/seed0"
    words = ["--id", name, "--data", folder / "data", "--recipe", folder / "tiny.yaml", "--seed", 0, "--timesteps", 2]
    words += ["--architecture", "resnet6w4", "--checkpoints", tmp_path, "--device", "cpu", "--threads", 1]
    words = [str(word) for word in [*words, "--method-sheet", folder / "methods/each_step.yaml"]]
    search = ["--target", str(binary / "evaluation.json"), "--probes", "1", "--out", str(tmp_path / "match.json")]
    main(["match", *words, *search])
    main(["train", *words, "--matched", str(tmp_path / "match.json"), "--out", str(tmp_path / "out")])
    found = read_json(tmp_path / "match.json")["found"]
    options = read_json(tmp_path / "out/run.json")["model"]["neuron_options"]
    assert options == {"threshold": found["threshold"], "window": found["window"], "surrogate": "triangle"}


def test_the_rules_order_the_chain_and_name_sheet_and_source(tmp_path):
    """One dry run: what each job is given, and that a job waits for the run that it starts from."""
    folder = copied(tmp_path / "clone", notebooks=())
    (folder / "table.csv").write_text((HEAD + ROWS).replace("tiny,", "digits,").replace("tiny-", "digits-"))
    write_sheets(folder / "config/methods")
    for path in (folder / "config/methods").glob("*.yaml"):
        path.write_text(path.read_text().replace("tests.helpers.methods", "toys"))
    (folder / "toys.py").write_text((REPOSITORY / "tests/helpers/methods.py").read_text())
    (folder / "config/recipes/tiny.yaml").write_text((folder / "config/recipes/digits.yaml").read_text())
    done = smoke(folder, "--dry-run", "--printshellcmds", PYTHONPATH=str(folder))
    assert done.status == 0, done.text
    commands = {}
    for line in done.text.splitlines():
        if match := re.search(r" train --id (\S+) --seed (\d+) .*", line):
            commands[match[1].removesuffix("-e1-train_samples_200")] = line
    runs = "results/smoke/runs"
    plain = commands["digits-resnet6w4-T2-binary"]
    assert "--method-sheet" not in plain and "--source" not in plain
    each = commands["digits-resnet6w4-T2-binary-each_step"]
    assert "--method-sheet config/methods/each_step.yaml --device" in each
    assert "--neuron-option surrogate=triangle" in each
    assert "--neuron-option threshold=1.0" in each and "momentum" not in each
    wider = commands["digits-resnet6w4-T2-ternary-each_step-row_recipe-wider"]
    assert "--method-option margin=0.75" in wider and "--method-option" not in each
    # what trains nothing is not trained for the epochs that the configuration has for trainings
    name = next(name for name in commands if "converted" in name)
    converted = commands[name]
    assert name == "digits-resnet6w4-T2-ternary-converted-train_samples_200" and "epochs" not in converted
    assert f"--source {runs}/digits-resnet6w4-T2-relu-e1-train_samples_200/seed0" in converted
    taught = next(line for name, line in commands.items() if "taught" in name)
    source = re.search(r"--source (\S+)", taught)[1]
    assert "converted" in source and source.endswith("/seed0")
    job = done.text[: done.text.index(taught)].rpartition("rule train:")[2]
    assert f"{source}/run.json" in job and f"{source}/weights.safetensors" in job
