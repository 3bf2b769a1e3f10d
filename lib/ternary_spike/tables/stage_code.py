"""What the tables leave out: a stage's results with other settings, and those that different code made for the seeds.

Neither is averaged nor shown. Where one code made a stage's results for more than half of the seeds, these stay and the
others' are left out; else all are. Training says by which code it ran too, but a training is not repeated lightly; the
tables show its code for each seed.
"""

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
        parted: dict[tuple, list[str]] = {}  # by which seeds have their code in common: stages
        for stage, products in PRODUCTS.items():
            for rows in group:
                if stage in rows.other:
                    _take_out(rows, products, rows.other[stage])
            codes = {rows.run["seed"]: rows.codes[stage] for rows in group if stage in rows.codes}
            if len(set(codes.values())) > 1:
                parted.setdefault(_together(codes), []).append(stage)
        for parts, stages in parted.items():
            _leave_out_other_code(group, stages, parts)


def _together(codes: Mapping[int, str]) -> tuple[tuple[int, ...], ...]:
    """The seeds that have each code, in the order of their first ones."""
    found: dict[str, list[int]] = {}
    for seed, code in codes.items():
        found.setdefault(code, []).append(seed)
    return tuple(map(tuple, found.values()))


def _leave_out_other_code(group: list[RunRows], stages: list[str], parts: tuple[tuple[int, ...], ...]) -> None:
    """Take out what stages gave for those seeds whose code is not that of more than half of them; all say so.

    Args:
        group: the seeds of a run.
        stages: stages whose codes part the seeds alike.
        parts: seeds that have a code in common.
    """
    most, every = max(parts, key=len), sum(map(len, parts))
    stays = most if len(most) > every / 2 else ()
    made = " apart from ".join(f"seed{'s' * (len(part) > 1)} {', '.join(map(str, part))}" for part in parts)
    means = f"so means are of {len(stays)} of the {every} seeds" if stays else "so there is no mean"
    why = f"{', '.join(stages)}: made by different code ({made}), {means}; call with --forcerun {' '.join(stages)}"
    products = [PRODUCTS[stage] for stage in stages]
    left_out = Products(
        tuple(name for each in products for name in each.rows), tuple(name for each in products for name in each.cells)
    )
    for rows in group:
        _take_out(rows, Products(()) if rows.run["seed"] in stays else left_out, why)


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
