"""A method sheet is read whole or refused with one line that names its file and the key."""

from pathlib import Path

import pytest
import yaml

from ternary_spike import UserError
from ternary_spike.configuration import method_sheet, recipe
from ternary_spike.planning.parts import require_parts
from tests.helpers.sheets import sheet, training_alone, write_sheet

SOURCES = sheet()["sources"]
SHIPPED = sorted((Path(__file__).parents[2] / "config/methods").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_sheet_fits_its_parts_and_the_recipe_of_cifar(path):
    found = method_sheet.load(path)
    require_parts(found)
    changed = recipe.load(path.parents[1] / "recipes/cifar10.yaml", found.recipe)
    assert {key: changed.as_dict()[key] for key in found.recipe} == found.recipe


def without(key: str) -> dict[str, str]:
    return {name: source for name, source in SOURCES.items() if name != key}


def test_a_sheet_says_what_a_method_is_made_of(tmp_path):
    found = method_sheet.load(write_sheet(tmp_path, "each_step", sheet()))
    require_parts(found)
    assert (found.name, found.label) == ("each_step", "Each Step (partly)")
    assert (found.neuron, found.neuron_options) == ("binary", {"threshold": "1.0", "surrogate": "triangle"})
    assert found.training_options == {"margin": 0.5} and found.recipe == {"momentum": 0.5, "weight_decay": "1e-4"}
    assert found.record()["label"] == found.label and found.record()["filled_in"] == ["the margin"]


def test_what_a_row_names_itself_counts_before_the_sheet(tmp_path):
    found = method_sheet.load(write_sheet(tmp_path, "each_step", sheet()))
    assert found.neuron_of("", {}) == ("binary", {"threshold": "1.0", "surrogate": "triangle"})
    assert found.neuron_of("", {"threshold": "2"}) == ("binary", {"threshold": "2", "surrogate": "triangle"})
    # another neuron is the paper's, without the options of the sheet's
    assert found.neuron_of("ternary", {"window": "2"}) == ("ternary", {"window": "2"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"titel": "x"}, "unknown key 'titel'; did you mean 'title'?"),
        ({"title": None}, "title is missing"),
        ({"citation": ""}, "citation is '', but must be not empty"),
        ({"sources": None}, "sources is missing"),
        ({"level": "good"}, "level is 'good', but must be one of faithful, partly, candidate"),
        ({"level": "faithful"}, "level is faithful, but filled_in is not empty; write partly"),
        ({"level": "faithful", "filled_in": []}, "level is faithful, but training_options.margin is our choice"),
        ({"filled_in": []}, "level is partly, but filled_in is empty"),
        ({"level": "candidate"}, "call the file each_step_candidate.yaml"),
        ({"neuron": 3}, "neuron is 3, but must be text"),
        ({"neuron": None, "sources": without("neuron")}, "neuron_options need a neuron that has them"),
        ({"training": None, "sources": without("training")}, "training_options need a way to train that has them"),
        ({"neuron_options": {"threshold": [1]}}, "neuron_options.threshold is [1], but must be text or a number or"),
        ({"recipe": {"momentun": 0.5}}, "unknown key 'recipe.momentun'; known are epochs"),
        ({"recipe": {"name": "other"}}, "unknown key 'recipe.name'"),
        ({"recipe": {"momentum": 2}}, "recipe.momentum is 2, but must be a number of at least 0 and below 1"),
        ({"recipe": [1]}, "recipe is [1], but must be a mapping"),
        ({"sources": without("recipe.momentum")}, "sources.recipe.momentum is missing; say where"),
        ({"sources": SOURCES | {"recipe.epochs": "paper: 1"}}, "sources.recipe.epochs is of no value"),
        ({"sources": SOURCES | {"training": "a friend"}}, "sources.training is 'a friend', but must start with paper"),
        ({"sources": SOURCES | {"training": 1}}, "sources.training is 1, but must be text"),
        # what only the registries know
        ({"neuron": "quaternary"}, "neuron: unknown neuron 'quaternary'"),
        ({"neuron_options": {"threshold": -1, "surrogate": "triangle"}}, "neuron_options: neuron option threshold is"),
        (
            {"training": "tests.helpers.methods:Nothing"},
            "training: method 'tests.helpers.methods:Nothing': tests.helpers.methods has no Nothing",
        ),
        ({"training_options": {"margin": 99}}, "training_options: method option margin is 99, but must be a number"),
        (
            {
                "training": "kdsnn_feature_candidate",
                "training_options": None,
                "sources": without("training_options.margin"),
            },
            "level is partly, but its training, kdsnn_feature_candidate, is candidate; write candidate",
        ),
        (
            {"network_options": {"stem": 1}, "sources": SOURCES | {"network_options.stem": "paper: 1"}},
            "unknown key 'network_options.stem'; known are stem_batch_norm",
        ),
        (
            {
                "network_options": {"stem_batch_norm": "never"},
                "sources": SOURCES | {"network_options.stem_batch_norm": "paper: 1"},
            },
            "network_options.stem_batch_norm: stem_batch_norm must be 'per_step' or 'over_time'",
        ),
    ],
)
def test_a_bad_sheet_gets_one_line(tmp_path, changes, message):
    path = write_sheet(tmp_path, "each_step", sheet(**changes))
    with pytest.raises(UserError) as error:
        require_parts(method_sheet.load(path))
    assert str(error.value).startswith(f"{path}: {message}"[: len(str(path)) + 2])
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title: [", "is not a YAML mapping of method sheet values"),
        ("- 1", "is not a YAML mapping of method sheet values"),
        (yaml.safe_dump(sheet()) + "level: partly\n", "'level' is given twice"),
    ],
)
def test_a_sheet_in_another_form_gets_one_line(tmp_path, content, message):
    path = tmp_path / "each_step.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        method_sheet.load(path)
    assert str(path) in str(error.value) and message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["Each_Step", "each-step", "paper", "_x"])
def test_a_name_that_ids_could_not_tell_apart_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="is no name of a method"):
        method_sheet.load(write_sheet(tmp_path, name, sheet()))


def test_a_missing_sheet_names_those_that_are_there(tmp_path):
    write_sheet(tmp_path, "each_step", sheet())
    with pytest.raises(UserError, match=r"there is no method sheet .*every_step\.yaml; .*there are: each_step"):
        method_sheet.load(tmp_path / "every_step.yaml")


def test_a_candidate_goes_by_a_name_that_says_so(tmp_path):
    content = sheet(level="candidate")
    found = method_sheet.load(write_sheet(tmp_path, "each_step_candidate", content))
    assert found.label == "Each Step (candidate)" and found.name.endswith("_candidate")
    assert method_sheet.load(write_sheet(tmp_path, "taught", training_alone("Taught", "Teacher"))).neuron == ""
