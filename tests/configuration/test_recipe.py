"""Recipes: closed, checked, and each value traced to its origin."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from ternary_spike import UserError
from ternary_spike.configuration.recipe import FIELDS, ORIGINS, Recipe, load, sources

RECIPES = sorted((Path(__file__).parents[2] / "config" / "recipes").glob("*.yaml"))
MINIMAL = {"name": "x", "epochs": 2, "batch_size": 4, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0}


def written(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def minimal(tmp_path, extra=""):
    return written(tmp_path, "\n".join(f"{key}: {value}" for key, value in MINIMAL.items()) + f"\n{extra}\n")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_value_of_the_shipped_recipes_has_a_source(path):
    recipe = load(path)
    assert recipe.name == path.stem
    changed = {key for key, field in FIELDS.items() if getattr(recipe, key) != field.default}
    assert changed <= sources(path).keys()
    assert all(source.partition(": ")[0] in ORIGINS and source.partition(": ")[2] for source in sources(path).values())


def test_authors_values():
    recipe = load(RECIPES[0].with_name("cifar10.yaml"))
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.momentum) == (400, 128, 0.1, 0.9)
    assert (recipe.weight_decay, recipe.crop_padding, recipe.cutout, recipe.autoaugment) == (1e-4, 4, 16, "cifar10")
    assert recipe.std == (0.2023, 0.1994, 0.2010)


def test_defaults_changes_and_json(tmp_path):
    recipe = load(minimal(tmp_path), {"epochs": "5", "weight_decay": "1e-4", "mean": "[0.5]", "std": [0.2]})
    # 1e-4 without a point is text to YAML 1.1
    assert (recipe.epochs, recipe.weight_decay, recipe.mean, recipe.std) == (5, 1e-4, (0.5,), (0.2,))
    assert (recipe.schedule, recipe.flip, recipe.train_samples) == ("cosine", False, None)
    assert load(minimal(tmp_path), {"epochs": 0}).epochs == 0  # a network may be converted and not trained
    assert Recipe(**json.loads(json.dumps(recipe.as_dict()))) == recipe
    with pytest.raises(FrozenInstanceError):
        recipe.epochs = 3


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("epochs", "-1", "a whole number from 0 to 1,000,000,000"),
        ("epochs", "2.0", "a whole number from 0 to 1,000,000,000"),
        ("epochs", "yes", "a whole number from 0 to 1,000,000,000"),
        ("epochs", "many", "a whole number from 0 to 1,000,000,000"),
        ("batch_size", "0", "a whole number from 1 to 1,000,000,000"),
        ("learning_rate", "0", "a number above 0"),
        ("learning_rate", ".inf", "a number above 0"),
        ("learning_rate", "true", "a number above 0"),
        ("momentum", "1", "of at least 0 and below 1"),
        ("weight_decay", "-1e-4", "at least 0"),
        ("schedule", "linear", "cosine, step, multi_step, constant"),
        ("optimiser", "lion", "sgd, adam, adamw"),
        ("milestones", "[5, 2.5]", "a list of 1 to 100 whole numbers"),
        ("gradient_clipping", "0", "a number above 0, or null for any"),
        ("label_smoothing", "1", "below 1"),
        ("precision", "float16", "float32, bfloat16"),
        ("flip", "1", "true or false"),
        ("autoaugment", "true", "none, cifar10"),
        ("mean", "[0.5, x]", "a list of 1 to 4 numbers"),
        ("std", "[0.0]", "numbers above 0"),
        ("train_samples", "0", "or null for all"),
        ("name", "''", "text"),
    ],
)
def test_a_wrong_value_names_file_key_value_and_what_is_allowed(tmp_path, key, value, allowed):
    path = minimal(tmp_path)
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith(f"{key}:"))
    path.write_text(f"{text}\n{key}: {value}\n")
    with pytest.raises(UserError) as error:
        load(path)
    message = str(error.value)
    assert str(path) in message and key in message and allowed in message and "\n" not in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("learning_rte: 0.1", "unknown key 'learning_rte'"),
        ("epochs: 3", "'epochs' is given twice"),
        ("mean: [0.5]", "both or none"),
        ("sources: {epoch: 'paper: x'}", "unknown key 'epoch'"),
        ("sources: {epochs: 'hearsay'}", "must start with paper, authors' code, our choice"),
        ("sources: all", "sources must be a mapping"),
        ("]", "not a YAML mapping"),
        ("random_resized_crop: true\ncrop_padding: 4", "must be 0 where random_resized_crop"),
        ("schedule: step", "schedule_epochs is None, but must be a whole number where schedule is step"),
        ("schedule: constant\nschedule_epochs: 5", "schedule_epochs is 5, but must be null where schedule is constant"),
        ("schedule: multi_step", "milestones is None, but must be a list of epochs where schedule is multi_step"),
        ("milestones: [5]", "milestones is (5,), but must be null where schedule is cosine"),
        (
            "schedule: multi_step\nmilestones: [5, 5]",
            "milestones is (5, 5), but must be epochs that follow",
        ),
        ("schedule_factor: 0.5", "schedule_factor is 0.5, but must be left out where schedule is cosine"),
    ],
)
def test_a_malformed_file_is_one_line(tmp_path, text, problem):
    path = minimal(tmp_path, text)
    with pytest.raises(UserError, match=r"recipe\.yaml") as error:
        load(path)
    assert problem in str(error.value) and "\n" not in str(error.value)


def test_missing_keys_and_files(tmp_path):
    with pytest.raises(UserError, match="epochs is missing; it must be a whole number"):
        load(written(tmp_path, "name: x"))
    with pytest.raises(UserError, match="not a YAML mapping"):
        load(written(tmp_path, "- 1"))
    with pytest.raises(UserError, match=r"there is no recipe .*none\.yaml; in that folder there are: recipe"):
        load(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"change of recipe .*unknown key 'epoch'"):
        load(minimal(tmp_path), {"epoch": "3"})
    with pytest.raises(UserError, match="with changes: epochs is 'x'"):
        load(minimal(tmp_path), {"epochs": "x"})
