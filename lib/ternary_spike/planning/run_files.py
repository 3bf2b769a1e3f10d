"""Which small files each stage of a run leaves in its folder: they carry the numbers to the tables and the report."""

from pathlib import Path

from ternary_spike.neurons.registry import NEURONS

# in the order in which the stages run; the first file of each is there once the stage has succeeded
STAGES = {
    "train": ("run.json", "history.csv"),
    "evaluate": ("evaluation.json",),
    "fold": ("folded.json",),
    "verify": ("equivalence.json",),
    "energy": ("energy.json", "energy.csv"),
    "execute": ("execution.json",),
    "export": ("onnx.json",),
}
RUN_FILES = tuple(name for files in STAGES.values() for name in files)
WITHOUT_SPIKES = ("train", "evaluate")  # there is nothing to fold or to count
ONCE = ("execute", "export")  # what they show does not depend on the seed: one seed of a run is enough


def run_folder(results: Path, run: str, seed: int | str) -> Path:
    """Where the files of one run and seed lie, in results/<preset>."""
    return Path(results) / "runs" / run / f"seed{seed}"


def expected_files(neuron: str, first_seed: bool) -> tuple[str, ...]:
    """Names of the files that a finished run has.

    Args:
        neuron: name of its neuron.
        first_seed: whether it is the seed of its run that stands for all in what is made once.
    """
    stages = STAGES if NEURONS[neuron].spikes else WITHOUT_SPIKES
    return tuple(name for stage in stages if first_seed or stage not in ONCE for name in STAGES[stage])
