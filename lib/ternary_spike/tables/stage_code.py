"""What the tables leave out: a stage's results with other settings, and those that different code made for the seeds.

Neither is averaged nor shown. Where one code made a stage's results for more than half of the seeds, these stay and the
others' are left out; else all are. Training says by which code it ran too, but a training is not repeated lightly; the
tables show its code for each seed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ternary_spike.tables.columns import RUN_COLUMNS
from ternary_spike.tables.run_rows import RunRows

SHOWN = 8  # digits of a hash


@dataclass(frozen=True)
class Products:
    """What the tables have of a stage: lists of rows and cells of runs.csv, by their names."""

    rows: tuple[str, ...]
    cells: tuple[str, ...] = ()


ENERGY = Products(("energy", "energy_layers"), ("synops", "energy_microjoule"))
PRODUCTS = {
    "evaluate": Products(("layers",), ("evaluated_percent", "rate_percent", "entropy_bits")),
    "fold": Products(("equivalence", "execution", "onnx", *ENERGY.rows), ENERGY.cells),
    "verify": Products(("equivalence",)),
    "energy": ENERGY,
    "execute": Products(("execution",)),
    "export": Products(("onnx",)),
}


def leave_out_others(of_runs: Iterable[RunRows]) -> None:
    """Take out, in place, what a stage gave that is not what is wanted, or not one thing; ``state`` says so.

    Records of earlier versions name no code; among themselves they are taken to be alike.
    """
    seeds: dict[str, list[RunRows]] = {}
    for rows in of_runs:
        seeds.setdefault(rows.run["id"], []).append(rows)
    for group in seeds.values():
        _leave_out_other_data(group)
        for stage, products in PRODUCTS.items():
            for rows in group:
                if stage in rows.other:
                    _take_out(rows, products, rows.other[stage])
            codes = {rows.run["seed"]: rows.codes[stage] for rows in group if stage in rows.codes}
            if len(set(codes.values())) > 1:
                _leave_out_other_code(group, stage, codes)


def _leave_out_other_code(group: list[RunRows], stage: str, codes: Mapping[int, str]) -> None:
    """Take out what a stage gave for those seeds whose code is not that of more than half of them; all say so.

    Args:
        group: the seeds of a run.
        stage: the stage.
        codes: of the stage's result, by seed; there are different ones.
    """
    code, count = Counter(codes.values()).most_common(1)[0]
    stays = {seed for seed in codes if codes[seed] == code} if count > len(codes) / 2 else set()
    made = ", ".join(f"seed {seed} by {code[:SHOWN] or 'unknown'}" for seed, code in codes.items())
    means = f"so means are of {count} of the {len(codes)} seeds" if stays else "so there is no mean"
    why = f"{stage}: made by different code ({made}), {means}; call with --forcerun {stage}"
    for rows in group:
        left_out = rows.run["seed"] not in stays
        _take_out(rows, PRODUCTS[stage] if left_out else Products(()), why)


def _leave_out_other_data(group: list[RunRows]) -> None:
    """Take out everything of a run whose seeds were trained on different data: nothing says which is meant."""
    data = {rows.run["seed"]: rows.run["data_checksum"] for rows in group if "data_checksum" in rows.run}
    if len(set(data.values())) < 2:
        return
    made = ", ".join(f"seed {seed} on {checksum[:SHOWN]}" for seed, checksum in data.items())
    for rows in group:
        kept = {key: rows.run.get(key, "") for key in ("seed", "source_run", *RUN_COLUMNS)}
        state = (
            f"its seeds were trained on different data ({made}), so there is no mean; train those on other data again"
        )
        vars(rows).update(vars(RunRows({**kept, "state": state})))


def _take_out(found: RunRows, products: Products, why: str) -> None:
    for name in products.rows:
        getattr(found, name).clear()
    for name in products.cells:
        found.run.pop(name, None)
    if "layers" in products.rows:
        found.evaluation = None
    if "last_epoch_percent" in found.run:
        rest = found.run["state"].removeprefix("done").removeprefix("; ")
        found.run["state"] = "; ".join([why, *([rest] if rest else [])])
