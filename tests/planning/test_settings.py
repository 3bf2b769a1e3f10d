"""More than a hundred broken configurations, run tables and recipes: each is one line, before any work."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ternary_spike import UserError
from ternary_spike.configuration import recipe, words
from ternary_spike.configuration.recipe import FIELDS
from ternary_spike.configuration.register import Option
from ternary_spike.configuration.run_table import COLUMNS, OPTIONAL
from ternary_spike.configuration.schema import checked, load_schema
from ternary_spike.data.augmentation import Augmentation
from ternary_spike.models.resnet import require_stem_batch_norm
from ternary_spike.planning import settings
from ternary_spike.planning.network_options import STEM_BATCH_NORM, network_arguments
from ternary_spike.planning.run import RUNNABLE
from tests.helpers.sheets import sheet, training_alone, write_sheet

ROOT = Path(__file__).parents[2]
RECIPE_FOLDER = ROOT / "config/recipes"
SCHEMAS = {name: load_schema(ROOT / f"workflow/schemas/{name}.schema.yaml") for name in ("config", "experiments")}
CONFIG = {
    "preset": "test",
    "data": {
        "digits": {"source": "scikit-learn"},
        "cifar10": {"source": "torchvision", "root": "data"},
        "cifar10dvs": {"source": "tonic", "root": "data"},
        "imagenet": {"source": "imagefolder"},
    },
}
ROWS = [
    ["digits", "resnet6w4", "2", "ternary", "", "", "digits", "0;1", "demo", "false"],
    ["cifar10", "resnet20", "4", "trainable", "wide", "window=2.0;detach_reset=true", "cifar10", "0", "2;5", "false"],
    ["cifar10dvs", "resnet20", "10", "ternary", "", "", "cifar10dvs", "0", "4", "false"],
    ["imagenet", "resnet18", "4", "binary", "", "", "imagenet", "0", "1", "false"],
    ["cifar10", "resnet20", "4", "relu", "", "", "cifar10", "0", "", "true"],
]


HEAD = tuple(column for column in COLUMNS if column not in OPTIONAL)


def write_table(path: Path, rows: list[list[str]], head: tuple[str, ...] = HEAD) -> Path:
    path.write_text("".join(",".join(cells) + "\n" for cells in (head, *rows)))
    return path


def plan(folder: Path, config: dict, rows: list[list[str]] = ROWS, head=HEAD, recipes: Path = RECIPE_FOLDER):
    """What the workflow does with its settings before anything else."""
    table = write_table(folder / "table.csv", rows, head)
    found = checked(words.typed(config), SCHEMAS["config"], "configuration")
    return settings.configured_plan(found, table, recipes, folder, SCHEMAS["experiments"])


def refusal(*args, **kwargs) -> str:
    """The one line that the settings are answered with."""
    with pytest.raises(UserError) as error:
        pytest.fail(f"taken for good: {plan(*args, **kwargs) and args[1:]}")
    assert "\n" not in str(error.value)
    return str(error.value)


#: how a message says what would be right
REMEDIES = ("must", "known are", "did you mean", "there are", "is missing", "allowed are", "choose", "name at least")
REMEDIES += ("twice", "no option")


def shows(value, message: str) -> bool:
    """Whether a message has a value as it was given, whichever way it is quoted; of a list of names the last."""
    forms = {str(value), repr(value), str(value).lower(), str(value).replace("'", '"'), str(value).split(",")[-1]}
    if isinstance(value, list):
        forms.add(repr(tuple(value)))
    return any(form in message for form in forms)


def test_without_a_mistake_there_is_a_plan(tmp_path):
    runs = plan(tmp_path, CONFIG)
    assert [run.status for run in runs if run.dataset == "digits"] == [RUNNABLE] * 2
    assert len(runs) == 5
    assert len(plan(tmp_path, CONFIG | {"controls": True})) == 6


@pytest.mark.parametrize("dataset, size", [("digits", (1, 16, 16)), ("cifar10dvs", (10, 2, 48, 48))])
def test_pictures_for_autoaugment_are_refused_as_the_training_would_refuse_them(tmp_path, dataset, size):
    said = refusal(tmp_path, CONFIG | {"datasets": [dataset], "recipe_changes": {"autoaugment": "cifar10"}})
    chosen = recipe.load(RECIPE_FOLDER / f"{dataset}.yaml", {"autoaugment": "cifar10"})
    with pytest.raises(UserError) as error:
        Augmentation(chosen, size)
    assert said.endswith(f": {error.value}")


def test_the_stem_s_batch_norm_is_what_the_networks_take():
    for choice in STEM_BATCH_NORM:
        require_stem_batch_norm(choice)
    with pytest.raises(ValueError) as planned:
        network_arguments({"stem_batch_norm": "never"})
    with pytest.raises(ValueError) as made:
        require_stem_batch_norm("never")
    assert str(planned.value) == str(made.value)


def test_a_plan_is_looked_at_without_waiting_for_torch():
    """Every call of the workflow does that, and importing torch takes seconds."""
    code = f"""
import sys
sys.modules |= dict.fromkeys(("torch", "torchvision", "tonic", "pandas"))  # whoever imports one of these fails
import yaml
from ternary_spike.configuration.schema import checked, load_schema
from ternary_spike.planning.settings import configured_plan
schema = {{name: load_schema(f"workflow/schemas/{{name}}.schema.yaml") for name in ("config", "experiments")}}
config = yaml.safe_load(open("config/config.yaml")) | {{"rivals": True, "controls": True}}
config = checked(config, schema["config"], "")
tables, sheets = ["config/experiments.csv", "config/rivals.csv"], "config/methods"
plan = configured_plan(config, tables[0], "config/recipes", sheets, schema["experiments"], rivals=tables[1])
print({{run.dataset for run in plan}} == {set(CONFIG["data"]) - {"digits"} | {"cifar100"}})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


# a value of a kind that the key does not take, by what the schema says of the key
WRONG_KINDS = {
    "string": [5, ["a"], None],
    "integer": ["many", 2.5, 3.0, True, [1]],
    "number": ["much", True, float("nan"), float("inf")],
    "boolean": ["yes", 1, 0.0],
    "object": ["all", [1], 7],
}
OUT_OF_RANGE = {
    "preset": ["", "../up", "a/b", "reference/", "/tmp", "-x", "demo\n"],
    "experiments": [""],
    "recipes": [""],
    "epochs": [0, -1],
    "verify_samples": [0, -5],
    "execute_samples": [0],
    "threads": [0],
    "device": ["gpu", "cuda:1", ""],
    "timesteps": ["two", 0, [1, 0], [2.5], "--2", 10**11],
    "seeds": ["-1", "first", [0, "x"], "--1", "\u00b2", "0,0", 10**23],
    "gpus": [{"imagenet": 0}, {"imagenet": "all"}, {"imagenet": 1.5}, {"imagnet": 2}],
    "energy_picojoule": [{"flop": -1}, {"flop": "12"}, {"flops": 12.5}],
    "data": [
        {"digits": "scikit-learn"},
        {"digits": {}},
        {"digits": {"source": "internet"}},
        {"digits": {"source": ""}},
        {"digits": {"source": "scikit-learn", "root": 3}},
        {"digits": {"source": "scikit-learn", "rot": "x"}},
        {"digits": {"source": "scikit-learn", "root": "data"}},
        {"cifar10dvs": {"source": "tonic", "options": {"frames": 0}}},
        {"cifar10dvs": {"source": "tonic", "options": {"frame": 10}}},
        {"cifar10dvs": {"source": "tonic", "options": {"split": "half"}}},
        {"cifar10dvs": {"source": "tonic", "options": [1]}},
        {"mnist": {"source": "torchvision"}},
    ],
    "recipe_changes": [
        {"cutout": 10**20},
        {"roll": 5000},
        {"epoch": 3},
        {"momentum": 2},
        {"epochs": 1.5},
        {"mean": [0.5]},
        {"sources": "x"},
    ],
    "tables": ["9", ["2", "fig9"]],
    "datasets": ["cifar11"],
    "architectures": ["resnet21"],
    "neurons": ["ternery", "ternary,quaternary"],
}


def broken_configurations():
    for key, part in SCHEMAS["config"]["properties"].items():
        kinds = part.get("type", [])
        kinds = kinds if isinstance(kinds, list) else [kinds]
        values = [value for kind in kinds for value in WRONG_KINDS.get(kind, [])]
        for value in [*values, *OUT_OF_RANGE.get(key, [])]:
            if not (value is None and "null" in kinds):
                yield key, value
        yield f"{key}s", 1
    for key in ("Preset", "", "sources", 7):
        yield key, 1


CONFIGURATIONS = list(broken_configurations())


def test_broken_configurations_name_the_key(tmp_path):
    for key, value in CONFIGURATIONS:
        config = copy.deepcopy(CONFIG)
        if isinstance(value, dict) and key == "data":
            config["data"] |= value
        else:
            config[key] = value
        message = refusal(tmp_path, config)
        named = [str(key), *(str(inner) for inner in value)] if isinstance(value, dict) else [str(key)]
        assert any(name in message for name in named), (key, value, message)
        known = key in SCHEMAS["config"]["properties"]
        assert isinstance(value, dict | list) or not known or shows(value, message), (key, value, message)
        assert any(words in message for words in REMEDIES), (key, value, message)


CELLS = {
    "dataset": ["cifar11", "", "CIFAR10"],
    "architecture": ["resnet6w99999999999", "resnet6w00", "resnet21", "resnet20w0", "resnet", "", "resnet20w"],
    "timesteps": ["99999999999", "0", "-1", "two", "2.0", ""],
    "neuron": ["quaternary", "", "Binary"],
    "variant": ["a b", "x/y", "a-b"],
    "neuron_options": [
        *("threshold", "=1", "threshold=", "treshold=1", "threshold=-1", "threshold=0", "threshold=nan"),
        *("threshold=inf", "threshold=high", "threshold=true", "decay=2", "window=0", "surrogate=step"),
        *("detach_reset=maybe", "detach_reset=1", "amplitude_per=neuron", "initial_amplitude=one", "channels=3"),
        *("threshold=1;threshold=2", "threshold=rate_of_foo", "initial_amplitude=1e39"),
        *("stem_batch_norm=per_image", "stem_batch_norm=true"),
    ],
    "recipe": ["none", "../cifar10", ""],
    "seeds": ["", "x", "-1", "0;0", "1.5", "99999999999999999999999"],
    "tables": ["9", "fig3"],
    "control": ["maybe", "", "1"],
}


@pytest.mark.parametrize("column", CELLS)
def test_a_broken_cell_is_named(tmp_path, column):
    for value in CELLS[column]:
        rows = copy.deepcopy(ROWS)
        rows[1][list(COLUMNS).index(column)] = value
        message = refusal(tmp_path, CONFIG, rows)
        option, _, given = value.partition("=") if column == "neuron_options" else (column, "", value)
        assert option in message and given in message, (value, message)
        assert any(words in message for words in REMEDIES), (value, message)


def test_a_broken_table_is_named(tmp_path):
    names = list(HEAD)
    for head, rows, problem in (
        (names[:-1], [row[:-1] for row in ROWS], "column 'control' is missing"),
        ([*names[:-1], "controls"], ROWS, "column 'controls' is unknown"),
        ([*names[:-1], "seeds"], ROWS, "column 'seeds' is unknown or there twice"),
        (names, [ROWS[0], ROWS[0]], "stands in line 2 already"),
        (names, [ROWS[0], [*ROWS[0][:7], "5", *ROWS[0][8:]]], "stands in line 2 already"),
        (names, [ROWS[0][:-1]], "line 2: it has not as many cells"),
        (names, [[*ROWS[0], "x"]], "line 2: it has not as many cells"),
        (names, [[*ROWS[1][:4], "", *ROWS[1][5:]]], "neuron_options need a variant"),
        (names, [], "has no rows"),
        (names, ROWS[4:], "set controls: true"),
        ([], [], "is missing"),
    ):
        assert problem in refusal(tmp_path, CONFIG, rows, tuple(head)), problem


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=f"cannot read the run table {tmp_path}/missing.csv: No such file"):
        settings.configured_plan(
            checked(CONFIG, SCHEMAS["config"], ""),
            tmp_path / "missing.csv",
            RECIPE_FOLDER,
            tmp_path,
            SCHEMAS["experiments"],
        )


RECIPES = {
    "name": ["", 5],
    "epochs": [-1, 2.0, "many", True, None],
    "batch_size": [0, "all", 10**400],
    "learning_rate": [0, -1, "fast", float("nan"), 10**400],
    "momentum": [1, -0.1, []],
    "weight_decay": [-1e-4, None],
    "weight_decay_on": ["biases", None],
    "optimiser": ["lamb", None],
    "schedule": ["step", "linear", None],
    "schedule_epochs": [0, "all"],
    "milestones": [[2, 1.5], [], 7, [3]],
    "schedule_factor": [0, None],
    "warmup_epochs": [-1, None],
    "gradient_clipping": [0, "x"],
    "label_smoothing": [1, None],
    "precision": ["float16", 32],
    "train_samples": [0, 60_000, "half"],
    "crop_padding": [-1, 1.5],
    "random_resized_crop": [True, "no"],
    "flip": [1, "left"],
    "roll": [-1, "x"],
    "autoaugment": ["imagenet", True],
    "cutout": [-2, "16", 10**20],
    "evaluation_crop": [0, 1.5],
    "mean": [[0.5], "grey", [0.1, 0.2, 7], [], None],
    "std": [[0.0, 1, 1], [0.1, 0.2], 3],
    "learning_rte": [0.1],
}


def test_broken_recipes_name_file_and_key(tmp_path):
    assert set(FIELDS) <= set(RECIPES)
    shipped = yaml.safe_load((RECIPE_FOLDER / "cifar10.yaml").read_text())
    for key, values in RECIPES.items():
        for value in values:
            content = shipped | {key: value}
            (tmp_path / "cifar10.yaml").write_text(yaml.safe_dump(content))
            message = refusal(tmp_path, CONFIG, [ROWS[1]], recipes=tmp_path)
            assert key in message and "cifar10" in message, (key, value, message)
            assert key not in FIELDS or shows(value, message), (key, value, message)
            assert any(words in message for words in REMEDIES), (key, value, message)


def row(*cells: str) -> list[list[str]]:
    """A table of one row."""
    return [[*cells, "0", "", "false"]]


@pytest.mark.parametrize(
    ("change", "rows", "words"),
    [
        ({}, row("cifar10dvs", "resnet20", "4", "ternary", "", "", "cifar10dvs"), ["timesteps is 4", "must be 10"]),
        (
            {"data": {"cifar10dvs": {"source": "tonic", "root": "data", "options": {"frames": 5}}}},
            row("cifar10dvs", "resnet20", "10", "ternary", "", "", "cifar10dvs"),
            ["timesteps is 10", "must be 5", "options.frames"],
        ),
        ({}, row("digits", "resnet6", "2", "ternary", "", "", "cifar10"), ["recipe cifar10", "mean has 3 values", "1"]),
        ({}, row("cifar10", "resnet20", "2", "ternary", "", "", "imagenet"), ["random_resized_crop is true", "false"]),
        ({}, row("imagenet", "resnet18", "2", "binary", "", "", "cifar10"), ["random_resized_crop is false", "true"]),
        (
            {"recipe_changes": {"autoaugment": "cifar10"}},
            row("cifar10dvs", "resnet20", "10", "ternary", "", "", "cifar10dvs"),
            ["autoaugment", "set autoaugment to none"],
        ),
        (
            {"data": {"imagenet": {"source": "imagefolder", "options": {"image_size": 1}}}},
            row("imagenet", "resnet20", "2", "binary", "", "", "imagenet"),
            ["resnet20 cannot take images of 1x1"],
        ),
        ({}, row("cifar10", "resnet20", "2", "relu", "x", "threshold=1", "cifar10"), ["relu", "it has none"]),
        (
            {},
            row("cifar10", "resnet20", "2", "ternary", "x", "initial_amplitude=2", "cifar10"),
            ["initial_amplitude", "choose from"],
        ),
        ({"gpus": {"imagenet": 8}, "device": "cpu"}, ROWS, ["gpus.imagenet is 8", "device is cpu"]),
        (
            {"gpus": {"digits": 65}},
            row("digits", "resnet6", "2", "ternary", "", "", "digits"),
            ["batch_size is 64", "at least gpus.digits", "65"],
        ),
        ({"epochs": 3, "recipe_changes": {"epochs": 5}}, ROWS, ["epochs is 3", "recipe_changes.epochs is 5"]),
        ({"data": {}}, ROWS, ["no source is given for the dataset digits"]),
        ({"tables": ["2"], "neurons": ["binary"]}, ROWS, ["neurons: no run has binary", "trainable"]),
        ({"datasets": ["digits"], "recipe_changes": {"train_samples": 1348}}, ROWS, ["train_samples is 1348", "1347"]),
    ],
)
def test_contradictions_are_named(tmp_path, change, rows, words):
    message = refusal(tmp_path, CONFIG | change, rows)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("method", "source", "words"),
    [
        ("taught", "", ["starts from another run", "name that in the column source"]),
        ("each_step", "digits-resnet6w4-T2-ternary", ["starts from no other run", "leave source out"]),
        ("", "digits-resnet6w4-T2-ternary", ["starts from no other run", "leave source out"]),
        ("spoilt", "", ["spoilt.yaml: neuron_options: neuron option threshold is '-1'"]),
    ],
)
def test_a_method_and_a_source_that_do_not_go_together_are_named(tmp_path, method, source, words):
    write_sheet(tmp_path, "taught", training_alone("Taught", "Teacher"))
    write_sheet(tmp_path, "each_step", sheet())
    write_sheet(tmp_path, "spoilt", sheet(neuron_options={"threshold": -1, "surrogate": "triangle"}))
    rows = [[*ROWS[0], "", ""], ["digits", "resnet6w4", "4", "binary", "", "", "digits", "0", "", "false"]]
    rows[1] += [method, source]
    message = refusal(tmp_path, CONFIG, rows, (*HEAD, "method", "source"))
    assert all(word in message for word in words), message


def test_the_configuration_selects_methods(tmp_path):
    write_sheet(tmp_path, "each_step", sheet())
    rows = [[*ROWS[0], ""], [*ROWS[0][:3], "", *ROWS[0][4:], "each_step"]]
    found = [
        {run.id for run in plan(tmp_path, CONFIG | {"methods": wanted}, rows, (*HEAD, "method"))}
        for wanted in ("each_step", ["paper"], [])
    ]
    assert found[0] == {"digits-resnet6w4-T2-binary-each_step"} and found[1] == {"digits-resnet6w4-T2-ternary"}
    assert found[2] == found[0] | found[1]


@pytest.mark.parametrize(
    "value", [None, True, 3, 0.5, 1e-4, "none", "two words", "12", "yes", "$(ls)", "a: b", [0.5, 1]]
)
def test_a_value_survives_the_command_line(value):
    assert yaml.safe_load(words.word(value)) == value


@pytest.mark.parametrize(
    "content, message",
    [
        (b"epochs: 3\nepochs: 4\n", "line 1: 'epochs' is given twice; leave one of them out"),
        (b"preset: x\nseeds: [010]\n", "line 2: 010 would be read as 8; write that, or '010' for text"),
        (b"epochs: 1_0\n", "1_0 would be read as 10"),
        (b"epochs: 0x10\n", "0x10 would be read as 16"),
        (b"epochs: 1:30\n", "1:30 would be read as 90"),
        (b"energy_picojoule: {flop: 1_0.5}\n", "1_0.5 would be read as 10.5"),
        ("# größer\nepochs: 3\n".encode("latin-1"), "line 1: not UTF-8 but another encoding, perhaps Latin-1"),
        ("epochs: 3\n".encode("utf-16"), "line 1: not UTF-8 but UTF-16; save the file as UTF-8"),
        ("epochs: 3\n".encode("utf-16-le"), "not UTF-8 but UTF-16"),
    ],
)
def test_a_configuration_file_that_would_not_be_read_as_it_looks_is_refused(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        settings.require_plain_file(path)
    assert str(path) in str(error.value) and message in str(error.value), str(error.value)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--config", "preset=a", "seeds=1_0", "--cores", "2"], "--config seeds=1_0: 1_0 would be read as 10; write"),
        (["-C", "seeds=\u0663"], "--config seeds=\u0663: \u0663 would be read as 3"),
        (["--config=epochs=1_0"], "--config epochs=1_0"),
        (["--config", "epochs=1_0.5e1"], "would be read as 105"),
        (["--config", "seeds=0,1", "epochs=010", "x=-1e-3", "preset=nan", "data_root=a=1_0"], ""),
        (["--cores", "1", "--", "x=1_0"], ""),
    ],
)
def test_a_number_of_the_command_line_that_would_not_be_read_as_it_looks_is_refused(words, message):
    if not message:
        settings.require_plain_words(words)
        return
    with pytest.raises(UserError, match=re.escape(message)):
        settings.require_plain_words(words)


def test_a_recipe_is_read_as_it_looks(tmp_path):
    path = tmp_path / "cifar10.yaml"
    shipped = (RECIPE_FOLDER / "cifar10.yaml").read_text()
    path.write_bytes(b"\xef\xbb\xbf" + shipped.replace("\n", "\r\n").encode())
    assert recipe.load(path) == recipe.load(RECIPE_FOLDER / "cifar10.yaml")
    path.write_bytes(shipped.encode("utf-16"))
    with pytest.raises(UserError, match=r"cifar10\.yaml, line 1: not UTF-8 but UTF-16"):
        recipe.load(path)
    with pytest.raises(UserError, match="epochs is '010', but must be a whole number"):
        recipe.load(RECIPE_FOLDER / "cifar10.yaml", {"epochs": "010"})


def test_a_configuration_is_taken_as_it_was_written(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbfenergy_picojoule: {flop: 1e1, synop: 77e-3}\r\nepochs: 12\r\noffline: no\r\n")
    settings.require_plain_file(path)
    found = checked(words.typed(yaml.safe_load(path.read_text())), SCHEMAS["config"], "configuration")
    assert found["energy_picojoule"] == {"flop": 10.0, "synop": 0.077, "sign": 3.7}
    assert found["epochs"] == 12 and found["offline"] is False


@pytest.mark.parametrize("text", ["1_0", "1_0.5", "\u0661", "nan", "inf", "1e", "."])
def test_an_option_that_is_no_plain_number_is_refused(text):
    with pytest.raises(ValueError, match="a number"):
        Option(0.5, "a number").value(text, text=True)


@pytest.mark.parametrize("text, number", [("010", 10), ("-2", -2), ("1e-3", 1e-3), ("+.5", 0.5), ("2.", 2.0)])
def test_an_option_that_is_a_number(text, number):
    assert Option(0.5, "a number").value(text, text=True) == number


@pytest.mark.parametrize("name", ["runs:2", "{x}", "x}"])
def test_a_clone_where_commands_could_not_name_its_files_is_refused(name):
    with pytest.raises(UserError, match=f"^/home/{re.escape(name)}/clone: .* move the repository"):
        settings.require_plain_folder(Path("/home", name, "clone"))


def test_a_clone_in_an_odd_folder_is_taken():
    settings.require_plain_folder(Path('/home/it\'s a "clone"\n$HOME; [*] #1 %s \\ ü'))


def test_there_are_more_than_a_hundred():
    cells, recipes = (sum(map(len, cases.values())) for cases in (CELLS, RECIPES))
    assert len(CONFIGURATIONS) >= 80 and cells >= 40 and recipes >= 40
