"""The page docs/methods.md, made from the method sheets, the registries and the kept results of a comparison.

``PYTHONPATH=lib:. python -m tests.helpers.parts_doc`` writes it anew, with the other pages that are made from code.
"""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from ternary_spike.configuration import method_sheet
from ternary_spike.configuration.method_sheet import GROUPS, SINGLE, MethodSheet
from ternary_spike.methods.registry import METHODS
from ternary_spike.models.normalisations import BATCH_NORM, NORMALISATIONS
from ternary_spike.neurons.registry import NEURONS
from ternary_spike.planning.network_options import NORMALISATION

ROOT = Path(__file__).parents[2]
SHEETS = ROOT / "config" / "methods"
#: the comparison under equal conditions whose figures are kept
KEPT = ROOT / "results" / "reference" / "rivals-digits" / "tables" / "rivals.csv"
#: what `benchmarks/methods.py` measured of the same runs
STEPS = ROOT / "results" / "reference" / "bench" / "methods.csv"
NOT_MEASURED = "not measured yet"
COUNTED = "operations are counted on the network itself"


def sheets() -> list[MethodSheet]:
    """Every sheet, by title."""
    return sorted(map(method_sheet.load, SHEETS.glob("*.yaml")), key=lambda sheet: (sheet.title.casefold(), sheet.name))


def page() -> str:
    """A table of all methods, and a section for each."""
    found = sheets()
    text = "| method | sheet | level | what it changes |\n| --- | --- | --- | --- |\n"
    for sheet in found:
        kinds = ", ".join(kind for kind, _ in changes(sheet))
        text += f"| [{sheet.title}](#{sheet.name}) | `{sheet.name}` | {sheet.level} | {kinds} |\n"
    return text + "".join(map(section, found))


def section(sheet: MethodSheet) -> str:
    """What a reader wants to know of one method."""
    text = f'\n<a id="{sheet.name}"></a>\n\n## {sheet.title}\n\n{sheet.citation}. Level: **{sheet.level}**.\n\n'
    text += "".join(f"- {kind}: {what}\n" for kind, what in changes(sheet))
    text += "".join(f"- filled in: {what}\n" for what in sheet.filled_in)
    text += f"- once folded: {folded(sheet)}\n- cost: {cost(sheet)}\n"
    values = list(of_sheet(sheet))
    if values:
        text += "\n| value | | source |\n| --- | --- | --- |\n"
        text += "".join(f"| `{key}` | `{value}` | {sheet.sources[key]} |\n" for key, value in values)
    return text


def changes(sheet: MethodSheet) -> list[tuple[str, str]]:
    """What a method changes beside the paper's neurons and way to train, by kind, in the words of the registries."""
    found = []
    if sheet.training:
        part = METHODS[sheet.training]
        source = "; starts from another run, which its row names" if part.from_run else ""
        found.append(("training", f"`{sheet.training}`, {part.meaning}{source}"))
    if sheet.neuron:
        found.append(("neuron", f"`{sheet.neuron}`, {NEURONS[sheet.neuron].meaning}"))
    if normalisation := sheet.network_options.get(NORMALISATION):
        found.append(("normalisation", f"`{normalisation}`, {NORMALISATIONS[normalisation].meaning}"))
    if sheet.recipe:
        found.append(("recipe", ", ".join(f"{key} {value}" for key, value in sheet.recipe.items())))
    return found


def of_sheet(sheet: MethodSheet) -> Iterator[tuple[str, object]]:
    """Every value of a sheet by its key in ``sources``."""
    for key in SINGLE:
        if getattr(sheet, key):
            yield key, getattr(sheet, key)
    for group in GROUPS:
        for key, value in getattr(sheet, group).items():
            yield f"{group}.{key}", value


def folded(sheet: MethodSheet) -> str:
    """What folding leaves of a network of this method, or why it leaves it as it is."""
    normalisation = sheet.network_options.get(NORMALISATION, BATCH_NORM)
    if not NORMALISATIONS[normalisation].folds:
        return f"not foldable, its normalisation `{normalisation}` has no fold; {COUNTED}"
    if not sheet.neuron:
        return "as the row's neuron folds; the method leaves nothing of its own"
    options = NEURONS.options(sheet.neuron, sheet.neuron_options, text=True)
    left = NEURONS[sheet.neuron].load().build(4, **options).folds() if NEURONS[sheet.neuron].folds else None
    if left is None:
        return f"not foldable, its neuron `{sheet.neuron}` has no fold with these options; {COUNTED}"
    dynamics = left.dynamics
    spikes = "spikes {-1, 0, 1}" if dynamics.signed else "spikes {0, 1}"
    taken = "batch norm" + (", thresholds' signs" if hasattr(left, "thresholds") else "")
    taken = "amplitudes and batch norm" if left.amplitude is not None else taken
    threshold = "thresholds of each channel" if hasattr(left, "thresholds") else f"threshold {dynamics.threshold:g}"
    decay = _decay(dynamics.decay)
    return f"the weights take {taken}; neurons with {spikes}, {threshold} and {decay} remain"


def _decay(decay: float) -> str:
    if decay in (0, 1):
        return "no decay" if decay else "no memory"
    halved = math.frexp(decay)[0] == 0.5
    return f"decay {decay:g}, {'a shift of the exponent' if halved else 'a multiplication a neuron and timestep'}"


def cost(sheet: MethodSheet) -> str:
    """Accuracy, additions and a training step's time beside ternary spikes, as kept, a clause a run."""
    rows = [row for row in _table(KEPT) if _is_of(row, sheet) and row["difference_points"]]
    steps = {row["id"]: float(row["times_ternary_step"]) for row in _table(STEPS)}
    clauses = []
    for row in rows:
        spread = f" ± {float(row['interval_points']):.2f}" if row["interval_points"] else ""
        parts = [f"{float(row['difference_points']):+.2f}{spread} points to ternary spikes"]
        parts += [f"{float(row['synops_ratio']):.2f} times the additions"] if row["synops_ratio"] else []
        parts += [f"{steps[row['id']]:.2f} times the time of a training step"] if row["id"] in steps else []
        clauses.append(f"{row['name']}: {', '.join(parts)}")
    where = f" (`{KEPT.parents[1].relative_to(ROOT)}`, reduced: {rows[0]['reduced']})" if rows else ""
    return "; ".join(clauses) + where or NOT_MEASURED


def _table(path: Path) -> list[dict[str, str]]:
    """Rows of a kept table; none where it is not kept."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _is_of(row: dict[str, str], sheet: MethodSheet) -> bool:
    """Whether a row of the table of rivals is a run of a sheet, or of its neuron without more."""
    if row["method"]:
        return row["method"].startswith(f"{sheet.title} ({sheet.level}")
    return row["kind"] == "prior" and row["neuron"] == sheet.neuron
