"""The tables that `collect` writes: every column and its meaning. Text columns are listed in :data:`TEXT`."""

#: columns that say why a row has no numbers; empty where it has
NOT_FOLDABLE, NOT_COUNTED = "not_foldable", "not_counted"
#: what a state says of results that the plan wants otherwise, or made by the present code
OTHER_SETTINGS, OTHER_CODE = "other settings", "other code"

_RUN = {
    "id": "run id: dataset, network, T, neuron, method and variant",
    "dataset": "the dataset's name in the run table",
    "architecture": "network",
    "timesteps": "T",
    "neuron": "name of the neuron in the run table; relu has no spikes",
    "method": "the published method that it is a run of, with its level; empty for the paper's own way",
    "variant": "what sets a run apart, its method first; empty for the neurons as the paper describes and trains them",
    "tables": "the paper's tables that the run belongs to",
    "control": "whether the paper lacks the run",
    "state": (
        "done, or why there is no number: not run: reason, failed: reason, incomplete, failed: reason, other settings: "
        "in what it is not the run that is planned; then what a finished run cannot give: not foldable: reason, "
        "not counted: reason, or a stage with other settings or that different code did for its seeds; and which "
        "stages were done by other code than the plan's"
    ),
    "reduced": "how the run differs from one of the paper's; empty for a full run",
}
RUN_COLUMNS = tuple(_RUN)
_SEED = {"id": _RUN["id"], "seed": "seed"}


def _over_seeds(name: str, unit: str, what: str) -> dict[str, str]:
    return {
        f"{name}_mean_{unit}": f"{what}, mean over seeds",
        f"{name}_std_{unit}": f"{what}, sample standard deviation over seeds",
    }


def _counted_over_seeds(name: str, unit: str, what: str) -> dict[str, str]:
    """Of what a stage behind the training measures: not every seed that finished may have it."""
    return _over_seeds(name, unit, what) | {f"{name}_n": f"seeds that these are of: {what}"}


_ACCURACIES = {
    **_over_seeds("last_epoch", "percent", "test accuracy of the last epoch"),
    **_over_seeds("best_epoch", "percent", "best test accuracy of all epochs, the paper's protocol"),
    **_counted_over_seeds("rate", "percent", "share of neurons and timesteps that fire"),
}
_ENERGY = {
    "rate": "firing rate that the estimate used, a share; empty for exact counts",
    "flops": "operations of the encoder per image",
    "synops": "additions per image",
    "sign": "comparisons per image",
}
_PAPER = {
    "kind": "literature (as the paper quotes it), paper (its own row) or control (ours only)",
    "dataset": "dataset as printed",
    "method": "method as printed; neuron and variant for a control",
    "citation": "source of a literature row as printed",
    "type": "kind of training as printed",
    "architecture": "network",
    "timesteps": "T",
    "neuron": "neuron of an own row or control",
    "paper_percent": "printed accuracy",
    "paper_std_percent": "printed standard deviation",
    "paper_trials": "trials behind the printed accuracy; 1 where no deviation is printed",
    "id": "our run",
    "state": _RUN["state"],
    "reduced": _RUN["reduced"],
    "n": "seeds that finished",
    "data_label": "data that our run used",
    "test_samples": "test samples that our accuracy is measured on",
    **_ACCURACIES,
    "difference_points": "best epoch's mean less the printed accuracy; full runs only",
    "standard_error_points": "standard error of the difference: trials and test-set sampling",
    "verdict": "agrees with / below / above the paper; full runs only",
    "basis": "what the verdict rests on, or why there is none",
}

COLUMNS: dict[str, dict[str, str]] = {
    "runs": {
        **_SEED,
        **{key: _RUN[key] for key in _RUN if key != "id"},
        "data_label": "the data's label, with the substitute's name if it is one",
        "data_checksum": "SHA-256 of the prepared data",
        "train_samples": "training samples",
        "test_samples": "test samples",
        "last_epoch_percent": "test accuracy of the last epoch",
        "best_epoch_percent": "best test accuracy of all epochs",
        "best_epoch": "the epoch of the best accuracy, from 1",
        "epochs": "length of the schedule",
        "recipe": "recipe",
        "source_run": "run that it builds on: its teacher, the network that it converts, or whose firing rate it has",
        "wall_seconds": "wall time of the training",
        "images_per_second": "training throughput",
        "peak_memory_bytes": "peak memory",
        "resumed": "how often the training went on from a checkpoint",
        "commit": "commit of the code, or unknown: reason",
        "dirty": "whether files differed from the commit",
        "code_hash": "hash of the code that decides the result",
        "device": "device",
        "cpu": "processor",
        "cores": "cores that the process could use",
        "threads": "threads that it used",
        "python": "version of Python",
        "torch": "version of torch",
        "started": "start, UTC",
        "finished": "end, UTC",
        "warnings": "what the training noticed",
        "evaluated_percent": "test accuracy by the evaluation stage",
        "rate_percent": "share of neurons and timesteps that fire",
        "entropy_bits": "entropy of a neuron and timestep, mean over neurons of their layer's pooled entropy",
        "synops": "additions per image, counted",
        "energy_microjoule": "energy per image, the paper's formula: mean rate over neurons, encoder at each timestep; "
        "at the constants of energy.csv",
        "missing": "files that later stages have not written",
    },
    "summary": {
        **_RUN,
        "data_label": "the data's label",
        "seeds_planned": "seeds in the plan",
        "n": "seeds that finished",
        "seeds": "which ones",
        **_ACCURACIES,
        **_counted_over_seeds("entropy", "bits", "entropy of a neuron and timestep"),
        **_counted_over_seeds("synops", "per_image", "additions per image"),
        **_counted_over_seeds(
            "energy", "microjoule", "energy per image by the paper's formula, at the constants of energy.csv"
        ),
        "test_samples": "test samples",
        "wall_seconds": "wall time of the trainings, summed over seeds",
    },
    "layers": {
        **_SEED,
        "position": "the neuron layer's place, from 1",
        "layer": "its name",
        "neurons": "its neurons",
        "amplitude": "trained amplitude; the mean of several; empty where there is none",
        "amplitude_min": "the smallest of several, of the channels' means where each neuron has its own",
        "amplitude_max": "the largest of several, likewise",
        "rate_percent": "share of neurons and timesteps that fire",
        "rate_positive_percent": "share with a spike of +1",
        "rate_negative_percent": "share with a spike of -1",
        "entropy_bits": "entropy of the layer's pooled shares of -1, 0 and +1",
        "entropy_per_neuron_bits": "mean over neurons of each one's own entropy",
        "membrane_mean": "mean membrane potential before the reset",
        "membrane_std": "its standard deviation",
    },
    "execution": {
        **_SEED,
        "samples": "test images executed",
        "spikes": "spikes compared with the dense network's (neurons x timesteps x images), float64",
        "differing_spikes": "spikes that differ",
        "largest_relative_logit_difference": "largest difference of the logits relative to the largest logit",
        "spike_additions_per_image": "weights added or subtracted because of a spike",
        "encoder_multiplications_per_image": "multiplications of the first convolution",
        "decay_multiplications_per_image": "multiplications of the membrane's decay, where tau is no power of two",
        "other_additions_per_image": "additions of biases, of a projection's current, and of what a membrane kept",
        "exponent_shifts_per_image": "decays of a membrane by a power of two",
        "comparisons_per_image": "comparisons with the threshold",
        NOT_FOLDABLE: "why there is no folded network to execute; empty where there is",
    },
    "onnx": {
        **_SEED,
        "samples": "test images that both runtimes saw",
        "spikes": "spikes compared with the exact network's",
        "differing_spikes": "spikes that differ in float32",
        "largest_logit_difference": "largest difference of the logits",
        "class_agreement_percent": "images with the same class",
        NOT_FOLDABLE: "why there is no folded network to export; empty where there is",
    },
    "equivalence": {
        **_SEED,
        "samples": "test images that both networks saw",
        "bound": "largest relative difference of the logits allowed in float64",
        "passed": "whether the folded network is equivalent",
        **{
            f"{precision}_{key}": f"{meaning}, {precision}"
            for precision in ("float64", "float32")
            for key, meaning in {
                "spikes": "spikes compared (neurons x timesteps x images)",
                "differing_spikes": "spikes that differ",
                "largest_relative_logit_difference": "largest difference of the logits relative to the largest logit",
                "class_agreement_percent": "images with the same class",
            }.items()
        },
        "neuron_layers": "neuron layers of the folded network",
        "layers_with_amplitude": "those that still scale their spikes",
        NOT_FOLDABLE: "why there is no folded network to compare; empty where there is",
    },
    "energy": {
        **_SEED,
        "method": "how the operations were found",
        "encoder": "how often the first convolution was counted",
        "constants": "energies of a FLOP, an addition and a comparison that it was made with, in words",
        "samples": "test images that were counted on",
        **_ENERGY,
        "energy_microjoule": "energy per image",
        "encoder_share": "the encoder's share of it",
        NOT_COUNTED: "why there is no number; empty where there is",
    },
    "energy_layers": {
        **_SEED,
        "layer": "layer of the folded network, or of the network itself where that is not foldable",
        "kind": "conv, classifier, shortcut or neurons",
        "input": "whose spikes it gets; image for the encoder",
        "pooled": "whether average pooling lies between",
        "macs": "dense multiply-accumulates of one image and timestep",
        "input_neurons": "neurons of its input",
        "input_rate": "firing rate of its input, a share",
        "flops": "multiply-accumulates that remain, per image",
        "synops": "additions per image",
        "energy_microjoule": "energy per image",
        "sign": "comparisons per image",
        NOT_COUNTED: "why there is no number; empty where there is",
    },
    "history": {
        **_SEED,
        "epoch": "epoch, from 1",
        "train_loss": "training loss",
        "train_accuracy_percent": "training accuracy",
        "test_accuracy_percent": "test accuracy",
        "learning_rate": "learning rate",
        "seconds": "wall time of the epoch",
    },
    "matches": {
        "id": "run whose threshold was searched for",
        "target": "run whose firing rate was wanted",
        "target_rate_percent": "its firing rate, mean over seeds",
        "tolerance_points": "how far a rate may be off to be equal",
        "probe": "trainings with a threshold of their own, from 1",
        "threshold": "its threshold",
        "window": "half-width of its surrogate gradient's window",
        "rate_percent": "share of neurons and timesteps that fired in it",
        "chosen": "whether the run took this threshold, the one with the closest rate",
        "equal": "whether the rate is within the tolerance",
    },
    "controls": {
        "kind": "what the run is a control of; empty for the neurons as the paper describes them",
        **{key: _RUN[key] for key in ("id", "dataset", "architecture", "timesteps", "neuron", "variant")},
        "threshold": "V_th; the one that was found where it was searched for",
        "surrogate": "the surrogate gradient",
        "window": "half-width of the surrogate gradient's window",
        **{key: _RUN[key] for key in ("state", "reduced")},
        "data_label": "the data's label",
        "n": "seeds that finished",
        "last_epoch_mean_percent": "test accuracy of the last epoch, mean over seeds",
        "last_epoch_interval_points": "half-width of its 95 % interval over seeds",
        **_counted_over_seeds("rate", "percent", "share of neurons and timesteps that fire"),
        **_counted_over_seeds("synops", "per_image", "additions per image"),
    },
    "differences": {
        "question": "what an option does, or what ternary has over binary where they are equal in this",
        "id": "run",
        "base": "run that it is compared with",
        "difference_points": "test accuracy of the last epoch, the run's mean less the other's",
        "interval_points": "half-width of the 95 % interval of the difference over seeds (Welch)",
        "rate_difference_points": "difference of the firing rates",
        "synops_ratio": "additions per image, the run's over the other's",
        "verdict": "whether the run is above the other at this scale",
        "as_asked": "whether the two are equal in what should be: no where no threshold made the firing rates equal",
        "reduced": "how the runs are reduced",
    },
    "rivals": {
        "kind": "paper (its neurons as it has them), control (these with an option), prior (a method of others) or "
        "combination (a method of others on ternary spikes)",
        "name": "what a figure calls it, level included",
        **{key: _RUN[key] for key in ("id", "dataset", "architecture", "timesteps", "neuron", "method", "variant")},
        "level": "faithful, partly or candidate; empty for the paper's own",
        "citation": "where the method was published",
        **{key: _RUN[key] for key in ("state", "reduced")},
        "data_label": "the data's label",
        "n": "seeds that finished",
        "last_epoch_mean_percent": "test accuracy of the last epoch, mean over seeds",
        "last_epoch_interval_points": "half-width of its 95 % interval over seeds",
        **_counted_over_seeds("rate", "percent", "share of neurons and timesteps that fire"),
        **_counted_over_seeds("synops", "per_image", "additions per image, counted"),
        **_counted_over_seeds(
            "energy", "microjoule", "energy per image by the paper's formula, at the constants of energy.csv"
        ),
        "seconds_per_image": "training time of an image in the fastest of all epochs of all seeds",
        "base": "the ternary run that it is compared with",
        "difference_points": "last-epoch accuracy less the ternary run's",
        "interval_points": "half-width of the 95 % interval of the difference over seeds (Welch)",
        "verdict": "above or below ternary at this scale where the whole interval is, else not decided",
        "synops_ratio": "additions per image, the run's over the ternary run's",
        "time_ratio": "training time of an image, the run's over the ternary run's",
    },
    "membrane": {
        "id": _RUN["id"],
        "between_layers": "distance of two layers' membrane distributions, mean over pairs of layers and seeds",
        "between_seeds": "distance of one layer's distributions in two seeds, mean over layers and pairs of seeds",
        "between_seeds_largest": "the largest of these",
        "layers": "neuron layers",
        "n": "seeds",
    },
    **{f"table{number}": _PAPER for number in (1, 2, 3, 4)},
    "table5": {
        "kind": "paper, as printed; paper, from its printed counts; ours",
        "id": "our run",
        "neuron": _RUN["neuron"],
        "variant": _RUN["variant"],
        "state": _RUN["state"],
        "reduced": _RUN["reduced"],
        "method": "how our operations were found",
        "encoder": "how often the first convolution was counted",
        "constants": "energies of a FLOP, an addition and a comparison that it was made with, in words",
        "n": "seeds that finished",
        "rate_percent": "firing rate, the paper's s",
        "flops": _ENERGY["flops"],
        "synops": _ENERGY["synops"],
        "sign": _ENERGY["sign"],
        **_over_seeds("energy", "microjoule", "energy per image"),
    },
    "claims": {
        "id": "the claim's name, its anchor in the ledger",
        "group": "part of the ledger",
        "statement": "what the paper claims, in our words",
        "where": "where it says so",
        "evidence": "derived, computed exactly, read in the source, read at second hand, measured in full, measured at "
        "reduced scale, or not tested",
        "result": "the figures",
        "verdict": "by the stated rule",
        "reduced": "how the runs behind it are reduced",
        "runs": "ids of these runs",
        "notebook": "notebook and heading that show the evidence",
        "headline": "whether the front page lists it",
    },
}


#: columns that hold text, in whichever table: text that looks like a number, such as a commit, must stay text
TEXT = frozenset(
    {
        *("id", "dataset", "architecture", "neuron", "variant", "tables", "control", "state", "reduced", "seeds"),
        *("data_label", "data_checksum", "recipe", "commit", "code_hash", "device", "cpu", "python", "torch"),
        *("started", "finished", "warnings", "missing", "layer", "kind", "input", "method", "encoder", "citation"),
        *("type", "verdict", "basis", "group", "statement", "where", "evidence", "result", "runs", "notebook"),
        *("constants", "name", "level", "target", "question", "base", "source_run", "surrogate"),
        *(NOT_FOLDABLE, NOT_COUNTED),
    }
)
