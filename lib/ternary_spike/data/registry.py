"""The datasets by name, and what can be done with each: is it there, download it, prepare it.

A dataset's module has ``DATASETS`` (name -> :class:`~ternary_spike.data.dataset.Dataset`), ``ROOTS`` (kind of source
-> what its path is, in words), the functions ``prepare`` and ``missing``, and ``download``, or else ``HOW_TO_GET``;
nothing else needs to know of it. The library that reads a dataset is imported only when it is read.
"""

import os
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ternary_spike.configuration.register import Option
from ternary_spike.data.dataset import Dataset
from ternary_spike.system.errors import UserError

if TYPE_CHECKING:  # a job of the workflow asks what there is when it starts, and must not wait for torch
    from ternary_spike.data.prepared import Manifest

_MODULES = {
    "digits": "ternary_spike.data.digits",
    "cifar10": "ternary_spike.data.cifar",
    "cifar100": "ternary_spike.data.cifar",
    "cifar10dvs": "ternary_spike.data.dvs",
    "imagenet": "ternary_spike.data.imagenet",
}


def names() -> tuple[str, ...]:
    """The datasets' names."""
    return tuple(_MODULES)


def module_name(dataset: str) -> str:
    """The module that prepares a dataset. Raises UserError for an unknown name."""
    return _module(dataset).__name__


def is_original(dataset: str, source: str) -> bool:
    """Whether results from this kind of source may bear the dataset's plain name. Raises UserError for unknown ones."""
    return _resolved(dataset, source, None, None)[1] == next(iter(describe(dataset).sources))


def describe(dataset: str) -> Dataset:
    """What is known of a dataset before it is prepared. Raises UserError for an unknown name."""
    return _module(dataset).DATASETS[dataset]


def prepare(
    dataset: str, source: str | None, root: Path | None, options: Mapping[str, Any] | None, out: Path
) -> "Manifest":
    """Check a dataset's own files and write them in the form that training reads. Never touches the network.

    Args:
        dataset: its name.
        source: kind of source; None for the original.
        root: folder of the dataset's own files; None where the kind needs none.
        options: settings in place of the defaults, as values or as text.
        out: folder to write to.

    Raises:
        UserError: if a name or value is not known, or the files are missing, incomplete or corrupt.
    """
    known, source, root, settings = _resolved(dataset, source, root, options)
    if lacking := _lacking(dataset, source, root):
        raise UserError(lacking)
    return _module(dataset).prepare(known, source, root, settings, Path(out))


def download(dataset: str, root: Path) -> None:
    """Fetch and unpack a public dataset with a progress bar, and verify it; nothing is fetched that is already there.

    Raises:
        UserError: if the dataset cannot be downloaded, or not now.
    """
    known = describe(dataset)
    if not known.downloadable:
        hint = _module(dataset).HOW_TO_GET
        raise UserError(f"{dataset} has no download: {hint}")
    _module(dataset).download(known, Path(root).expanduser())


def require_options(dataset: str, options: Mapping[str, Any]) -> None:
    """Raise UserError if a preparation has no such options, or not with these values."""
    _resolved(dataset, None, None, options)


def availability(
    dataset: str,
    source: str | None = None,
    root: Path | None = None,
    options: Mapping[str, Any] | None = None,
    offline: bool = False,
) -> str | None:
    """Whether a run on this data can be planned: a quick look, without reading the data.

    Args:
        dataset, source, root, options: as for :func:`prepare`.
        offline: whether downloading is out of the question.

    Returns:
        None if the data is there or will be downloaded, else one sentence that says what is missing and which one
        setting changes it.

    Raises:
        UserError: if a name or value is not known.
    """
    known, source, root, settings = _resolved(dataset, source, root, options)
    if lacking := _lacking(dataset, source, root):
        return lacking
    reason = _module(dataset).missing(known, source, root, settings)
    if reason is None:
        return None
    if source not in known.downloadable:
        return f"{reason}; complete it or correct data.{dataset}.root"
    return f"{reason}; set offline: false to have it downloaded" if offline else None


def root_of(dataset: str, source: str) -> str | None:
    """What the path of a kind of source is, in words; None if it needs none."""
    return _module(dataset).ROOTS.get(source)


def _lacking(dataset: str, source: str, root: Path | None) -> str | None:
    """What a source's path lacks before anything is looked for there; None if nothing."""
    meant = root_of(dataset, source)
    if root is None and meant:
        return f"{dataset}: no path is set; set data.{dataset}.root to {meant}"
    if root is not None and (unset := re.search(r"\$\{?(\w+)", str(root))):
        where = f"the environment variable {unset[1]}, which data.{dataset}.root names"
        return f"{dataset}: {where}, is not set; set it or data.{dataset}.root to {meant}"
    return None


def _module(dataset: str) -> ModuleType:
    if dataset not in _MODULES:
        raise UserError(f"unknown dataset {dataset!r}; known are {', '.join(_MODULES)}")
    return import_module(_MODULES[dataset])


def _resolved(
    dataset: str, source: str | None, root: Path | None, options: Mapping[str, Any] | None
) -> tuple[Dataset, str, Path | None, dict[str, Any]]:
    known = describe(dataset)
    source = source or next(iter(known.sources))
    if source not in known.sources:
        raise UserError(f"{dataset}: unknown source {source!r}; known are {', '.join(known.sources)}")
    settings = known.settings({})
    for name, value in (options or {}).items():
        if name not in known.options:
            allowed = ", ".join(known.options) or "none"
            raise UserError(f"{dataset}: unknown option {name!r}; known are {allowed}")
        settings[name] = _converted(dataset, name, known.options[name], value)
    # $NAME stands for an environment variable; one that is not set stays as it is
    return known, source, Path(os.path.expandvars(root)).expanduser() if root else None, settings


def _converted(dataset: str, name: str, option: Option, value: Any) -> Any:
    try:
        return option.value(value, text=True)
    except ValueError as error:
        raise UserError(f"{dataset}: {name} is {value!r}, but must be {error}") from None
