"""What a user set, checked as a whole before any work: configuration, run table, recipes and data together.

The schemas say what each key may be; here is what only several of them together show: a run whose network does not
take its pictures, whose T is not that of its event frames, whose recipe is another dataset's.
"""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from ternary_spike.configuration import recipe as recipes
from ternary_spike.configuration import run_table
from ternary_spike.configuration.register import NUMBER
from ternary_spike.configuration.schema import checked
from ternary_spike.configuration.strict_yaml import StrictLoader
from ternary_spike.configuration.user_text import read_user_text
from ternary_spike.data import registry
from ternary_spike.data.dataset import Dataset
from ternary_spike.methods.registry import METHODS
from ternary_spike.models.registry import require_image_size
from ternary_spike.planning.data_source import DataSource
from ternary_spike.planning.parts import require_known, require_network, require_parts
from ternary_spike.planning.plan import make_plan
from ternary_spike.planning.run import Run
from ternary_spike.planning.selection import Selection
from ternary_spike.system.errors import UserError

# in the path of a clone
UNUSABLE = {":": "parts the folders of PYTHONPATH", "{": "begins a wildcard", "}": "ends a wildcard"}


def require_plain_folder(path: Path) -> None:
    """Raise UserError if a clone lies where the workflow's commands could not name its files."""
    for character, use in UNUSABLE.items():
        if character in str(path):
            raise UserError(f"{path}: {character!r} {use}; move the repository to a folder without it")


def plugin_folders(folders: Iterable[str], base: Path) -> list[str]:
    """The folders that a configuration names under ``plugins``, absolute; relative ones lie in ``base``.

    Raises:
        UserError: if there is no such folder, or Python could not search it.
    """
    found = []
    for name in folders:
        folder = Path(base, Path(name).expanduser()).resolve()
        if not folder.is_dir() or ":" in str(folder):
            problem = "contains ':'" if folder.is_dir() else "is no folder"
            raise UserError(f"configuration: plugins names {name}, but {folder} {problem}; name what holds the package")
        found.append(str(folder))
    return found


def require_plain_file(path: Path) -> None:
    """Raise UserError if Snakemake would not read a configuration file as it looks, or answer it with a traceback."""
    try:
        yaml.load(read_user_text(path), StrictLoader)
    except yaml.constructor.ConstructorError as error:
        raise UserError(f"{path}, line {error.problem_mark.line + 1}: {error.problem}") from None
    except (OSError, ValueError, yaml.YAMLError):
        return  # whoever reads the file says so


def require_plain_words(words: Iterable[str]) -> None:
    """Raise UserError if a value of Snakemake's ``--config KEY=VALUE`` would be read as another number than it looks.

    Args:
        words: of the command line.
    """
    taken = False
    for word in words:
        if word.startswith("-"):
            option, _, word = word.partition("=")
            taken = option in ("--config", "-C")
        key, equals, value = word.partition("=")
        if not taken or not equals or NUMBER.fullmatch(value):
            continue
        with suppress(ValueError):
            if math.isfinite(read := float(value)):
                raise UserError(f"--config {key}={value}: {value} would be read as {read:g}; write that")


def recipe_changes(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration changes in every recipe. Raises UserError if it says two things of one key."""
    changes = dict(config["recipe_changes"])
    if config["epochs"] is not None:
        if changes.get("epochs", config["epochs"]) != config["epochs"]:
            raise UserError(
                f"configuration: epochs is {config['epochs']}, but recipe_changes.epochs is {changes['epochs']}; "
                "leave one of them out"
            )
        changes["epochs"] = config["epochs"]
    return changes


def configured_plan(
    config: Mapping[str, Any],
    table: Path,
    recipe_folder: Path,
    method_folder: Path,
    row_schema: Mapping,
    *,
    rivals: Path | None = None,
    look: bool = True,
) -> list[Run]:
    """The plan that a configuration asks for.

    Args:
        config: checked, with every key.
        table: the run table.
        recipe_folder: holds the recipes that it names.
        method_folder: holds the method sheets that it names.
        row_schema: JSON schema of the table's rows.
        rivals: the run table of prior methods, read where the configuration wants them.
        look: whether to look for the data and at what the settings say together. Without, for a job of a plan that was
            looked at when it was made, every run counts as runnable.

    Raises:
        UserError: if anything in them is wrong, or they contradict each other.
    """
    rows = run_table.read_experiments(table, method_folder, rivals if config["rivals"] else None)
    for row in rows:
        where = f"{table}, run {run_table.run_id(row)}"
        checked(run_table.plain(row), row_schema, where)
        require_known(row, where)
    if not rows:
        raise UserError(f"{table} has no rows; write one for each training")
    sources = {name: _source(name, settings) for name, settings in config["data"].items()}
    selection = Selection(**{facet: tuple(config[facet]) for facet in run_table.FACETS}, controls=config["controls"])

    def unavailable(source: DataSource) -> str | None:
        if not look:
            return None
        return registry.availability(source.dataset, source.kind, source.root, source.options, config["offline"])

    plan = make_plan(rows, selection, sources, recipe_folder, recipe_changes(config), unavailable)
    if not plan:
        raise UserError(f"{table}: every row that is wanted is a control; set controls: true")
    if look:
        require_consistent(plan, config["gpus"], config["device"])
    return plan


def _source(dataset: str, settings: Mapping[str, Any]) -> DataSource:
    options = {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in settings["options"].items()
    }
    original = registry.is_original(dataset, settings["source"])
    registry.require_options(dataset, options)
    if settings["root"] is not None and registry.root_of(dataset, settings["source"]) is None:
        raise UserError(
            f"configuration: data.{dataset}.root is {settings['root']!r}, but must be left out: this source has none"
        )
    return DataSource(dataset, settings["source"], settings["root"], options, original)


def require_consistent(plan: Iterable[Run], gpus: Mapping[str, int], device: str) -> None:
    """Raise UserError for the first run that cannot be what its settings together say."""
    plan = list(plan)
    for dataset, count in gpus.items():
        if dataset not in registry.names():
            raise UserError(f"configuration: unknown dataset gpus.{dataset}; known are {', '.join(registry.names())}")
        if count > 1 and device == "cpu":
            raise UserError(f"configuration: gpus.{dataset} is {count}, but device is cpu; leave one of them out")
    for run in plan:
        _require_method_options(run)
    for sheet in {run.method.name: run.method for run in plan if run.method}.values():
        require_parts(sheet)
    for run in {run.id: run for run in reversed(plan)}.values():
        recipe = recipes.from_dict(run.values, f"recipe {run.recipe}")
        try:
            _require_fitting(run, recipe, registry.describe(run.dataset), gpus.get(run.dataset, 1))
        except (UserError, ValueError) as error:
            raise UserError(f"run {run.id}: {error}") from None


def _require_method_options(run: Run) -> None:
    """Raise UserError where a row gives its method an option that this does not have, or with another value."""
    try:
        METHODS.options(run.training, run.method.changed if run.method else {}, text=True)
    except ValueError as error:
        raise UserError(f"run {run.id}: method_options: {error}") from None


def _require_source(run: Run) -> None:
    """Raise ValueError where a way to train has no source, or a source has nobody who takes it."""
    starts = METHODS[run.training].from_run
    if starts and not run.source:
        raise ValueError(f"its training, {run.training}, starts from another run; name that in the column source")
    if run.source and not run.target and not starts:
        raise ValueError(
            f"source is {run.source}, but its training, {run.training}, starts from no other run, and its threshold "
            "is not rate_of_source; leave source out"
        )


def _require_fitting(run: Run, recipe: recipes.Recipe, data: Dataset, processes: int) -> None:
    _require_source(run)
    size = data.prepared_size(run.data.options)
    require_image_size(run.architecture, size)
    require_network(run, data.channels, size)
    frames = int(data.settings(run.data.options)["frames"]) if data.frames is not None else None
    if frames not in (None, run.timesteps):
        raise UserError(
            f"timesteps is {run.timesteps}, but must be {frames}, the frames of {run.dataset}; change one of them "
            f"(data.{run.dataset}.options.frames)"
        )
    for key, values in (("mean", recipe.mean), ("std", recipe.std)):
        if values is not None and len(values) != data.channels:
            raise UserError(
                f"recipe {run.recipe}: {key} has {len(values)} values, but {run.dataset} has {data.channels} channels"
            )
    if recipe.random_resized_crop != data.of_varying_size:
        raise UserError(
            f"recipe {run.recipe}: random_resized_crop is {str(recipe.random_resized_crop).lower()}, but must be "
            f"{str(data.of_varying_size).lower()} for {run.dataset}"
        )
    if run.data.original and recipe.train_samples and data.train_samples and recipe.train_samples > data.train_samples:
        raise UserError(
            f"recipe {run.recipe}: train_samples is {recipe.train_samples}, but must be at most {data.train_samples}"
        )
    if recipe.batch_size < processes:
        raise UserError(
            f"recipe {run.recipe}: batch_size is {recipe.batch_size}, but must be at least gpus.{run.dataset}, "
            f"which is {processes}"
        )
    # as data.augmentation says it, which would import torch
    if recipe.autoaugment != "none" and (frames is not None or data.channels != 3):
        shape = (*(() if frames is None else (frames,)), data.channels, size, size)
        raise UserError(
            f"recipe {recipe.name}: autoaugment works on square RGB pictures, but these are "
            f"{' x '.join(map(str, shape))}; set autoaugment to none"
        )
