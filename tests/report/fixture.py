"""Made-up run folders in the stages' formats, for tests that need controlled values. Nothing here is a result."""

import csv
import json
import math
import random
from pathlib import Path

from ternary_spike.planning.plan_file import PLAN_COLUMNS
from ternary_spike.system.files import sha256_of

LAYERS = ("stem1", "stage1.block1.1", "stage1.block1.2", "stage2.block1.1", "stage2.block1.2")
NEURONS = (4096, 4096, 4096, 2048, 2048)
NORMALISED = {"signed": True, "threshold": 0.5, "decay": 0.25}
LAST = {"binary": 97.5, "ternary": 98.9, "trainable": 99.0}
RATE = {"binary": 0.33, "ternary": 0.68, "trainable": 0.66}


def plan_row(dataset: str, architecture: str, timesteps: int, neuron: str, seed: int, **more) -> dict:
    """A row of plan.csv, runnable unless told otherwise."""
    variant = more.get("variant", "")
    run = "-".join(filter(None, [dataset, architecture, f"T{timesteps}", neuron, variant]))
    row = dict.fromkeys(PLAN_COLUMNS, "") | {
        "id": run,
        "seed": seed,
        "dataset": dataset,
        "architecture": architecture,
        "timesteps": timesteps,
        "neuron": neuron,
        "recipe": "digits",
        "status": "runnable",
    }
    return row | more


def write_plan(folder: Path, rows: list[dict]) -> Path:
    path = folder / "plan.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, PLAN_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_run(folder: Path, row: dict, **wanted) -> Path:
    """The files of one finished run.

    ``wanted`` sets what a test controls: last, best (accuracies in percent), label, train_samples, test_samples,
    epochs, changed, rate, energy, differing (spikes that differ in float64), amplitudes, sheet, seconds (each epoch's).
    """
    run = folder / "runs" / row["id"] / f"seed{row['seed']}"
    run.mkdir(parents=True, exist_ok=True)
    neuron, seed = row["neuron"], row["seed"]
    noise = random.Random(f"{row['id']} {seed}")
    last = wanted.get("last", LAST.get(neuron, 95.0) + noise.uniform(-0.2, 0.2))
    best = wanted.get("best", last + 0.3)
    label = wanted.get("label", "scikit-learn digits, 16x16")
    samples = wanted.get("test_samples", 450)
    epochs = wanted.get("epochs", 4)
    seconds = wanted.get("seconds", [3.0] * epochs)
    provenance = {
        "commit": "0" * 40,
        "dirty": False,
        "code_hash": "f" * 64,
        "versions": {"python": "3.11.7", "torch": "0.0.test"},
        "hardware": {"cpu": "made-up processor", "cores": 2, "device": "cpu"},
        "threads": 1,
        "command": ["python", "-m", "ternary_spike", "train"],
        "started": "2000-01-01T00:00:00Z",
        "finished": "2000-01-01T00:01:00Z",
    }
    with (run / "history.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["epoch", "train_loss", "train_accuracy_percent", "test_accuracy_percent", "learning_rate", "seconds"]
        )
        for epoch in range(1, epochs + 1):
            accuracy = last - 20 * (epochs - epoch) / epochs
            writer.writerow([epoch, 2 / epoch, accuracy, accuracy - noise.random(), 0.1 / epoch, seconds[epoch - 1]])
    _json(
        run / "run.json",
        {
            **{key: row[key] for key in ("id", "dataset", "architecture", "neuron", "timesteps", "seed")},
            "model": {"architecture": row["architecture"], "neuron": neuron, "timesteps": row["timesteps"]},
            "recipe": {"name": "digits", "epochs": epochs, "batch_size": 64, "learning_rate": 0.1},
            "sheet": wanted.get("sheet"),
            "changed": wanted.get("changed", {}),
            "data": {
                "dataset": row["dataset"],
                "label": label,
                "checksum": "d" * 64,
                "source": {"kind": "made up"},
                "train_samples": wanted.get("train_samples", 1347),
                "test_samples": samples,
            },
            "accuracy": {"last_epoch_percent": last, "best_epoch_percent": best, "best_epoch": 3},
            "cost": {"wall_seconds": 12.5, "images_per_second": 1000.0, "peak_memory_bytes": 10**9, "resumed": 0},
            "files": {"weights.safetensors": "a" * 64, "history.csv": sha256_of(run / "history.csv")},
            "warnings": [],
            "provenance": provenance,
        },
    )
    rate = wanted.get("rate", RATE.get(neuron, 0.3))
    amplitudes = wanted.get("amplitudes", [1.0, 1.0, 1.6, 1.0, 1.3] if neuron == "trainable" else [None] * 5)
    _json(
        run / "evaluation.json",
        {
            "samples": samples,
            "accuracy_percent": last,
            "data": {"label": label, "checksum": "d" * 64},
            "layers": [
                _layer(name, count, position, neuron, rate, amplitudes[position], row["timesteps"], noise)
                for position, (name, count) in enumerate(zip(LAYERS, NEURONS, strict=True))
            ],
            "provenance": provenance,
        },
    )
    neurons = [{"name": n, "kind": "spikes", "inputs": [], "settings": NORMALISED} for n in LAYERS]
    _json(run / "folded.json", {"format": "made up", "operations": neurons})
    differing = wanted.get("differing", 0)
    precision = {"spikes": 10**6, "class_agreement_percent": 100.0, "layers": dict.fromkeys(LAYERS, 0)}
    exact = {
        "differing_spikes": differing,
        "largest_logit_difference": 1e-13,
        "largest_relative_logit_difference": 3e-14,
    }
    single = {"differing_spikes": 40, "largest_logit_difference": 0.02, "largest_relative_logit_difference": 2e-3}
    _json(
        run / "equivalence.json",
        {
            "id": row["id"],
            "samples": 200,
            "bound": 1e-9,
            "passed": differing == 0,
            "float64": precision | exact,
            "float32": precision | single,
            "provenance": provenance,
        },
    )
    if row["seed"] == 0:
        operations = {
            "additions": {"stage1.block1.conv1": 50_000, "classifier": 2_000},
            "bias_additions": 9_000,
            "current_additions": 1_000,
            "membrane_additions": 3_000,
            "comparisons": 20_000,
            "exponent_shifts": 3_000,
            "multiplications": {"encoder": 7_000, "decay": wanted.get("multiplied", 0)},
        }
        executed = {"samples": 10, "spikes": 10**5, "differing_spikes": 0, "largest_relative_logit_difference": 1e-15}
        _json(run / "execution.json", {"id": row["id"], **executed, "operations": operations})
        exported = {"samples": 200, "spikes": 10**6, "differing_spikes": 3, "largest_logit_difference": 1e-4}
        _json(run / "onnx.json", {"id": row["id"], **exported, "class_agreement_percent": 100.0})
    _energy(run, row, rate, wanted.get("energy", 4.0 if neuron == "binary" else 5.0), provenance)
    return run


def refuse(run: Path, reason: str) -> None:
    """Make of a run's files those of a network that is not foldable, and is counted on itself."""
    for name in ("folded", "equivalence", "execution", "onnx"):
        if (run / f"{name}.json").exists():
            _json(run / f"{name}.json", {"not_foldable": reason})


def demo(folder: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> Path:
    """A finished demo: three neurons on the digits; returns the plan's path."""
    rows = [plan_row("digits", "resnet8", 2, neuron, seed) for neuron in LAST for seed in seeds]
    for row in rows:
        write_run(folder, row)
    return write_plan(folder, rows)


CONTROLS = {
    # variant, options: last-epoch accuracies of three seeds and firing rate, by neuron
    ("", ""): {"binary": ((80.0, 81.0, 82.0), 0.34), "ternary": ((95.0, 95.5, 96.0), 0.70),
               "trainable": ((95.5, 96.0, 96.5), 0.70)},
    ("symmetric_window", "surrogate=clamp_symmetric"): {"binary": ((90.0, 91.0, 92.0), 0.36)},
    ("rate_of_binary", "threshold=rate_of_binary"): {"ternary": ((93.0, 94.0, 95.0), 0.35)},
    ("rate_of_ternary", "threshold=rate_of_ternary"): {"binary": ((70.0, 75.0, 80.0), 0.45)},
    ("threshold0.25", "threshold=0.25"): {"binary": ((80.0, 82.0, 84.0), 0.38), "ternary": ((95.0, 96.0, 97.0), 0.80)},
    ("threshold1_window2", "threshold=1;window=2"): {"ternary": ((90.0, 91.0, 92.0), 0.40)},
    ("detached_reset", "detach_reset=true"): {"binary": ((80.0, 81.0, 82.0), 0.34)},
    ("amplitude_per_channel", "amplitude_per=channel"): {"trainable": ((95.0, 96.0, 97.0), 0.69)},
}  # fmt: skip
RATES_FOUND = {"rate_of_binary": ("binary", 0.34, 0.347), "rate_of_ternary": ("ternary", 0.70, 0.45)}


def controls(folder: Path, without: tuple[str, ...] = ()) -> Path:
    """Controls as their preset has them, but for some variants; the search for one of two thresholds found none."""
    rows = []
    for (variant, options), neurons in CONTROLS.items():
        for neuron, (accuracies, rate) in neurons.items():
            for seed, last in enumerate(accuracies):
                row = plan_row("digits", "resnet8", 2, neuron, seed, variant=variant, neuron_options=options)
                rows.append(row)
                if variant in without:
                    continue
                write_run(folder, row, last=last, rate=rate)
                if variant in RATES_FOUND:
                    write_match(folder / "runs" / row["id"], row["id"], *RATES_FOUND[variant])
    return write_plan(folder, rows)


TET = {"method": "tet", "method_label": "TET (partly; the row's recipe)", "own_recipe": "false"}
RIVALS = [
    # neuron, what else the plan says: last-epoch accuracies of three seeds
    ("binary", {}, (80.0, 81.0, 82.0)),
    ("ternary", {}, (95.0, 95.5, 96.0)),
    ("binary", {"variant": "symmetric_window"}, (90.0, 91.0, 92.0)),
    ("plif", {}, (97.0, 97.5, 98.0)),
    ("binary", TET | {"variant": "paper_neuron"}, (70.0, 71.0, 72.0)),
    ("ternary", TET, (95.0, 95.6, 96.2)),
    ("relu", {}, (99.0, 99.0, 99.0)),
]


def rivals(folder: Path) -> Path:
    """Prior methods beside the paper's neurons; elsewhere one alone that has not run, and ternary spikes alone.

    An epoch of PLIF takes twice as long as the others', but for a first one that something else slowed down.
    """
    planned = []
    for seed in range(3):
        for neuron, more, accuracies in RIVALS:
            row = plan_row("digits", "resnet8", 2, neuron, seed, **more)
            parts = ["digits-resnet8-T2", neuron, row["method"], row["variant"]]
            planned.append(row | {"id": "-".join(filter(None, parts))})
            written = {"seconds": [60.0, 6.0, 6.0, 6.0]} if neuron == "plif" else {}
            cited = {"citation": "Deng and others, ICLR 2022", "recipe": {}}
            written |= {"sheet": cited} if row["method"] else {}
            write_run(folder, planned[-1], last=accuracies[seed], **written)
    planned += [plan_row("digits", "resnet8", 4, "plif", 0), plan_row("digits", "resnet6", 2, "ternary", 0)]
    return write_plan(folder, planned)


def write_match(run: Path, name: str, target: str, wanted: float, found: float) -> None:
    """match.json of a search with two probes, the second of them the closer one."""
    probes = [{"threshold": 1.0, "window": 2.0, "rate": found - 0.1}, {"threshold": 0.5, "window": 1.0, "rate": found}]
    near = {"id": f"digits-resnet8-T2-{target}", "rate": wanted, "rates": [wanted]}
    close = abs(found - wanted) <= 0.01
    content = {"id": name, "target": near, "tolerance": 0.01, "probes": probes, "found": probes[1]}
    _json(run / "match.json", content | {"within_tolerance": close})


def nothing_run(folder: Path) -> Path:
    """A paper preset of which nothing has run: every own row of Tables 1-4, with the reason."""
    from ternary_spike import paper

    tables: dict[tuple, list[str]] = {}
    for row in paper.accuracies():
        if row.own:
            key = (paper.DATASET_OF_NAME[row.dataset], row.architecture.lower(), row.timesteps, row.neuron)
            tables.setdefault(key, []).append(str(row.table))
    rows = []
    for key, numbers in tables.items():
        more = {"tables": ";".join(numbers), "status": "not run", "reason": f"no data at data/{key[0]}"}
        rows += [plan_row(*key, seed, **more) for seed in range(3)]
    return write_plan(folder, rows)


def _energy(run: Path, row: dict, rate: float, energy: float, provenance: dict) -> None:
    columns = ("layer", "kind", "input", "pooled", "macs", "input_neurons", "input_rate", "flops", "synops", "sign",
               "energy_microjoule")  # fmt: skip
    timesteps, comparisons = row["timesteps"], 1 if row["neuron"] == "binary" else 2
    rows = [("stem1.conv", "conv", "image", False, 36864, 0, "", 36864, 0, 0, 0.46)]
    for name, count in zip(LAYERS[:-1], NEURONS[:-1], strict=True):
        additions = 589824 * rate * timesteps
        rows.append((f"{name}.next", "conv", name, False, 589824, count, rate, 0, additions, 0, additions * 77e-9))
    rows.append(("classifier", "classifier", LAYERS[-1], True, 320, NEURONS[-1], rate, 0, 320 * rate, 0, 1e-5))
    for name, count in zip(LAYERS, NEURONS, strict=True):
        signs = comparisons * count * timesteps
        rows.append((name, "neurons", "", False, 0, count, rate, 0, 0, signs, signs * 3.7e-6))
    with (run / "energy.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    methods = []
    for encoder, share in (("every timestep", 1.0), ("once", 0.6)):
        for method, used in (
            ("paper's formula, mean over layers", rate),
            ("paper's formula, mean over neurons", rate),
            ("paper's formula, weighted by fan-out", rate),
            ("exact count", None),
        ):
            counts = {"flops": 73728 * share, "synops": 2e6 * rate, "sign": 16384 * rate}
            totals = {"energy_microjoule": energy * share, "encoder_share": 0.1}
            methods.append({"method": method, "encoder": encoder, "rate": used, **counts, **totals})
    content = {"id": row["id"], "samples": 450, "timesteps": timesteps, "macs": 2400000, "encoder_macs": 36864}
    _json(run / "energy.json", {**content, "neurons": sum(NEURONS), "methods": methods, "provenance": provenance})


def _json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1))


def _layer(name, count, position, neuron, rate, amplitude, timesteps, noise) -> dict:
    positive = rate if neuron == "binary" else rate / 2
    negative = rate - positive
    shares = [p for p in (positive, negative, 1 - rate) if p > 0]
    centre, width = 0.2 * position, 0.5 + 0.2 * position
    edges = [-4 + 0.1 * i for i in range(81)]
    counts = [
        round(1e5 * 0.1 * math.exp(-((left + 0.05 - centre) ** 2) / (2 * width**2)) * (1 + 0.02 * noise.random()))
        for left in edges[:-1]
    ]
    return {
        "layer": name,
        "neurons": count,
        "amplitude": amplitude,
        "rate_positive": positive,
        "rate_negative": negative,
        "rate": rate,
        "rate_by_timestep": [rate] * timesteps,
        "entropy_bits": -sum(p * math.log2(p) for p in shares),
        "entropy_per_neuron_bits": -0.8 * sum(p * math.log2(p) for p in shares),
        "membrane": {"edges": edges, "counts": counts, "below": 3, "above": 5, "mean": centre, "std": width},
    }
