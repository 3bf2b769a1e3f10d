"""Energy by method of counting, averaged over seeds and set beside the binary network's."""

import pandas as pd

from ternary_spike.configuration.run_table import file_part
from ternary_spike.report.results import Results


def energy_by_method(results: Results) -> pd.DataFrame:
    """Mean and standard deviation over seeds for each run, method and way of counting the encoder.

    Returns:
        ``id``, ``neuron``, ``variant``, ``place`` (the id without its neuron), ``method``, ``encoder``; ``rate_mean``
        (of 1), ``synops_mean``, ``sign_mean``, ``energy_mean_microjoule`` and their ``std``; ``extra_percent`` over the
        binary network counted alike, NaN without one; ``not_counted``, why a run has one row without method or numbers.
    """
    energy = results.table("energy").merge(results.named, on="id")
    quantities = ["rate", "synops", "sign", "energy_microjoule"]
    groups = energy.groupby(["id", "neuron", "variant", "method", "encoder", "not_counted"], sort=False)
    means = groups[quantities].agg(["mean", "std"])
    means.columns = [f"{name}_{kind}" for name, kind in means.columns]
    means = means.rename(columns={f"energy_microjoule_{kind}": f"energy_{kind}_microjoule" for kind in ("mean", "std")})
    means = means.reset_index()
    means["place"] = [
        run.replace(f"-{file_part(neuron)}", "") for run, neuron in zip(means["id"], means["neuron"], strict=True)
    ]
    binary = means[means["neuron"] == "binary"].set_index(["place", "method", "encoder"])["energy_mean_microjoule"]
    reference = [binary.get(key) for key in zip(means["place"], means["method"], means["encoder"], strict=True)]
    extra = 100 * (means["energy_mean_microjoule"] / pd.Series(reference, dtype=float, index=means.index) - 1)
    means["extra_percent"] = extra.where(means["neuron"] != "binary")
    return means
