"""Reading a preset's small files: what notebooks and pages are made from."""

from functools import cached_property
from pathlib import Path

import pandas as pd

from ternary_spike import paper
from ternary_spike.planning.run_files import run_folder
from ternary_spike.report.palette import ordered
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import SUMS, read_json, require_listed
from ternary_spike.tables.columns import TEXT

#: ids of the trained runs in the tables that this process has read, by their preset's folder: what figures may show
READ: dict[Path, set[str]] = {}


class Results:
    """The results of a preset, results/<preset>.

    Args:
        folder: the preset's folder.

    Raises:
        UserError: if a file that is asked for is missing or damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @property
    def preset(self) -> str:
        """The preset's name, which is its folder's."""
        return self.folder.resolve().name

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name, ``tables/<name>.csv``; empty text is "", a missing number NaN."""
        frame = self._csv(self.folder / "tables" / f"{name}.csv", "collect", self.folder / "tables" / SUMS)
        ids = {*frame["id"]} if "id" in frame else set()
        READ.setdefault(self.folder, set()).update(run for run in ids if run and (self.folder / "runs" / run).is_dir())
        return frame

    def trace(self) -> pd.DataFrame:
        """The three neurons on one input, step by step."""
        return self._csv(self.folder / "trace.csv", "trace")

    def amplitudes(self) -> pd.DataFrame:
        """Where an amplitude can act, a row an architecture and neuron layer (the verb `amplitudes`)."""
        return self._csv(self.folder / "amplitudes.csv", "amplitudes")

    @staticmethod
    def _csv(path: Path, stage: str, sums: Path | None = None) -> pd.DataFrame:
        if path.exists():
            require_listed(path, sums)
        try:
            # text is text: a commit of digits only is no number
            frame = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(TEXT, str))
        except FileNotFoundError:
            raise UserError(f"{path} is missing; run the `{stage}` stage first") from None
        except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read as CSV ({error}); run the `{stage}` stage again") from None
        for column in TEXT & set(frame.columns):
            frame[column] = frame[column].fillna("").astype(object)
        return frame

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row a run id, neurons in their usual order within a dataset, network and T."""
        frame = self.table("summary")
        needed = {"id", "dataset", "architecture", "timesteps", "neuron", "n"}
        if not needed <= set(frame) or not pd.api.types.is_numeric_dtype(frame["n"]):
            path = self.folder / "tables" / "summary.csv"
            raise UserError(f"{path} is no table of runs, or a damaged one; run the `collect` stage again")
        rank = frame["neuron"].map({name: i for i, name in enumerate(ordered(frame["neuron"].dropna()))})
        place = frame.groupby(["dataset", "architecture", "timesteps"], sort=False).ngroup()
        return (
            frame.assign(_place=place, _rank=rank)
            .sort_values(["_place", "_rank"], kind="stable")
            .drop(columns=["_place", "_rank"])
        )

    @property
    def named(self) -> pd.DataFrame:
        """What tells runs apart, a row a run id, to be merged into other tables by ``id``."""
        return self.summary[["id", "neuron", "variant", "data_label", "dataset", "architecture", "timesteps"]]

    @cached_property
    def done(self) -> pd.DataFrame:
        """The rows of :attr:`summary` that have at least one finished seed."""
        return self.summary[self.summary["n"] > 0]

    @cached_property
    def energies_at(self) -> str:
        """At which constants the energies of this preset were estimated, and whether they are the paper's, in words.

        Tables of earlier versions do not say; these had the paper's.
        """
        energy = self.table("energy")
        found = dict.fromkeys(energy.get("constants", [paper.CONSTANTS]))
        found.pop("", None)
        others = "; ".join(found)
        if not found:
            return "no energies of these settings yet"
        if set(found) == {paper.CONSTANTS}:
            return f"energies at the paper's constants, {paper.CONSTANTS}"
        return f"energies not at the paper's constants but at {others}"

    def evaluation(self, run: str, seed: int) -> dict:
        """evaluation.json of a run and seed."""
        return read_json(run_folder(self.folder, run, seed) / "evaluation.json")

    def has(self, run: str, seed: int, file: str) -> bool:
        """Whether a run has written a file."""
        return (run_folder(self.folder, run, seed) / file).exists()

    def run(self, run: str, seed: int) -> dict:
        """run.json of a run and seed."""
        return read_json(run_folder(self.folder, run, seed) / "run.json")
