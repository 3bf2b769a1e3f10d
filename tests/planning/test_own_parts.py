"""Parts of a user's own in a run table: tried before any work, named in one line where something is wrong."""

from pathlib import Path

import pytest

from ternary_spike.configuration import run_table
from ternary_spike.configuration.schema import checked, load_schema
from ternary_spike.planning import settings
from ternary_spike.planning.parts import require_known
from ternary_spike.planning.run_files import expected_files
from ternary_spike.system.errors import UserError
from tests.models.test_registry import OneUnit

ROOT = Path(__file__).parents[2]
SCHEMAS = {name: load_schema(ROOT / f"workflow/schemas/{name}.schema.yaml") for name in ("config", "experiments")}
NEURONS, NETWORKS = "tests.helpers.neurons", "tests.models.test_registry"
HEAD = ",".join(run_table.COLUMNS)


class WrongScores(OneUnit):
    """A network with a score too many."""

    def __init__(self, neuron, norm, timesteps, num_classes, **sizes):
        super().__init__(neuron, norm, timesteps, num_classes + 1, **sizes)


def plan_of(folder, *rows: str, look: bool = True):
    """The plan of rows given as architecture,neuron,variant,neuron_options."""
    full = []
    for row in rows:
        architecture, neuron, variant, options = row.split(",")
        given = {"dataset": "digits", "architecture": architecture, "timesteps": "2", "neuron": neuron}
        given |= {"variant": variant, "neuron_options": options, "recipe": "digits", "seeds": "0", "control": "false"}
        full.append(",".join(given.get(column, "") for column in run_table.COLUMNS))
    table = folder / "table.csv"
    table.write_text("\n".join([HEAD, *full]) + "\n")
    config = checked({"data": {"digits": {"source": "scikit-learn"}}}, SCHEMAS["config"], "configuration")
    folders = ROOT / "config/recipes", ROOT / "config/methods"
    return settings.configured_plan(config, table, *folders, SCHEMAS["experiments"], look=look)


def test_they_are_planned_and_their_ids_name_files(tmp_path):
    rows = [
        f"resnet6w4,{NEURONS}:SoftReset,low,threshold=0.3",
        f"{NETWORKS}:OneUnit,ternary,,",
        "resnet6w4,ternary,tdbn,normalisation=tests.models.test_normalisations:Halved",
    ]
    plan = plan_of(tmp_path, *rows)
    names = ("resnet6w4-T2-tests.helpers.neurons_SoftReset-low", "tests.models.test_registry_OneUnit-T2-ternary")
    assert [run.id for run in plan][:2] == [f"digits-{name}" for name in names]
    assert plan[0].given_options == {"threshold": "0.3"} and plan[2].given_options == {}
    assert plan[2].network_options == {"normalisation": "tests.models.test_normalisations:Halved"}
    assert "energy.json" in expected_files(plan[0].neuron, first_seed=True)


def test_a_job_of_a_plan_that_was_looked_at_imports_none_of_them(tmp_path):
    (run,) = plan_of(tmp_path, "nowhere.networks:Net,nowhere.neurons:Own,,", look=False)
    assert expected_files(run.neuron, first_seed=False) == expected_files("ternary", first_seed=False)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            "resnet6w4,ternery,,",
            ["table.csv, run digits-resnet6w4-T2-ternery", "unknown neuron 'ternery'", "trainable"],
        ),
        ("resnet6w0,ternary,,", ["unknown architecture 'resnet6w0'", "resnet20w16"]),
        ("resnet6w4,nowhere:Own,,", ["run digits-resnet6w4-T2-nowhere_Own", "no module 'nowhere'", "`plugins`"]),
        (f"resnet6w4,{NEURONS}:SoftReset,x,threshold=-1", ["threshold is '-1'", "a number from 1e-30"]),
        (f"resnet6w4,{NETWORKS}:OneUnit,,", ["network cannot be made", "is no subclass of", "SpikingNeuron"]),
        (f"{NETWORKS}:Nothing,ternary,,", ["network cannot be made", "is no subclass of", "SpikingNetwork"]),
        (f"{__name__}:WrongScores,ternary,,", ["scores of shape (1, 11)", "not (1, 10)"]),
        ("resnet6w4,ternary,x,normalisation=layer_norm", ["unknown normalisation 'layer_norm'", "batch_norm"]),
        ("resnet6w4,ternary,x,normalisation.size=2", ["unknown option size=2 for normalisation 'batch_norm'"]),
        ("resnet6w4,ternary,x,threshold=rate_of_nobody", ["rate_of_nobody", "module:Name of your own"]),
    ],
)
def test_what_cannot_be_is_named_before_any_work(tmp_path, row, words):
    with pytest.raises(UserError) as error:
        plan_of(tmp_path, row)
    message = str(error.value)
    assert all(word in message for word in words) and "\n" not in message, message


def test_an_unknown_dataset_is_named():
    with pytest.raises(UserError, match="a row: unknown dataset 'mnist': choose one of digits, cifar10"):
        require_known({"dataset": "mnist"}, "a row")


def test_folders_of_plug_ins(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "a:b").mkdir()
    assert settings.plugin_folders(["own", str(tmp_path)], tmp_path) == [str(tmp_path / "own"), str(tmp_path)]
    for name, words in {"absent": "is no folder", "a:b": "contains ':'"}.items():
        with pytest.raises(UserError, match=f"plugins names {name}, .*{words}"):
            settings.plugin_folders([name], tmp_path)
