"""From tables to the report: what the notebooks import, and what executes them and assembles the pages.

Nothing here imports torch: notebooks read small files only.
"""

from ternary_spike.report.benchmarks import benchmark_files
from ternary_spike.report.drawings import (
    by_layer,
    forest,
    logarithmic_if_far_apart,
    membranes,
    names_beside,
    points,
    training,
)
from ternary_spike.report.energies import energy_by_method
from ternary_spike.report.equal_conditions import compared_sets, in_one_sentence, rivals_figure
from ternary_spike.report.figures import direct_label, end_labels, figure, subplots
from ternary_spike.report.palette import COLOURS, INK, MARKERS, ordered
from ternary_spike.report.precision import paired
from ternary_spike.report.reference import kept, pairs
from ternary_spike.report.results import Results
from ternary_spike.report.rivals import conversions, published
from ternary_spike.report.scale import scale_leads, scale_runs, scale_sentence, shared_reductions, trend
from ternary_spike.report.show import (
    Column,
    as_text,
    called,
    claims,
    decimal,
    in_words,
    judged,
    marked,
    missing,
    neuron,
    note,
    number,
    place,
    record,
    run_link,
    scientific,
    signed,
    spread,
    state,
    table,
    text,
    verdict,
)

__all__ = [
    "COLOURS",
    "INK",
    "MARKERS",
    "Column",
    "Results",
    "as_text",
    "benchmark_files",
    "by_layer",
    "called",
    "claims",
    "compared_sets",
    "conversions",
    "decimal",
    "direct_label",
    "end_labels",
    "energy_by_method",
    "figure",
    "forest",
    "in_one_sentence",
    "in_words",
    "judged",
    "kept",
    "logarithmic_if_far_apart",
    "marked",
    "membranes",
    "missing",
    "names_beside",
    "neuron",
    "note",
    "number",
    "ordered",
    "paired",
    "pairs",
    "place",
    "points",
    "published",
    "record",
    "rivals_figure",
    "run_link",
    "scale_leads",
    "scale_runs",
    "scale_sentence",
    "scientific",
    "shared_reductions",
    "signed",
    "spread",
    "state",
    "subplots",
    "table",
    "text",
    "training",
    "trend",
    "verdict",
]
