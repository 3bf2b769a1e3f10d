"""Rows of published methods and of runs that build on others: ids, overrides, facets, chains, and what cannot run."""

import csv
from pathlib import Path

import pytest

from ternary_spike.configuration import run_table
from ternary_spike.planning import plan, plan_file
from ternary_spike.planning.run import NOT_RUN, RUNNABLE
from ternary_spike.planning.settings import require_consistent
from ternary_spike.system.errors import UserError
from tests.helpers.sheets import sheet, training_alone, write_sheet

CONFIG = Path(__file__).parents[2] / "config"
HEAD = "dataset,architecture,timesteps,neuron,method,variant,neuron_options,recipe,seeds,tables,control,source\n"
ROWS = """digits,resnet6,1,relu,,,,short,0;1,,false,
digits,resnet6,2,,each_step,,,short,0,2,false,
digits,resnet6,2,ternary,each_step,,,short,0,2,false,
digits,resnet6,2,,each_step,wide,threshold=2,short,0,2,false,
digits,resnet6,2,binary,converted,,,short,0;1;2,,false,digits-resnet6-T1-relu
digits,resnet6,2,binary,taught,,,short,1;2,,false,digits-resnet6-T2-binary-converted
"""
RECIPE = "name: short\nepochs: 30\nbatch_size: 64\nlearning_rate: 0.1\nmomentum: 0.9\nweight_decay: 0.0001\n"
SOURCES = {
    "digits": plan.DataSource("digits", "scikit-learn"),
    "cifar10": plan.DataSource("cifar10", "jpeg-npz", "/data", original=False),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "short.yaml").write_text(RECIPE)
    write_sheet(tmp_path, "each_step", sheet())
    write_sheet(tmp_path, "converted", training_alone("Converted", "Converted"))
    write_sheet(tmp_path, "taught", training_alone("Taught", "Teacher"))
    return tmp_path


def read(folder, rows):
    (folder / "table.csv").write_text(HEAD + rows)
    return run_table.read_experiments(folder / "table.csv", folder)


def made(folder, rows=ROWS, changes=None, unavailable=lambda source: None, **selection):
    return plan.make_plan(read(folder, rows), plan.Selection(**selection), SOURCES, folder, changes or {}, unavailable)


def names_methods(table):
    return "method" in next(line for line in table.read_text().splitlines() if not line.startswith("#")).split(",")


@pytest.mark.parametrize("table", sorted(path.name for path in CONFIG.glob("*.csv") if not names_methods(path)))
def test_tables_without_methods_have_the_ids_that_they_had(table):
    """Results are found by them: nothing of today's may be called otherwise."""
    lines = [line for line in (CONFIG / table).read_text().splitlines() if not line.startswith("#")]
    expected = [
        "-".join(filter(None, [*row[:2], f"T{row[2]}", *row[3:5]])) for row in list(csv.reader(lines))[1:] if row
    ]
    rows = run_table.read_experiments(CONFIG / table)
    assert [run_table.run_id(row) for row in rows] == expected
    assert all(row["method"] is None and row["source"] == "" for row in rows)


def test_ids_name_the_method_and_rows_override_its_neuron(folder):
    runs = {run.id: run for run in made(folder)}
    assert list(runs) == [
        "digits-resnet6-T1-relu",
        "digits-resnet6-T2-binary-each_step",
        "digits-resnet6-T2-ternary-each_step",
        "digits-resnet6-T2-binary-each_step-wide",
        "digits-resnet6-T2-binary-converted",
        "digits-resnet6-T2-binary-taught",
    ]
    options = {name: dict(run.neuron_options) for name, run in runs.items()}
    assert options["digits-resnet6-T2-binary-each_step"] == {"threshold": "1.0", "surrogate": "triangle"}
    assert options["digits-resnet6-T2-ternary-each_step"] == {}
    assert options["digits-resnet6-T2-binary-each_step-wide"] == {"threshold": "2", "surrogate": "triangle"}


def test_what_a_method_changes_in_the_recipe_is_no_reduction_and_no_part_of_the_id(folder):
    run = made(folder, methods=("each_step",))[0]
    assert (run.values["momentum"], run.values["weight_decay"]) == (0.5, 1e-4)
    assert (run.id, run.reduced, dict(run.changes)) == ("digits-resnet6-T2-binary-each_step", "", {})
    shortened = made(folder, changes={"epochs": 3, "momentum": 0.9}, methods=("each_step",))[0]
    assert shortened.id == "digits-resnet6-T2-binary-each_step-e3-momentum_0.9"
    assert shortened.reduced == "3 of 30 epochs, momentum 0.9 instead of 0.5" and shortened.values["momentum"] == 0.9


def test_a_row_may_leave_a_method_s_recipe_out_and_its_id_says_so(folder):
    """Everything else is the method's: neuron, options and training; the recipe is the row's to the last value."""
    head = HEAD.replace("method,", "method,own_recipe,")
    rows = "digits,resnet6,2,,each_step,{},,,short,0,2,false,\n"
    (folder / "table.csv").write_text(head + rows.format("") + rows.format("false"))
    table = run_table.read_experiments(folder / "table.csv", folder)
    own, kept = plan.make_plan(table, plan.Selection(), SOURCES, folder, {}, lambda source: None)
    assert [own.id, kept.id] == [f"digits-resnet6-T2-binary-each_step{part}" for part in ("", "-row_recipe")]
    assert (own.values["momentum"], kept.values["momentum"]) == (0.5, 0.9)
    assert own.recipe_hash != kept.recipe_hash and own.neuron_options == kept.neuron_options
    assert (own.training, own.method.training_options) == (kept.training, kept.method.training_options)
    assert [run.row()["own_recipe"] for run in (own, kept)] == ["true", "false"]
    assert kept.row()["method_label"] == "Each Step (partly; the row's recipe)"
    assert kept.method.record() | {"own_recipe": True, "label": own.method.label} != own.method.record()
    shortened = plan.make_plan(table, plan.Selection(), SOURCES, folder, {"momentum": 0.9}, lambda source: None)
    assert [run.id for run in shortened] == [f"{own.id}-momentum_0.9", kept.id]  # to the row's 0.9 it is no change
    assert {run.row()["own_recipe"] for run in made(folder) if run.method is None} == {""}


def of_options(folder, *rows):
    """Runs of rows that give variant, neuron, method and method's options."""
    head = (
        "dataset,architecture,timesteps,variant,neuron,method,method_options,neuron_options,recipe,seeds,tables,control"
    )
    lines = [head, *(f"digits,resnet6,2,{row},,short,0,2,false" for row in rows)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    table = run_table.read_experiments(folder / "table.csv", folder)
    return plan.make_plan(table, plan.Selection(), SOURCES, folder, {}, lambda source: None)


def test_a_row_may_give_a_method_other_options_and_its_name_says_so(folder):
    own, other = of_options(folder, ",,each_step,", "wider,,each_step,margin=0.75")
    assert other.id == "digits-resnet6-T2-binary-each_step-wider"
    assert (own.method.training_options, other.method.training_options) == ({"margin": 0.5}, {"margin": "0.75"})
    assert own.recipe_hash != other.recipe_hash and own.neuron_options == other.neuron_options
    assert own.row()["method_label"] == "Each Step (partly)"
    assert other.row()["method_label"] == "Each Step (partly; margin=0.75)"
    require_consistent([own, other], {}, "cpu")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",,each_step,margin=0.75", "line 2: method_options need a variant that names them in the run's id"),
        ("wider,,each_step,margin", "line 2: method_options is 'margin', but must be KEY=VALUE"),
        ("wider,ternary,,margin=0.75", "line 2: method_options are .* but method is empty; leave them out"),
        ("wider,,bare,margin=0.75", "line 2: method_options are .* but bare names no way to train; leave them out"),
    ],
)
def test_options_that_no_training_has_get_one_line(folder, row, message):
    unused = dict.fromkeys(("training", "training_options"))
    sources = {key: text for key, text in sheet()["sources"].items() if not key.startswith("training")}
    write_sheet(folder, "bare", sheet(**unused, sources=sources))
    with pytest.raises(UserError, match=message):
        of_options(folder, row)


def test_an_option_that_the_method_does_not_have_names_the_run(folder):
    runs = of_options(folder, "wider,,each_step,width=0.75")
    with pytest.raises(UserError, match=r"run digits-resnet6-T2-binary-each_step-wider: method_options: .*width"):
        require_consistent(runs, {}, "cpu")


def test_a_row_without_a_method_has_no_recipe_of_one_to_leave_out(folder):
    (folder / "table.csv").write_text(
        HEAD.replace("method,", "method,own_recipe,") + "digits,resnet6,2,binary,,false,,,short,0,2,false,\n"
    )
    with pytest.raises(UserError, match="line 2: own_recipe is false, but method is empty, whose recipe that is"):
        run_table.read_experiments(folder / "table.csv", folder)


def test_a_method_s_own_options_and_recipe_count_in_the_hash_of_its_runs_alone(folder):
    def hashes():
        return {run.id: run.recipe_hash for run in made(folder)}

    before = hashes()
    write_sheet(folder, "each_step", sheet(training_options={"margin": 0.75}))
    after = hashes()
    assert {name for name in before if before[name] != after[name]} == {name for name in before if "each_step" in name}


def test_methods_are_a_facet(folder):
    assert {run.id for run in made(folder, methods=("paper",))} == {"digits-resnet6-T1-relu"}
    assert {run.id for run in made(folder, methods=("each_step",), neurons=("ternary",))} == {
        "digits-resnet6-T2-ternary-each_step"
    }
    with pytest.raises(UserError, match="methods: no run has tet; there are converted, each_step, paper, taught"):
        made(folder, methods=("tet",))


def test_a_chain_of_runs_is_planned_seed_by_seed(folder):
    """A run starts from its own seed of the other run, or from the first where that has no such seed."""
    runs = {(run.id, run.seed): run for run in made(folder, changes={"epochs": 3})}
    starts = {key: run.source_folder for key, run in runs.items() if run.source}
    converted, taught = "digits-resnet6-T2-binary-converted-e3", "digits-resnet6-T2-binary-taught-e3"
    relu = "digits-resnet6-T1-relu-e3"
    assert starts == {
        (converted, 0): f"{relu}/seed0",
        (converted, 1): f"{relu}/seed1",
        (converted, 2): f"{relu}/seed0",
        (taught, 1): f"{converted}/seed1",
        (taught, 2): f"{converted}/seed2",
    }
    assert {run.status for run in runs.values()} == {RUNNABLE}


def test_a_run_whose_source_cannot_run_cannot_run_and_says_why(folder):
    alone = made(folder, methods=("converted", "taught"))
    reason = "it starts from digits-resnet6-T1-relu, which is not planned"
    chained = f"it starts from digits-resnet6-T2-binary-converted, which cannot run: {reason}"
    assert {(run.method.name, run.status, run.reason) for run in alone} == {
        ("converted", NOT_RUN, reason),
        ("taught", NOT_RUN, chained),
    }
    elsewhere = ROWS.replace("digits,resnet6,1,relu", "cifar10,resnet20,1,relu").replace(
        "digits-resnet6-T1-relu", "cifar10-resnet20-T1-relu"
    )
    found = made(folder, elsewhere, unavailable=lambda source: "no files" if source.dataset == "cifar10" else None)
    reasons = {run.reason for run in found if run.method and run.method.name == "converted"}
    assert reasons == {"it starts from cifar10.jpeg-npz-resnet20-T1-relu, which cannot run: no files"}


def test_prior_methods_are_a_second_table_and_bring_the_controls_that_they_build_on(folder):
    head = "dataset,architecture,timesteps,neuron,variant,neuron_options,recipe,seeds,tables,control\n"
    own = "digits,resnet6,2,ternary,,,short,0,2,false\ndigits,resnet6,1,relu,,,short,0,2,true\n"
    (folder / "own.csv").write_text(head + own + "digits,resnet6,2,binary,,,short,0,2,true\n")
    (folder / "rivals.csv").write_text(HEAD + "digits,resnet6,2,ternary,converted,,,short,0,rivals,true,"
                                       "digits-resnet6-T1-relu\n")  # fmt: skip

    def planned(controls, rivals=folder / "rivals.csv"):
        rows = run_table.read_experiments(folder / "own.csv", folder, rivals)
        return [run.id for run in plan.make_plan(
            rows, plan.Selection(controls=controls), SOURCES, folder, {}, lambda source: None
        )]  # fmt: skip

    ternary, relu, binary = (f"digits-resnet6-T{name}" for name in ("2-ternary", "1-relu", "2-binary"))
    assert planned(controls=False) == [ternary, relu, f"{ternary}-converted"]
    assert planned(controls=True) == [ternary, relu, binary, f"{ternary}-converted"]
    assert planned(controls=False, rivals=None) == [ternary]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "digits,resnet6,2,ternary,taught,,,short,0,2,true,x\n",
            "rivals.csv, line 2: tables is '2', but must have rivals",
        ),
        (
            "digits,resnet6,1,relu,,,,short,0,rivals,true,\n",
            "rivals.csv, line 2: run digits-resnet6-T1-relu stands in .*table.csv, line 2, already; join the two rows",
        ),
    ],
)
def test_a_row_of_the_second_table_that_cannot_be_gets_one_line(folder, row, message):
    (folder / "rivals.csv").write_text(HEAD + row)
    (folder / "table.csv").write_text(HEAD + ROWS)
    with pytest.raises(UserError, match=message):
        run_table.read_experiments(folder / "table.csv", folder, folder / "rivals.csv")


MATCHED = "digits,resnet6,2,ternary,,equal,threshold=rate_of_{},short,0,,false,{}\n"
BINARY = "digits,resnet6,2,binary,,,,short,0;1,,false,\n"


@pytest.mark.parametrize(
    ("rate_of", "source"),
    [("binary", ""), ("binary", "digits-resnet6-T2-binary"), ("source", "digits-resnet6-T1-relu")],
)
def test_a_rate_that_is_matched_is_a_source(folder, rate_of, source):
    matched = made(folder, ROWS + BINARY + MATCHED.format(rate_of, source))[-1]
    assert matched.target == matched.source == (source or "digits-resnet6-T2-binary")
    assert matched.source_folder == "" and matched.given_options == {}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (MATCHED.format("binary", "digits-resnet6-T1-relu"), "write rate_of_source, or leave source out"),
        (MATCHED.format("source", ""), "threshold is 'rate_of_source', but source is empty"),
        (MATCHED.format("relu", ""), "must be a number or rate_of_ and one of source, binary"),
        (
            "digits,resnet6,4,binary,taught,,,short,0,,false,digits-resnet6-T1-ReLU\n",
            "run digits-resnet6-T4-binary-taught: source is 'digits-resnet6-T1-ReLU', but no row is that run; did you "
            "mean digits-resnet6-T1-relu?",
        ),
        (
            "digits,resnet6,4,binary,taught,,,short,0,,false,digits-resnet6-T4-binary-taught\n",
            "run digits-resnet6-T4-binary-taught: it would build on itself: "
            "digits-resnet6-T4-binary-taught -> digits-resnet6-T4-binary-taught",
        ),
        (
            "digits,resnet6,4,binary,taught,,,short,0,,false,digits-resnet6-T8-binary-taught\n"
            "digits,resnet6,8,binary,taught,,,short,0,,false,digits-resnet6-T4-binary-taught\n",
            "it would build on itself",
        ),
        ("digits,resnet6,4,binary,tet,,,short,0,,false,\n", "line 8: there is no method sheet"),
        ("digits,resnet6,4,binary,Taught,,,short,0,,false,\n", "line 8: there is no method sheet|is no name of"),
        ("digits,resnet6,4,binary,../taught,,,short,0,,false,\n", "line 8: method is '../taught', but must be a file"),
        ("digits,resnet6,4,,,,,short,0,,false,\n", "line 8: neuron is empty"),
        ("digits,resnet6,4,,taught,,,short,0,,false,\n", "line 8: neuron is empty"),
        # two spellings of one id: the sheet's neuron named, the method as a variant, small and large letters
        ("digits,resnet6,2,binary,each_step,,,short,0,,false,\n", "line 8: run .* stands in line 3 already"),
        ("digits,resnet6,2,ternary,,each_step,,short,0,,false,\n", "line 8: run .* stands in line 4 already"),
        ("digits,resnet6,2,ternary,,EACH_STEP,,short,0,,false,\n", "line 8: run .* stands in line 4 already"),
    ],
)
def test_a_row_that_cannot_be_gets_one_line(folder, rows, message):
    with pytest.raises(UserError, match=message) as error:
        made(folder, ROWS + rows)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("variant", ["e2", "E3", "learning_rate_0.05", "Train_Samples_200"])
def test_a_variant_that_is_spelled_as_a_change_is_is_refused(folder, variant):
    """Alone in its plan too: a call that shortens the row without a variant would write into its folder."""
    with pytest.raises(UserError, match=f"the variant '{variant}' is what a change of the recipe adds to the id"):
        made(folder, ROWS + f"digits,resnet6,1,relu,,{variant},,short,0,,false,\n")
    for other in ("e2x", "ee2", "e", "learning"):
        made(folder, ROWS + f"digits,resnet6,1,relu,,{other},,short,0,,false,\n")


def test_a_method_whose_changes_no_recipe_can_have_names_the_sheet(folder):
    content = sheet(recipe={"schedule": "step"}, sources=sheet()["sources"] | {"recipe.schedule": "paper: 5"})
    for key in ("recipe.momentum", "recipe.weight_decay"):
        del content["sources"][key]
    path = write_sheet(folder, "each_step", content)
    with pytest.raises(UserError, match=f"{path}: recipe: .* schedule_epochs is None, but must be a whole number"):
        made(folder)


def test_the_plan_names_method_level_and_source_wherever_it_is_read(folder):
    rows = [run.row() for run in made(folder)]
    plan_file.write_rows(folder / "plan.csv", rows)
    read_back = plan_file.read_rows(folder / "plan.csv")
    assert [(row["method"], row["method_label"]) for row in read_back if row["neuron"] == "ternary"] == [
        ("each_step", "Each Step (partly)")
    ]
    assert {row["source_run"] for row in read_back if row["method"] == "taught"} == {
        "digits-resnet6-T2-binary-converted"
    }
    lines = plan_file.described(read_back).splitlines()
    taught = next(line for line in lines if line.startswith("digits-resnet6-T2-binary-taught"))
    assert taught.endswith("runnable (Taught (faithful); after digits-resnet6-T2-binary-converted)")
    assert lines[0].endswith("runnable")
