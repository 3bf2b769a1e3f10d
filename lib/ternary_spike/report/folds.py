"""The fold's figures for the front page."""

import pandas as pd


def fold_in_figures(equivalence: pd.DataFrame) -> dict | None:
    """The fold over all networks: how many were compared and what differed, how many are not foldable and why.

    Args:
        equivalence: the table of that name.

    Returns:
        Figures in words by name, those of the comparison only where "networks" is not 0; None if there is no row.
    """
    refused = equivalence["not_foldable"] != ""
    reasons = list(dict.fromkeys(equivalence.loc[refused, "not_foldable"]))
    equivalence = equivalence[~refused]
    if equivalence.empty:
        return {"networks": 0, "refused": int(refused.sum()), "reasons": reasons} if reasons else None
    worst = equivalence["float64_largest_relative_logit_difference"].max()
    return {
        "networks": len(equivalence),
        "refused": int(refused.sum()),
        "reasons": reasons,
        "spikes": f"{int(equivalence['float64_spikes'].sum()):,}",
        "differing": f"{int(equivalence['float64_differing_spikes'].sum()):,}",
        "logits": f"to {worst:.1e}" if worst else "exactly",
        "bound": f"{equivalence['bound'].max():.0e}",
        "differing32": f"{int(equivalence['float32_differing_spikes'].sum()):,}",
        "agreement32": f"{equivalence['float32_class_agreement_percent'].min():.2f}",
    }
