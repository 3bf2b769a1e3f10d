"""Results of one run's seeds that different code made: they are not averaged, and not shown.

Training says by which code it ran too, but a training is not repeated lightly; the tables show its code for each seed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

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
}


def leave_out_mixed(of_runs: Iterable[RunRows]) -> None:
    """Take out, in place, what a stage gave where different code made it for the seeds of one run; ``state`` says so.

    Records of earlier versions name no code; among themselves they are taken to be alike.
    """
    seeds: dict[str, list[RunRows]] = {}
    for rows in of_runs:
        seeds.setdefault(rows.run["id"], []).append(rows)
    for group in seeds.values():
        for stage, products in PRODUCTS.items():
            codes = {rows.run["seed"]: rows.codes[stage] for rows in group if stage in rows.codes}
            if len(set(codes.values())) > 1:
                made = ", ".join(f"seed {seed} by {code[:SHOWN] or 'unknown'}" for seed, code in codes.items())
                why = f"{stage}: made by different code ({made}), so there is no mean; call with --forcerun {stage}"
                for rows in group:
                    _take_out(rows, products, why)


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
