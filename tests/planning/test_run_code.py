"""What makes a training, or a later stage, run again: each change is made in a copy of the library."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from ternary_spike.configuration import recipe as recipes
from ternary_spike.data.prepared import Split, write_prepared
from ternary_spike.methods.registry import METHODS, PAPERS_WAY
from ternary_spike.models.normalisations import BATCH_NORM, NORMALISATIONS
from ternary_spike.models.registry import ARCHITECTURES
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.planning.run_files import STAGES
from ternary_spike.system import codehash
from tests.helpers.tiny import CLASSES, NEURON_OF, NEURON_OPTIONS_OF, SIZE, prepare_tiny

REPOSITORY = Path(__file__).parents[2]
LATER = tuple(stage for stage in STAGES if stage != "train")
#: runs by name: neuron, its options, recipe, method, and what else its network is made of
RUNS = {
    "binary": ("binary", {}, "digits", PAPERS_WAY),
    "ternary": ("ternary", {}, "digits", PAPERS_WAY),
    "trainable": ("trainable", {}, "digits", PAPERS_WAY),
    "stbp": ("stbp", {}, "digits", PAPERS_WAY),
    "plif": ("plif", {}, "digits", PAPERS_WAY),
    "soft_reset": ("soft_reset", {}, "digits", PAPERS_WAY),
    "dsr_if": ("dsr_if", {}, "digits", PAPERS_WAY),
    "dsr_lif": ("dsr_lif", {}, "digits", PAPERS_WAY),
    "tssl": ("tssl", {}, "digits", PAPERS_WAY),
    "glif": ("glif", {}, "digits", PAPERS_WAY),
    "real_spike": ("real_spike", {}, "digits", PAPERS_WAY),
    "inflor": ("inflor", {}, "digits", PAPERS_WAY),
    "if": ("if", {}, "digits", PAPERS_WAY),
    "diet": ("diet", {}, "digits", PAPERS_WAY),
    "mpbn": ("mpbn", {}, "digits", PAPERS_WAY),
    "mt_snn_candidate": ("mt_snn_candidate", {}, "digits", PAPERS_WAY),
    "relu": ("relu", {}, "digits", PAPERS_WAY),
    "atan": ("ternary", {"surrogate": "atan"}, "digits", PAPERS_WAY),
    "augmented": ("ternary", {}, "cifar10", PAPERS_WAY),
    "pictures": ("ternary", {}, "imagenet", PAPERS_WAY),
    "own": ("mypackage.neuron:Own", {}, "digits", PAPERS_WAY),
    "own method": ("ternary", {}, "digits", "mypackage.method:Own"),
    "own network": ("ternary", {}, "digits", PAPERS_WAY, {"architecture": "mypackage.network:Own"}),
    "own normalisation": ("ternary", {}, "digits", PAPERS_WAY, {"normalisation": "mypackage.norm:Own"}),
}
ALL = frozenset(RUNS)
PROGRAM = """
import json, sys
from pathlib import Path

def hashes(runs, stages):
    # what was imported of the library is imported anew, but for the parser, which remembers what it has parsed
    for name in [*sys.modules]:
        ours = name.partition(".")[0] in ("ternary_spike", "mypackage")
        if ours and not name.endswith(("ternary_spike", "system", "codehash")):
            del sys.modules[name]
    from ternary_spike.configuration import recipe as recipes
    from ternary_spike.planning.run_code import run_code_hash
    files = {file for _, _, file, *_ in runs.values()}
    recipe_of = {file: recipes.load(f"config/recipes/{file}.yaml").as_dict() for file in files}
    found = {}
    for run, (neuron, options, file, method, *others) in runs.items():
        model = {"architecture": "resnet20w16", "neuron": neuron, "neuron_options": options}
        model.update(*others)
        recipe = recipe_of[file]
        found[run] = {
            stage: run_code_hash(stage, {"model": model, "recipe": recipe, "method": method}) for stage in stages
        }
        found[run]["train"] += json.dumps(recipes.deciding(recipe), sort_keys=True)
    return found

library = Path(sys.argv[1])
runs, stages, changes = json.loads(sys.stdin.read())
sys.path.insert(0, str(library))
found = {"nothing": hashes(runs, stages)}
for name, edits in changes.items():
    before = {file: path.read_text() if (path := library / file).exists() else "" for file, _, _ in edits}
    for file, old, new in edits:
        text = (library / file).read_text() if before[file] else ""
        assert old in text, (file, old)
        (library / file).write_text(text.replace(old, new, 1) if old else text + new)
    found[name] = hashes(runs, stages)
    for file, text in before.items():
        (library / file).write_text(text) if text else (library / file).unlink()
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Change:
    """A row of the documentation's table: what is done to the library, and what runs again.

    Attributes:
        edits: (file, old text, new text); with an empty old text the new one is written at the file's end.
        trains: runs that train again.
        stages: later stages that run again, of every run, where none trains.
    """

    edits: tuple[tuple[str, str, str], ...]
    trains: frozenset[str] = frozenset()
    stages: frozenset[str] = field(default_factory=frozenset)


EQUATION_ELSEWHERE = {
    "relu",
    "own",
    "plif",
    "glif",
    "inflor",
    "if",
    "diet",
    "mt_snn_candidate",
    "dsr_if",
    "dsr_lif",
    "tssl",
}
EQUATION = ("neurons/lif.py", "u * (1 - fired.abs())", "u * (1 - fired)")
CHANGES = {
    "a comment, a docstring, the layout": Change((("membrane/dynamics.py", "", "# said again\n"),)),
    "a new neuron": Change(
        (
            ("neurons/added.py", "", "class Added:\n    pass\n"),
            (
                "neurons/registry.py",
                '"binary": Part(',
                '"added": Part("ternary_spike.neurons.added:Added", "new"), "binary": Part(',
            ),
        )
    ),
    "a new network": Change(
        (
            (
                "models/registry.py",
                '"resnet6": ',
                '"resnet10": _resnet("new", _imagenet((1, 1, 1, 1))),\n        "resnet6": ',
            ),
            ("models/published.py", "CHAINS = {", 'CHAINS = {"new": _network("new", PTL, FAITHFUL, 8, "8 A F8"),'),
        )
    ),
    "a new normalisation": Change(
        (
            (
                "models/normalisations.py",
                "BATCH_NORM: Part(",
                '"new": Part("ternary_spike.new:New", ""), BATCH_NORM: Part(',
            ),
        )
    ),
    "a new surrogate gradient": Change(
        (
            (
                "membrane/surrogate.py",
                '    if name == "sigmoid":',
                '    if name == "new":\n        return u\n    if name == "sigmoid":',
            ),
            ("membrane/surrogate.py", '"tanh_unclipped")', '"tanh_unclipped", "new")'),
            ("neurons/registry.py", '"sigmoid": ', '"new": "new", "sigmoid": '),
        )
    ),
    "a new method": Change(
        (
            ("methods/added.py", "", "class Added:\n    pass\n"),
            (
                "methods/registry.py",
                "PAPERS_WAY: Part(",
                '"added": Part("ternary_spike.methods.added:Added", "new"),\n        PAPERS_WAY: Part(',
            ),
        )
    ),
    "a method's own code": Change((("methods/cross_entropy.py", "", "NEW = 1\n"),), trains=ALL - {"own method"}),
    "a new option of a neuron, with its default": Change(
        (("neurons/registry.py", "LIF = {", 'LIF = {"new": Option(1.0, "new"),'),)
    ),
    "a new field of recipes, with its default": Change(
        (
            (
                "configuration/recipe.py",
                "    def __post_init__",
                "    new: bool = field(default=False, metadata=flip.metadata)\n\n    def __post_init__",
            ),
        )
    ),
    "AutoAugment": Change((("data/autoaugment.py", "", "NEW = 1\n"),), trains=frozenset({"augmented"})),
    "decoding of picture files": Change((("data/pictures.py", "", "NEW = 1\n"),), trains=frozenset({"pictures"})),
    "a neuron's own equation": Change((EQUATION,), trains=ALL - EQUATION_ELSEWHERE),
    "a surrogate's own formula": Change(
        (("membrane/surrogate.py", "1 / (math.pi", "2 / (math.pi"),), trains=frozenset({"atan", "plif", "real_spike"})
    ),
    "code of a part outside of the repository": Change(
        (("../mypackage/constants.py", "0.5", "0.25"),), trains=frozenset({"own", "own network", "own normalisation"})
    ),
    "the training loop, the networks, batch norm, what the fused neurons compute": Change(
        (("models/batch_norm.py", "", "NEW = 1\n"),), trains=ALL
    ),
    "what is measured of a trained network (bins of the membranes' histogram)": Change(
        (("measuring/evaluation.py", "MEMBRANE_BINS = ", "MEMBRANE_BINS = 2 * "),), stages=frozenset({"evaluate"})
    ),
    "the energy of an operation": Change((("reparam/energy.py", "1e-6", "1e-5"),), stages=frozenset({"energy"})),
    "folding": Change((("reparam/folding.py", "", "NEW = 1\n"),), stages=frozenset({"fold"})),
    "tables, figures, report": Change((("tables/collect.py", "", "NEW = 1\n"), ("report/site.py", "", "NEW = 1\n"))),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """A copy of the library beside a package of a user's own."""
    folder = tmp_path_factory.mktemp("library")
    shutil.copytree(
        REPOSITORY / "lib" / "ternary_spike", folder / "ternary_spike", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "mypackage").mkdir()
    (folder / "mypackage" / "neuron.py").write_text("from .constants import DECAY\n\n\nclass Own:\n    decay = DECAY\n")
    for name in ("network", "norm"):
        (folder / "mypackage" / f"{name}.py").write_text("from .constants import DECAY\n\n\nclass Own:\n    pass\n")
    (folder / "mypackage" / "method.py").write_text("class Own:\n    pass\n")
    (folder / "mypackage" / "constants.py").write_text("DECAY = 0.5\n")
    return folder


@pytest.fixture(scope="module")
def hashes(library) -> dict[str, dict[str, dict[str, str]]]:
    """By change, run and stage, what must differ for the stage to run again; "nothing" is the library as it is."""
    edits = {name: [(f"ternary_spike/{file}", *texts) for file, *texts in c.edits] for name, c in CHANGES.items()}
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, library],
        input=json.dumps([RUNS, list(STAGES), edits]),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_runs_again_what_reaches_it_and_nothing_else(hashes, name):
    before, after, change = hashes["nothing"], hashes[name], CHANGES[name]
    assert {run for run in RUNS if after[run]["train"] != before[run]["train"]} == change.trains
    if not change.trains:
        for run in RUNS:
            assert {stage for stage in LATER if after[run][stage] != before[run][stage]} == change.stages


def test_the_documentation_has_a_row_for_each_change():
    section = (REPOSITORY / "docs" / "workflow.md").read_text().partition("## What makes a training run again")[2]
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|", section.partition("\n## ")[0], re.MULTILINE))
    for name, change in CHANGES.items():
        assert name in rows
        assert (rows[name] == "nothing") == (not change.trains)


def test_a_field_at_its_default_is_no_part_of_a_recipe_s_hash_and_its_defaults_stay():
    values = recipes.load(REPOSITORY / "config/recipes/digits.yaml").as_dict()
    deciding = recipes.deciding(values)
    assert deciding["epochs"] == values["epochs"] and "cutout" not in deciding
    assert recipes.deciding(values | {"cutout": 4}) == deciding | {"cutout": 4}
    # another default would be another training under the same hash: give a new field instead
    defaults = {"precision": "float32", "train_samples": None, "crop_padding": 0, "random_resized_crop": False}
    defaults |= {"flip": False, "roll": 0, "autoaugment": "none", "cutout": 0, "evaluation_crop": 1.0}
    assert defaults == {key: recipes.FIELDS[key].default for key in defaults}


GUARD = """
import json, os, sys
from pathlib import Path
import torch
from ternary_spike.system import codehash  # which every training imports; it remembers what it has parsed
torch.set_num_threads(1)
rows, homes = json.loads(sys.argv[1]), json.loads(sys.argv[2])
codehash.run_code_hash(codehash.TRAINING, homes, {})
for row in rows:
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0, row
        continue
    from dataclasses import replace
    from tests.helpers.tiny import tiny_plan
    from ternary_spike.training.loop import train
    out = Path(row["out"])
    out.mkdir()
    plan = tiny_plan(Path(row["data"]), row["neuron"], epochs=1, **row["recipe"])
    source = Path(row["source"]) if row["source"] else None
    plan = replace(plan, method=row["method"], source=source)
    plan = replace(plan, model=plan.model | row["model"])
    train(plan, out / "checkpoints", out, torch.device("cpu"), report=lambda line: None)
    (out / "modules").write_text("\\n".join(sys.modules))
    os._exit(0)
"""


def test_whatever_a_training_imports_counts_or_is_known_to_be_indifferent(tmp_path):
    """A row of every registered part, each in a process that has imported next to nothing of the library before."""
    assert set(RUNS) >= set(NEURONS)
    tiny = str(prepare_tiny(tmp_path / "tiny", train=32, test=8))
    pictures = Split(torch.zeros(8, 3, SIZE, SIZE, dtype=torch.uint8), torch.arange(8) % CLASSES)
    write_prepared(tmp_path / "rgb", "rgb", "black", {"kind": "test"}, CLASSES, {"train": pictures, "test": pictures})
    plain = {"data": tiny, "model": {}, "recipe": {}, "method": PAPERS_WAY, "source": None}
    neurons = list(NEURONS)
    rows = [plain | {"neuron": neuron} for neuron in neurons]
    rows += [plain | {"neuron": "ternary", "model": {"normalisation": name}} for name in NORMALISATIONS]
    rows += [plain | {"neuron": "ternary", "model": {"architecture": "plifnetw4"}}]
    for method, part in METHODS.items():
        rows.append(plain | {"neuron": NEURON_OF.get(method, "ternary"), "method": method})
        rows[-1]["model"] = {"neuron_options": NEURON_OPTIONS_OF.get(method, {})}
        if part.from_run:
            rows[-1]["source"] = str(tmp_path / f"row{[*NEURONS].index('relu')}")
    rgb = {"autoaugment": "cifar10", "mean": [0.3] * 3, "std": [0.25] * 3, "precision": "bfloat16"}
    rows.append(
        plain | {"neuron": "ternary", "data": str(tmp_path / "rgb"), "model": {"in_channels": 3}, "recipe": rgb}
    )
    rows = [row | {"out": str(tmp_path / f"row{number}")} for number, row in enumerate(rows)]
    registered = (NEURONS, METHODS, NORMALISATIONS, ARCHITECTURES)
    homes = sorted({part.module for parts in registered for part in parts.values()})
    command = [sys.executable, "-c", GUARD, json.dumps(rows), json.dumps(homes)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = set()
    for row in rows:
        loaded = {n for n in Path(row["out"], "modules").read_text().split() if n.startswith(f"{codehash.PACKAGE}.")}
        norm = NORMALISATIONS[row["model"].get("normalisation", BATCH_NORM)]
        network = ARCHITECTURES[row["model"].get("architecture", "resnet6")]
        parts = (NEURONS[row["neuron"]], METHODS[row["method"]], norm, network)
        homes = [part.module for part in parts]
        counted = set(codehash.reached(codehash.TRAINING, homes, row["recipe"]))
        left_out = loaded - counted - {f"{codehash.PACKAGE}.{name}" for name in codehash.INDIFFERENT}
        assert left_out == set()
        imported |= loaded
    assert "ternary_spike.data.autoaugment" in imported
