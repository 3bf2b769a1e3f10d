"""The paper's run table against the paper's own tables."""

from collections import Counter

import pytest

from ternary_spike import paper
from ternary_spike.configuration import run_table
from ternary_spike.configuration.schema import checked, load_schema
from ternary_spike.data import registry
from ternary_spike.models.registry import ARCHITECTURES, parse_architecture
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.planning.network_options import NETWORK_OPTIONS, of_network
from ternary_spike.planning.parts import require_known
from tests.workflow.running import REPOSITORY


@pytest.fixture(scope="module")
def rows():
    return run_table.read_experiments(REPOSITORY / "config/experiments.csv")


def own(rows):
    return [row for row in rows if not row["control"]]


def test_every_own_row_of_tables_1_to_4_is_one_run_and_nothing_else_is(rows):
    printed = Counter(
        (str(row.table), paper.DATASET_OF_NAME[row.dataset], row.architecture.lower(), row.timesteps, row.neuron)
        for row in paper.accuracies()
        if row.own
    )
    assert max(printed.values()) == 1 and len(printed) == 36
    ours = Counter(
        (table, row["dataset"], row["architecture"], row["timesteps"], row["neuron"])
        for row in own(rows)
        for table in row["tables"]
        if table in "1234"
    )
    assert ours == printed


def test_runs_by_table(rows):
    counted = Counter(table for row in own(rows) for table in row["tables"])
    assert counted == {"1": 12, "2": 16, "3": 4, "4": 4, "5": 2, "fig2": 2}
    # four rows stand in Tables 1 and 3, one in Table 2, Table 5 and Fig. 2: each is trained once
    assert len(own(rows)) == 34


def test_three_seeds_where_the_paper_has_three_trials(rows):
    for row in own(rows):
        trials = 3 if set(row["tables"]) & {"2", "3", "4"} else 1
        assert row["seeds"] == tuple(range(trials)), row


def test_table_5_and_figure_2(rows):
    found = {
        table: {
            (row["dataset"], row["architecture"], row["timesteps"], row["neuron"])
            for row in own(rows)
            if table in row["tables"]
        }
        for table in ("5", "fig2")
    }
    assert found["5"] == {("cifar10", "resnet20", 2, neuron) for neuron in ("binary", "ternary")}
    assert found["fig2"] == {("cifar10", "resnet20", timesteps, "ternary") for timesteps in (1, 2)}


def test_controls_give_every_cifar_and_dvs_row_a_binary_twin(rows):
    keys = ("dataset", "architecture", "timesteps")
    binary = {tuple(row[key] for key in keys) for row in rows if row["neuron"] == "binary"}
    assert {tuple(row[key] for key in keys) for row in own(rows)} - {("cifar10", "resnet20", 1)} <= binary
    assert any(row["control"] and row["neuron"] == "relu" for row in rows)


def test_the_paper_s_recipe_of_each_dataset_is_used(rows):
    assert {(row["dataset"], row["recipe"]) for row in rows} == {
        (name, name) for name in ("cifar10", "cifar100", "cifar10dvs", "imagenet")
    }


def table_of(name):
    return run_table.read_experiments(REPOSITORY / "config" / name, REPOSITORY / "config/methods")


@pytest.mark.parametrize("table", sorted(path.name for path in (REPOSITORY / "config").glob("*.csv")))
def test_the_tables_fit_their_schema(table):
    schema = load_schema(REPOSITORY / "workflow/schemas/experiments.schema.yaml")
    for row in table_of(table):
        listed = run_table.plain(row)
        assert checked(listed, schema, table) == listed


def test_the_schema_knows_what_the_library_knows():
    schema = load_schema(REPOSITORY / "workflow/schemas/experiments.schema.yaml")
    assert set(schema["properties"]) == set(run_table.COLUMNS)
    row = {"dataset": "digits", "architecture": "resnet6w8", "timesteps": 2, "neuron": "ternary", "seeds": [0]}
    for column, names in {"dataset": registry.names(), "architecture": ARCHITECTURES, "neuron": NEURONS}.items():
        for name in names:
            changed = row | {"recipe": "digits", column: name}
            checked(changed, schema, "a row")
            require_known(changed, "a row")


@pytest.mark.parametrize("name", ["config", "experiments"])
def test_a_schema_is_closed_and_says_what_each_key_means(name):
    schema = load_schema(REPOSITORY / f"workflow/schemas/{name}.schema.yaml")
    assert schema["additionalProperties"] is False
    for key, part in schema["properties"].items():
        assert part["description"].endswith("."), key
        assert "default" in part or key in schema.get("required", ()), key


def test_the_default_configuration_states_only_what_the_schema_knows():
    schema = load_schema(REPOSITORY / "workflow/schemas/config.schema.yaml")
    config = checked(load_schema(REPOSITORY / "config/config.yaml"), schema, "config.yaml")
    assert set(config["data"]) == {"cifar10", "cifar100", "cifar10dvs", "imagenet"}
    assert not config["controls"] and not config["offline"] and config["epochs"] is None


def test_under_equal_conditions_a_method_takes_the_row_s_recipe_and_a_loss_the_paper_s_neuron():
    """A method that brought its own schedule, or a loss its own threshold, would differ in more than itself."""
    rows = table_of("reference-rivals.csv")
    assert {row["recipe"] for row in rows} == {"cifar10"} and {row["seeds"] for row in rows} == {(0, 1, 2)}
    converted = [row for row in rows if row["method"] and row["method"].training == "conversion"]
    assert all(row["method"].recipe == {"epochs": 0} for row in converted) and len(converted) == 4
    assert all(row["method"].recipe == {} for row in rows if row["method"] and row not in converted)
    defaults = NEURONS.options("binary", {}) | {key: o.default for key, o in NEURONS["binary"].options.items()}
    on_binary = [row for row in rows if row["method"] and row["neuron"] == "binary"]
    on_binary = [row for row in on_binary if row["method"].name != "dspike"]  # its neuron is its own
    assert {row["variant"] for row in on_binary} == {"paper_neuron"}
    for row in on_binary:
        options = {key: text for key, text in row["neuron_options"].items() if key not in of_network({key: text})}
        given = NEURONS.options("binary", options, text=True)
        assert defaults | given == defaults, run_table.run_id(row)


def controls(table):
    return {run_table.run_id(row): row for row in run_table.read_experiments(REPOSITORY / "config" / table)}


def test_the_controls_that_the_paper_lacks_are_there_over_three_seeds():
    rows = controls("controls.csv")
    assert all(row["seeds"] == (0, 1, 2) for row in rows.values())
    options = {(row["neuron"], *sorted(row["neuron_options"].items())) for row in rows.values()}
    assert {("binary",), ("ternary",), ("trainable",)} <= options
    assert ("binary", ("surrogate", "clamp_symmetric")) in options
    assert {("ternary", ("threshold", "rate_of_binary")), ("binary", ("threshold", "rate_of_ternary"))} <= options
    assert ("trainable", ("amplitude_per", "channel")) in options
    for neuron in ("binary", "ternary"):
        assert (neuron, ("detach_reset", "true")) in options
        # each of threshold and window alone, both, and a curve of four thresholds, 0.5 among them
        assert {(neuron, ("threshold", "1.0")), (neuron, ("window", "2.0"))} <= options
        assert (neuron, ("threshold", "1.0"), ("window", "2.0")) in options
        assert {(neuron, ("threshold", "0.25")), (neuron, ("threshold", "0.75"), ("window", "1.5"))} <= options
    assert all(row["control"] == bool(row["variant"]) for row in rows.values())


def test_the_paper_s_network_has_the_demo_s_controls_and_the_stem_s():
    small, large = controls("controls.csv"), controls("controls-cifar10.csv")
    # the demo's stem is one convolution, whose batch norm sees the same picture at each timestep
    assert len(parse_architecture("resnet6").stem) == 1 < len(parse_architecture("resnet20").stem)
    for neuron in ("binary", "ternary", "trainable"):
        row = large.pop(f"cifar10-resnet20-T2-{neuron}-stem_over_time")
        assert row["neuron_options"] == {"stem_batch_norm": "over_time"} and row["control"]
    renamed = {name.replace("digits-resnet6w8", "cifar10-resnet20"): row for name, row in small.items()}
    place = {"dataset": "cifar10", "architecture": "resnet20", "recipe": "cifar10"}
    assert {name: row | place for name, row in renamed.items()} == large


@pytest.mark.parametrize("table", ["controls.csv", "controls-cifar10.csv"])
def test_the_neurons_know_every_option_of_a_control(table):
    for row in controls(table).values():
        given = {
            key: text
            for key, text in row["neuron_options"].items()
            if "rate_of" not in text and key.partition(".")[0] not in NETWORK_OPTIONS
        }
        assert NEURONS.options(row["neuron"], given, text=True).keys() == given.keys()
