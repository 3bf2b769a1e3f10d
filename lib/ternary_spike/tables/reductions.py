"""In which ways a run is less than, or other than, one of the paper's."""

import pandas as pd

from ternary_spike import paper


def reductions(row: pd.Series, run: dict) -> list[str]:
    """In which ways a finished run differs from one of the paper's; empty for a full run.

    Judged from what the run recorded, so that no setting of the plan can make a shortened run look full.
    """
    found = [row["reduced"]] if row["reduced"] else []
    if run["changed"] and not row["reduced"]:
        found.append("recipe changed: " + ", ".join(f"{key} = {value}" for key, value in run["changed"].items()))
    network, narrowed, width = run["architecture"].partition("w")
    if narrowed:
        found.append(f"{network} of width {width}")
    data, dataset = run["data"], paper.DATASETS.get(run["dataset"])
    if dataset is None:
        return [*found, f"{data['label']} instead of the paper's data"]
    if data["label"] != dataset.label:
        return [*found, f"data: {data['label']}"]
    for split in ("train", "test"):
        samples, whole = data[f"{split}_samples"], getattr(dataset, f"{split}_samples")
        if samples < whole:
            found.append(f"{samples:,} of {whole:,} {split} samples")
    # a published method may train for fewer epochs than the paper, or not at all
    of_method = (run.get("sheet") or {}).get("recipe") or {}
    epochs, whole = run["recipe"]["epochs"], of_method.get("epochs", dataset.epochs)
    if whole and epochs < whole and not found:
        found.append(f"{epochs} of {whole} epochs")
    return found
