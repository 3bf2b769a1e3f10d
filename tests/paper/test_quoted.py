"""Every row that the paper quotes is there with what is known of it, and stands beside the run that is to repeat it."""

from pathlib import Path

import yaml

from ternary_spike import paper
from ternary_spike.configuration import run_table
from ternary_spike.configuration.schema import checked, load_schema
from ternary_spike.paper.quoted import ASPECTS, HANDS, key_of, quotations
from ternary_spike.planning import settings
from ternary_spike.report.rivals import plain_name

CONFIG = Path(__file__).parents[2] / "config"
#: quoted methods whose parts or networks are not all here yet, so that no run stands for their rows as published
TO_COME: set[str] = set()


def rival_rows():
    rows = run_table.read_experiments(CONFIG / "experiments.csv", CONFIG / "methods", CONFIG / "rivals.csv")
    return {run_table.run_id(row): row for row in rows if run_table.RIVALS in row["tables"]}


def test_each_of_the_53_quoted_rows_of_24_methods_is_there_once():
    printed = [key_of(row) for row in paper.accuracies() if not row.own]
    assert list(quotations()) == printed
    assert len(printed) == 53 and len({method for _, _, method, *_ in printed}) == 24


def test_each_quoted_row_has_the_run_that_stands_for_it_or_a_reason():
    rows, without = rival_rows(), set()
    for (table, dataset, method, _, timesteps), quoted in quotations().items():
        if not quoted.run:
            without |= set() if quoted.differs else {method}
            continue
        row = rows[quoted.run]
        assert (row["dataset"], row["timesteps"]) == (paper.DATASET_OF_NAME[dataset], timesteps), quoted.run
        assert str(table) in row["tables"] and not row["control"], quoted.run
        # a sheet's title is the method's printed name, with the data in brackets where these have another sheet; a
        # neuron of its own may have no sheet
        assert not row["method"] or plain_name(row["method"].title.split(" (")[0]) == plain_name(method), quoted.run
    assert without == TO_COME


def test_a_quoted_row_has_the_constants_of_its_data():
    """lambda of TET: 0.05 on CIFAR, 0.001 on ImageNet; OTTT's share of squared distances: 0.05, none on ImageNet."""
    shares = {
        (row["method"].training, row["dataset"]): row["method"].training_options["mse_share"]
        for row in rival_rows().values()
        if row["method"] and row["method"].training in ("tet", "ottt") and not row["control"]
    }
    assert shares == {("tet", "cifar10"): 0.05, ("tet", "cifar100"): 0.05, ("tet", "imagenet"): 0.001} | {
        ("ottt", "imagenet"): 0.0
    }


def test_a_run_stands_for_one_quoted_row_and_no_other_row_says_that_the_paper_quotes_it():
    named = [quoted.run for quoted in quotations().values() if quoted.run]
    assert len(set(named)) == len(named)
    assert {name for name, row in rival_rows().items() if not row["control"]} == set(named)


def test_a_remark_says_what_it_is_about_and_where_it_was_seen():
    for key, quoted in quotations().items():
        assert bool(quoted.hides) == bool(quoted.aspects) == bool(quoted.hand) == bool(quoted.seen_in), key
        assert set(quoted.aspects) <= set(ASPECTS) and quoted.hand in ("", *HANDS), key
        second = quoted.seen_in.startswith(("tables of later", "notes of others", "later public", "public code", "our"))
        assert quoted.hand == ("" if not quoted.hides else "second" if second else "first"), key


def test_the_paper_s_plan_holds_all_of_them_at_once():
    """Settings that contradict each other, such as another number of frames, would end every call before any work."""
    schemas = Path(__file__).parents[2] / "workflow/schemas"
    config = checked(
        yaml.safe_load((CONFIG / "config.yaml").read_text()) | {"rivals": True, "offline": True},
        load_schema(schemas / "config.schema.yaml"),
        "configuration",
    )
    runs = settings.configured_plan(
        config,
        CONFIG / "experiments.csv",
        CONFIG / "recipes",
        CONFIG / "methods",
        load_schema(schemas / "experiments.schema.yaml"),
        rivals=CONFIG / "rivals.csv",
    )
    assert {quoted.run for quoted in quotations().values() if quoted.run} <= {run.id for run in runs}
    # what they start from came with them, though some of it is a control
    assert not [run.reason for run in runs if "not planned" in run.reason]


def test_what_a_quotation_hides_is_said_of_these():
    """Each of these would mislead a reader who knows the printed row alone."""

    def of(table, dataset, method, architecture, timesteps):
        return quotations()[table, dataset, method, architecture, timesteps]

    for dataset in ("CIFAR-10", "CIFAR-100"):
        assert "ResNet-18" in of(2, dataset, "Dspike", "ResNet20", 2).hides
    assert of(3, "ImageNet", "IM-Loss", "ResNet18", 6).hides.endswith("ResNet34's")
    for row in (of(2, "CIFAR-10", "Diet-SNN", "ResNet20", 5), of(3, "ImageNet", "DSR", "ResNet18", 50)):
        assert "ReLU" in row.hides and "training" in row.aspects and row.hand == "first"
    assert "92.40 %" in of(2, "CIFAR-10", "PLIF", "PLIFNet", 8).hides
    assert "62.81 %" in of(3, "ImageNet", "SEW ResNet", "ResNet18", 4).hides
    assert all("SEW" in of(3, "ImageNet", "Real Spike", name, 4).hides for name in ("ResNet18", "ResNet34"))


def test_on_the_paper_s_network_a_method_has_the_paper_s_recipe_whole():
    """Otherwise more than the method would differ; each is there with two and with four timesteps."""
    mine = [row for row in rival_rows().values() if row["control"] and row["neuron"] != "relu"]
    assert {(row["dataset"], row["architecture"], row["recipe"]) for row in mine} == {
        ("cifar10", "resnet20", "cifar10")
    }
    # a method that converts and trains nothing has no schedule to differ in
    assert all(row["method"].recipe in ({}, {"epochs": 0}) for row in mine if row["method"])
    by_timesteps = {
        timesteps: {
            (row["neuron"], row["method"].name if row["method"] else "", row["variant"])
            for row in mine
            if row["timesteps"] == timesteps
        }
        for timesteps in (2, 4)
    }
    from_two_to_four = {("binary", "tet_tit", "paper_neuron")}
    assert by_timesteps[2] | from_two_to_four == by_timesteps[4]
    assert {("ternary", "tet", ""), ("trainable", "tet", ""), ("ternary", "tdbn", "")} <= by_timesteps[2]
