"""Results that were made with other settings than the plan wants, or by other code than there is now.

What the plan wants and what the records say are compared in full. With other settings a result is another result: it
is not shown, and its row says "other settings: KEY is A, wanted B". Other code may compute the same: what it made is
shown, and its row says "other code". Plans of earlier versions do not say what they want; nothing is then compared.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ternary_spike.planning import wanted
from ternary_spike.planning.matching import RECORD as MATCH
from ternary_spike.planning.run_code import TRAIN
from ternary_spike.planning.run_files import STAGES, run_folder
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import read_json
from ternary_spike.tables.columns import OTHER_CODE, OTHER_SETTINGS

Row = Mapping[str, Any]


def of_training(row: Row, record: Mapping[str, Any], results: Path) -> str:
    """In what a training differs from what the plan wants; empty where it is that.

    Args:
        row: of the plan.
        record: run.json.
        results: results/<preset>, whose other files say which data, weights and threshold a training would have now.
    """
    if not (asked := wanted.read(row.get("settings", ""), "settings").get(TRAIN)):
        return ""
    differing = wanted.differences(wanted.of_training(asked, record["neuron"]), wanted.by_training(record, asked))
    differing += wanted.differences(*_beside(row, record, asked, results))
    return _said(differing, TRAIN)


def _beside(row: Row, record: Mapping[str, Any], asked: Row, results: Path) -> tuple[dict, dict]:
    """What files beside the run say that a training would be made of now, and what this one was made of."""
    now, then = {}, {}
    if (manifest := _read(results / "data" / row["data"] / "manifest.json")) is not None:
        now["data.checksum"], then["data.checksum"] = manifest.get("checksum"), record["data"]["checksum"]
    source = record.get("source") or {}
    if source and (origin := _read(run_folder(results, source["id"], source["seed"]) / "run.json")) is not None:
        now["source.weights"] = origin["files"]["weights.safetensors"]
        then["source.weights"] = source["weights"]
    if asked["target"] and (search := _read(results / "runs" / row["id"] / MATCH)) is not None:
        options = record["model"]["neuron_options"]
        for key in wanted.FOUND:
            now[f"neuron_options.{key}"] = search["found"][key]
            then[f"neuron_options.{key}"] = options.get(key)
    return now, then


def _read(path: Path) -> Any:
    """A record of another stage; None where there is none, or a damaged one, which its own stage complains of."""
    try:
        return read_json(path) if path.exists() else None
    except UserError:
        return None


def of_stage(row: Row, stage: str, result: Mapping[str, Any], test_samples: int) -> str:
    """In what the result of a later stage differs from what the plan wants; empty where it is that.

    Args:
        row: of the plan.
        stage: its verb.
        result: its record.
        test_samples: of the run's data, which has no more than that for any stage.
    """
    asked = dict(wanted.read(row.get("settings", ""), "settings").get(stage, {}))
    if "samples" in asked:
        asked["samples"] = min(int(asked["samples"]), test_samples)
    made = wanted.by_stage(result)
    # a stage that passed on why nothing can be folded looked at no samples
    asked = {key: value for key, value in asked.items() if key in made}
    return _said(wanted.differences(asked, {key: made[key] for key in asked}), stage)


def _said(differing: list[str], stage: str) -> str:
    if not differing:
        return ""
    said = f"{OTHER_SETTINGS}: {', '.join(differing)}"
    return said if stage == TRAIN else f"{stage}: {said}; call with --forcerun {stage}"


def of_code(row: Row, codes: Mapping[str, str]) -> str:
    """Which stages of a run other code than the present one did; empty where there is none.

    Args:
        row: of the plan.
        codes: the hash of the code that did a stage, by stage; empty where its record names none.
    """
    present = wanted.read(row.get("code", ""), "code")
    others = [stage for stage in STAGES if stage in codes and stage in present and codes[stage] != present[stage]]
    return f"{OTHER_CODE}: {', '.join(others)}" if others else ""
