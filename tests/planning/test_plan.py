"""The plan: the run table read and narrowed, runs named, shortened and excused."""

import pytest

from ternary_spike.configuration import run_table
from ternary_spike.planning import plan, plan_file, wanted
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import csv_text, write_listed, write_text

HEAD = "dataset,architecture,timesteps,neuron,variant,neuron_options,recipe,seeds,tables,control\n"
ROWS = """digits,resnet6,2,binary,,,short,0;1,2;5,false
# a comment
digits,resnet6,2,trainable,per-channel,amplitude_per=channel;threshold=0.5,short,0,2,false
cifar10,resnet20,4,ternary,,,short,0;1;2,fig2,false
cifar10,resnet20,1,relu,,,short,0,2,true
"""
RECIPE = """name: short
epochs: 30
batch_size: 64
learning_rate: 0.1
momentum: 0.9
weight_decay: 0.0001
"""
SOURCES = {
    "digits": plan.DataSource("digits", "scikit-learn"),
    "cifar10": plan.DataSource("cifar10", "jpeg-npz", "/data", original=False),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "table.csv").write_text(HEAD + ROWS)
    (tmp_path / "short.yaml").write_text(RECIPE)
    return tmp_path


def made(folder, changes=None, unavailable=lambda source: None, **selection):
    rows = run_table.read_experiments(folder / "table.csv")
    return plan.make_plan(rows, plan.Selection(**selection), SOURCES, folder, changes or {}, unavailable)


def test_rows_are_typed(folder):
    row = run_table.read_experiments(folder / "table.csv")[1]
    assert row == {
        "dataset": "digits",
        "architecture": "resnet6",
        "timesteps": 2,
        "neuron": "trainable",
        "variant": "per-channel",
        "neuron_options": {"amplitude_per": "channel", "threshold": "0.5"},
        "recipe": "short",
        "seeds": (0,),
        "tables": ("2",),
        "control": False,
        "method": None,
        "own_recipe": True,
        "source": "",
        "method_options": {},
    }


def test_ids_name_the_data_the_variant_and_what_is_changed(folder):
    ids = [run.id for run in made(folder)]
    assert ids == [
        *["digits-resnet6-T2-binary"] * 2,
        "digits-resnet6-T2-trainable-per-channel",
        *["cifar10.jpeg-npz-resnet20-T4-ternary"] * 3,
    ]
    assert {run.id for run in made(folder, {"epochs": 3}, datasets=("digits",), neurons=("binary",))} == {
        "digits-resnet6-T2-binary-e3"
    }
    changed = made(folder, {"learning_rate": 0.05, "epochs": 3}, neurons=("ternary",), seeds=(7,))
    assert [(run.id, run.seed) for run in changed] == [
        ("cifar10.jpeg-npz-resnet20-T4-ternary-e3-learning_rate_0.05", 7)
    ]


def test_options_of_the_data_are_part_of_its_name():
    source = plan.DataSource("cifar10dvs", "tonic", "data", {"split": "random", "split_seed": "3"})
    assert source.name == "cifar10dvs.split_random.split_seed_3"


def test_a_change_says_how_it_reduces_and_no_change_is_none(folder):
    assert {run.reduced for run in made(folder, {"epochs": 3})} == {"3 of 30 epochs"}
    assert {run.reduced for run in made(folder, {"train_samples": 100})} == {"train_samples 100 instead of all"}
    unchanged = made(folder, {"epochs": 30})
    assert {run.reduced for run in unchanged} == {""}
    assert [run.id for run in unchanged] == [run.id for run in made(folder)]


@pytest.mark.parametrize(
    "selection, expected",
    [
        ({"tables": ("5",)}, {"digits-resnet6-T2-binary"}),
        ({"timesteps": (4,)}, {"cifar10.jpeg-npz-resnet20-T4-ternary"}),
        (
            {"architectures": ("resnet20",), "controls": True, "neurons": ("relu",)},
            {"cifar10.jpeg-npz-resnet20-T1-relu"},
        ),
        ({"neurons": ("relu",)}, set()),
    ],
)
def test_a_selection_narrows(folder, selection, expected):
    assert {run.id for run in made(folder, **selection)} == expected


def test_a_selection_of_what_is_not_there_is_a_mistake(folder):
    with pytest.raises(UserError, match="tables: no run has 7; there are 2, 5, fig2"):
        made(folder, tables=("7",))


def test_missing_data_excuses_its_own_runs_only(folder):
    found = made(folder, unavailable=lambda source: "no files" if source.dataset == "cifar10" else None)
    assert {(run.dataset, run.status, run.reason) for run in found} == {
        ("digits", "runnable", ""),
        ("cifar10", "not run", "no files"),
    }
    assert list(plan.totals(found)) == [("2", 3, 3, ()), ("5", 2, 2, ()), ("fig2", 0, 3, ("no files",))]


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("control\n", "control,colour\n", "column 'colour' is unknown"),
        ("tables,", "", "column 'tables' is missing"),
        ("4,ternary", "four,ternary", "line 5: timesteps is 'four', but must be a whole number"),
        (",0;1;2,", ",,", "line 5: seeds is empty"),
        (",0;1;2,", ",0;1;1,", "line 5: seeds is '0;1;1', which names one seed twice"),
        ("true", "maybe", "line 6: control is 'maybe', but must be true or false"),
        ("threshold=0.5", "threshold", "line 4: neuron_options is"),
        (",per-channel,", ",,", "line 4: neuron_options need a variant"),
        ("fig2,false", "fig2", "line 5: it has not as many cells"),
        (
            "4,ternary,,,short,0;1;2",
            "1,relu,,,other,1",
            "line 6: run cifar10-resnet20-T1-relu stands in line 5",
        ),
    ],
)
def test_a_mistake_in_the_table_gets_one_line(folder, old, new, message):
    text = (HEAD + ROWS).replace(old, new, 1)
    assert text != HEAD + ROWS
    (folder / "table.csv").write_text(text)
    with pytest.raises(UserError) as error:
        run_table.read_experiments(folder / "table.csv")
    assert str(folder / "table.csv") in str(error.value) and message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "left",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", ",,\n"),
        lambda text: text.replace("\n", " ,\n") + " ,,,,,,,,,\n" + 11 * "," + "\n\n",
        lambda text: text.replace("# a comment", '"# a comment, and more",,,,,,,,,'),
        lambda text: text.replace("# a comment", '# it\'s "5, "6'),
        lambda text: "".join('"' + line.replace(",", '","') + '"\n' for line in text.splitlines()),
        lambda text: text.replace("false", "FALSE").replace("true", "TRUE").replace(",short,", ", short ,"),
    ],
    ids=["mark", "crlf", "columns", "rows", "comment", "quotes in a comment", "quoted", "spaces"],
)
def test_what_a_spreadsheet_leaves_changes_nothing(folder, left):
    expected = run_table.read_experiments(folder / "table.csv")
    changed = left(HEAD + ROWS)
    assert changed != HEAD + ROWS
    (folder / "table.csv").write_bytes(changed.encode())
    assert run_table.read_experiments(folder / "table.csv") == expected


def test_a_line_is_named_as_the_file_counts_it_behind_what_does_not_count(folder):
    text = "\ufeff\r\n# first\r\n" + (HEAD + ROWS).replace("\n", ",\r\n").replace("1,relu", "one,relu")
    (folder / "table.csv").write_bytes(text.encode())
    with pytest.raises(UserError, match="line 8: timesteps is 'one'"):
        run_table.read_experiments(folder / "table.csv")


@pytest.mark.parametrize(
    "content, message",
    [
        ((HEAD + ROWS).replace(";", "+").replace(",", ";").encode(), "separated by semicolons; save it with commas"),
        ((HEAD + ROWS).replace(",", "\t").encode(), "separated by tabs; save it with commas"),
        ((HEAD + ROWS).encode("utf-16"), "line 1: not UTF-8 but UTF-16; save the file as UTF-8"),
        ((HEAD + ROWS).encode("utf-16-le"), "not UTF-8 but UTF-16 or no text"),
        ((HEAD + ROWS).replace("a comment", "größer").encode("latin-1"), "line 3: not UTF-8 but another encoding"),
        ((HEAD + ROWS).replace("false", "false,x", 1).encode(), "line 2: it has not as many cells"),
        ((HEAD + ROWS).replace("resnet20,4", "resnet20,1_0").encode(), "timesteps is '1_0', but must be a whole"),
        ((HEAD + ROWS).replace("0;1;2", "0;1_0").encode(), "seeds is '0;1_0', but must be whole numbers"),
    ],
)
def test_a_table_in_another_form_gets_one_line(folder, content, message):
    (folder / "table.csv").write_bytes(content)
    with pytest.raises(UserError) as error:
        run_table.read_experiments(folder / "table.csv")
    assert str(folder / "table.csv") in str(error.value) and message in str(error.value), str(error.value)


def test_an_id_beyond_what_a_file_can_be_called_is_refused_with_its_row(folder):
    def table(length):
        variant = "v" * (length - len("cifar10-resnet20-T4-ternary-"))
        (folder / "table.csv").write_text(HEAD + ROWS.replace("4,ternary,,", f"4,ternary,{variant},"))

    table(run_table.LONGEST_ID + 1)
    with pytest.raises(
        UserError, match=f"line 5: its id has 233 characters, but must have at most {run_table.LONGEST_ID}"
    ):
        run_table.read_experiments(folder / "table.csv")
    table(run_table.LONGEST_ID - len(".jpeg-npz-e3"))
    longest = {len(run.id) for run in made(folder, {"epochs": 3}, neurons=("ternary",))}
    assert longest == {run_table.LONGEST_ID}
    with pytest.raises(UserError, match=r"run cifar10-resnet20-T4-ternary-v+: its id has 233 characters"):
        made(folder, {"epochs": 30 + 3}, neurons=("ternary",))


def test_the_longest_id_still_names_its_page_in_the_report(folder):
    write_text(folder / f"{'i' * run_table.LONGEST_ID}.html", "page")
    with pytest.raises(UserError, match="File name too long"):
        write_text(folder / f"{'i' * (run_table.LONGEST_ID + 1)}.html", "page")


def test_a_dataset_without_source_is_a_mistake(folder):
    rows = run_table.read_experiments(folder / "table.csv")
    with pytest.raises(UserError, match="no source is given for the dataset cifar10"):
        plan.make_plan(rows, plan.Selection(), {"digits": SOURCES["digits"]}, folder, {}, lambda source: None)


def test_the_recipe_hash_sees_values_and_changes_only(folder):
    def digest(changes=None):
        return made(folder, changes)[0].recipe_hash

    before = digest()
    assert digest({"epochs": 3}) != before
    (folder / "short.yaml").write_text("# why\n" + RECIPE.replace("0.0001", "1.0e-4"))
    assert digest() == before
    (folder / "short.yaml").write_text(RECIPE.replace("0.1", "0.2"))
    assert digest() != before


def test_the_plan_on_disk_reads_as_it_was_written(folder):
    rows = [run.row() | wanted.columns(run, {}) for run in made(folder, {"epochs": 3})]
    rows[1]["seed"] = 2**63 - 1  # the largest that the configuration allows
    rows[0] |= {"images_per_second": "10", "projected_hours": "1.5", "disk_megabytes": "2"}
    plan_file.write_rows(folder / "plan.csv", rows)
    read = plan_file.read_rows(folder / "plan.csv")
    assert [{key: str(value) for key, value in row.items()} for row in rows] == [
        {key: value for key, value in row.items() if value or key not in plan_file.COSTS} for row in read
    ]
    assert read[0]["tables"] == "2;5" and read[0]["changes"] == "epochs=3"


def test_the_description_counts_a_run_of_two_tables_once(folder):
    rows = [run.row() for run in made(folder)]
    for row in rows:
        row |= {"projected_hours": "2", "disk_megabytes": "1"}
    text = plan_file.described(rows).splitlines()
    assert "table 2: 3 of 3 trainings can run here, 6.00 h, 3 MB of disk; all: 6.00 h, 3 MB of disk" in text
    assert "table 5: 2 of 2 trainings can run here, 4.00 h, 2 MB of disk; all: 4.00 h, 2 MB of disk" in text
    assert text[-1].startswith("in all, each run once: 6 of 6 trainings can run here, 12.00 h")
    del rows[0]["projected_hours"]
    assert "cost not measured" in plan_file.described(rows).splitlines()[-1]


MATCHED = "digits,resnet6,2,ternary,equal,threshold=rate_of_binary,short,0;1,2,false\n"


def test_a_threshold_that_is_to_be_found_names_the_run_whose_rate_is_wanted(folder):
    (folder / "table.csv").write_text(HEAD + ROWS + MATCHED)
    runs = {run.id: run for run in made(folder, {"epochs": 3})}
    matched = runs["digits-resnet6-T2-ternary-equal-e3"]
    assert matched.target == "digits-resnet6-T2-binary-e3" and matched.target in runs
    assert (matched.status, matched.reason) == (plan.RUNNABLE, "")
    assert (matched.given_options, matched.row()["neuron_options"]) == ({}, "threshold=rate_of_binary")
    given = runs["digits-resnet6-T2-trainable-per-channel-e3"].given_options
    assert given == {"amplitude_per": "channel", "threshold": "0.5"}
    assert not any(run.target for run in runs.values() if run is not matched)


def test_the_network_s_option_is_not_the_neurons(folder):
    options = "stem_batch_norm=over_time;threshold=rate_of_binary"
    (folder / "table.csv").write_text(HEAD + ROWS + MATCHED.replace("threshold=rate_of_binary", options))
    run = next(run for run in made(folder, {"epochs": 3}) if run.variant == "equal")
    assert (run.given_options, run.network_options) == ({}, {"stem_batch_norm": "over_time"})
    assert run.row()["neuron_options"] == options


def test_without_that_run_it_cannot_run_and_says_why(folder):
    (folder / "table.csv").write_text(HEAD + ROWS + MATCHED)
    matched, _ = made(folder, neurons=("ternary",), datasets=("digits",))
    assert matched.status == plan.NOT_RUN
    assert (
        matched.reason == "its threshold is found for the firing rate of digits-resnet6-T2-binary, which is not planned"
    )
    missing = made(folder, neurons=("ternary",), unavailable=lambda source: "no data")
    assert {run.reason for run in missing} == {"no data"}


def test_a_plan_of_an_earlier_version_is_read(tmp_path):
    """It lacks the columns of methods: every run is then in the paper's way."""
    later = ("method", "method_label", "source_run")
    row = dict.fromkeys(plan_file.PLAN_COLUMNS, "") | {"id": "a", "seed": 0, "timesteps": 2, "neuron": "binary"}
    old = {key: value for key, value in row.items() if key not in later}
    write_listed(tmp_path / "plan.csv", csv_text([old]))
    (read,) = plan_file.read_rows(tmp_path / "plan.csv")
    assert [read[key] for key in (*later, "id", "neuron")] == ["", "", "", "a", "binary"]
