"""The checks of the claims about the method itself: capacity, folding, resets, additions."""

import math
from fractions import Fraction
from functools import cache
from itertools import product

import pandas as pd

from ternary_spike.claims.findings import DERIVED, Finding, Tables, check, exact, untested
from ternary_spike.claims.groups import of_the_papers_neurons
from ternary_spike.tables.columns import NOT_COUNTED, NOT_FOLDABLE


@check
def capacity(tables: Tables) -> Finding:
    """Eq. 6: the entropy's maximum is log2 of the number of levels, attained where all are equally likely."""

    def entropy(shares: tuple[float, ...]) -> float:
        return -sum(p * math.log2(p) for p in shares if p > 0)

    steps = 60
    grid = [(i / steps, j / steps, (steps - i - j) / steps) for i in range(steps + 1) for j in range(steps + 1 - i)]
    best = max(grid, key=entropy)
    uniform = all(math.isclose(p, 1 / 3) for p in best)
    ratio = entropy(best) / entropy((0.5, 0.5))
    result = f"{entropy((0.5, 0.5)):.3f} bit a binary site, {entropy(best):.4f} bit a ternary site: ratio {ratio:.4f}"
    return exact(uniform and math.isclose(ratio, math.log2(3)), result, evidence=DERIVED)


def _of_paper(tables: Tables, name: str) -> pd.DataFrame:
    """The rows of a table that are of runs of the paper's neurons."""
    return tables[name][tables[name]["id"].isin(of_the_papers_neurons(tables["summary"])["id"])]


def _foldable(tables: Tables, name: str) -> tuple[pd.DataFrame, str]:
    """Of the paper's neurons, the rows of networks that were folded, and how many could not be, in words."""
    rows = _of_paper(tables, name)
    folded = rows[rows[NOT_FOLDABLE] == ""]
    others = len(rows) - len(folded)
    return folded, f"; {others} not foldable: {_reasons(rows[NOT_FOLDABLE])}" if others else ""


def _reasons(cells: pd.Series) -> str:
    """The reasons in a column, each once."""
    return "; ".join(dict.fromkeys(cell for cell in cells if cell))


@check
def folding_exact(tables: Tables) -> Finding:
    """Eq. 17 on real test images: in float64 no spike differs and the logits agree to the bound."""
    found, others = _foldable(tables, "equivalence")
    if found.empty:
        return untested(f"no folded network has been compared yet{others}")
    spikes, differing, single = (
        int(found[column].sum())
        for column in ("float64_spikes", "float64_differing_spikes", "float32_differing_spikes")
    )
    worst = found["float64_largest_relative_logit_difference"].max()
    logits = f"the logits by at most {worst:.1e} (relative)" if worst else "and the logits not at all"
    trained = (found["id"].map(tables["summary"].set_index("id")["neuron"]) == "trainable").sum()
    result = (
        f"{len(found)} networks, {trained} of them with trained amplitudes: "
        f"{differing:,} of {spikes:,} spikes differ in float64, {logits}; "
        f"{single:,} in float32{others}"
    )
    holds = bool(found["passed"].astype(bool).all() and differing == 0 and (worst <= found["bound"]).all())
    return exact(holds, result, tuple(dict.fromkeys(found["id"])))


@check
def folding_normalises(tables: Tables) -> Finding:
    """Neuron layers that still have an amplitude after folding."""
    found, others = _foldable(tables, "equivalence")
    if found.empty:
        return untested(f"no network has been folded yet{others}")
    left, layers = (int(found[column].sum()) for column in ("layers_with_amplitude", "neuron_layers"))
    result = f"{left:,} of {layers:,} neuron layers keep an amplitude{others}"
    return exact(left == 0, result, tuple(dict.fromkeys(found["id"])))


@check
def folded_symbols(tables: Tables) -> Finding:
    """The alphabet {-a, 0, a} divided by a: how many symbols it has."""
    symbols = sorted({b * Fraction(3, 2) / Fraction(3, 2) for b in (-1, 0, 1)})
    result = f"what remains after folding is {{{', '.join(str(s) for s in symbols)}}}: ternary, not binary"
    return exact(symbols == [0, 1], result, evidence=DERIVED)


@cache
def _resets_compared() -> tuple[int, int]:
    """How many spikes of Eqs. 1-3 and of Eq. 4 differ, and of how many; no table decides it, so it is computed once."""
    threshold, decay = Fraction(1, 2), Fraction(1, 4)
    levels = [Fraction(n, 4) for n in range(-4, 5)]
    differing = total = 0
    for inputs in product(levels, repeat=4):
        v = u = Fraction(0)
        o = 0
        for x in inputs:
            before = decay * v + x
            fired = int(before >= threshold)
            v = Fraction(0) if fired else before
            u = decay * u * (1 - o) + x
            o = int(u >= threshold)
            differing += fired != o
            total += 1
    return differing, total


@check
def reset_equations(tables: Tables) -> Finding:
    """Eqs. 1-3 and Eq. 4 side by side, in exact arithmetic, on every input sequence of a grid."""
    differing, total = _resets_compared()
    return exact(differing == 0, f"{differing} of {total:,} spikes differ, inputs −1 to 1 in quarters, T = 4")


@check
def additions_only(tables: Tables) -> Finding:
    """From the energy stage: which layers behind the encoder get anything but (averages of) spikes; and the executor's
    own count, where a network was executed."""
    found = _of_paper(tables, "energy_layers")
    if found.empty:
        return untested("no operations have been counted yet")
    behind = found[(found["input"] != "image") & (found["kind"] != "neurons") & (found[NOT_COUNTED] == "")]
    if behind.empty:
        return untested(f"nothing could be counted: {_reasons(found[NOT_COUNTED])}")
    other = behind[behind["flops"] > 0]
    # the classifier's input is pooled too: averaged over the picture
    pooled = behind[behind["pooled"].astype(bool) | (behind["kind"] == "classifier")]
    share = 100 * pooled["synops"].sum() / behind["synops"].sum()
    result = (
        f"{len(other)} of {len(behind)} layers behind the encoder multiply; {len(pooled)} get averages of spikes, "
        f"sums of weights times a constant ({share:.2g} % of the synaptic operations)"
    )
    if left_out := int((found[NOT_COUNTED] != "").sum()):
        result += f"; {left_out} layers not counted: {_reasons(found[NOT_COUNTED])}"
    executed, others = _foldable(tables, "execution")
    multiplied = executed["decay_multiplications_per_image"].sum() + executed["differing_spikes"].sum()
    if not executed.empty:
        result += (
            f"; {len(executed)} networks executed by additions alone: {int(executed['differing_spikes'].sum()):,} of "
            f"{int(executed['spikes'].sum()):,} spikes differ from the dense network's, "
            f"{executed['decay_multiplications_per_image'].sum():,.0f} multiplications behind the encoder{others}"
        )
    return exact(other.empty and not multiplied, result, tuple(dict.fromkeys(found["id"])))
