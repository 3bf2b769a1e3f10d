"""The checks of the paper against itself: everything from its own printed figures."""

from ternary_spike import paper
from ternary_spike.claims.findings import Finding, Tables, check, exact


def _own(table: int, dataset: str, architecture: str, **wanted) -> list[paper.Accuracy]:
    rows = [r for r in paper.accuracies() if r.table == table and r.own and r.dataset == dataset]
    rows = [r for r in rows if r.architecture.lower() == architecture.lower()]
    return [r for r in rows if all(getattr(r, key) == value for key, value in wanted.items())]


def best_own(table: int, dataset: str) -> paper.Accuracy:
    """The best of the paper's own rows."""
    rows = [r for r in paper.accuracies() if r.table == table and r.own and r.dataset == dataset]
    return max(rows, key=lambda row: row.accuracy_percent)


def best_prior(table: int, dataset: str, architecture: str | None = None) -> paper.Accuracy:
    """The best row of prior work."""
    rows = [r for r in paper.accuracies() if r.table == table and not r.own and r.dataset == dataset]
    if architecture:
        rows = [r for r in rows if r.architecture.lower() == architecture.lower()]
    return max(rows, key=lambda row: row.accuracy_percent)


def _best(rows: list[paper.Accuracy]) -> paper.Accuracy:
    return max(rows, key=lambda row: row.accuracy_percent)


@check
def prior_best(tables: Tables, table: int, dataset: str, architecture: str, claimed: float) -> Finding:
    """The highest prior accuracy of a network, as the text gives it, against the table's."""
    best = best_prior(table, dataset, architecture)
    result = f"Table {table}'s highest is {best.accuracy_percent:.2f} % ({best.method}, T = {best.timesteps})"
    return exact(best.accuracy_percent == claimed, result)


@check
def fewer_timesteps(tables: Tables, table: int, dataset: str, architecture: str, method: str) -> Finding:
    """Timesteps of the best own row against those of the best prior row of the same network."""
    best, prior = _best(_own(table, dataset, architecture, method=method)), best_prior(table, dataset, architecture)
    result = (
        f"{best.accuracy_percent:.2f} % takes {best.timesteps} timesteps, {prior.method}'s "
        f"{prior.accuracy_percent:.2f} % {prior.timesteps}"
    )
    return exact(best.timesteps < prior.timesteps, result)


@check
def printed_margin(
    tables: Tables,
    table: int,
    dataset: str,
    architecture: str,
    timesteps: int,
    over: list[str],
    claimed: float,
    within: float,
) -> Finding:
    """The best own row at some T against the best of named methods (of all prior work if none is named)."""
    best = _best(_own(table, dataset, architecture, timesteps=timesteps))
    rows = [r for r in paper.accuracies() if r.table == table and not r.own and r.dataset == dataset]
    prior = _best([r for r in rows if not over or r.method in over])
    margin = best.accuracy_percent - prior.accuracy_percent
    result = (
        f"{best.accuracy_percent:.2f} % is {margin:+.2f} points to {prior.method}'s {prior.accuracy_percent:.2f} % "
        f"({prior.architecture}, T = {prior.timesteps})"
    )
    return exact(abs(margin - claimed) <= within, result)


@check
def printed_gains(tables: Tables, table: int, better: str, base: str, claimed: float, within: float) -> Finding:
    """Best row of one neuron less best row of another, for each network of a table."""
    own = [row for row in paper.accuracies() if row.table == table and row.own]
    gains = {}
    for architecture in dict.fromkeys(row.architecture for row in own):
        first, second = (
            _best([r for r in own if r.architecture == architecture and r.neuron == neuron])
            for neuron in (better, base)
        )
        gains[architecture] = first.accuracy_percent - second.accuracy_percent
    result = ", ".join(f"{architecture} {value:+.2f} points" for architecture, value in gains.items())
    return exact(all(abs(value - claimed) <= within for value in gains.values()), result)


@check
def consistently_best(tables: Tables) -> Finding:
    """The best own row of each network and dataset in Tables 2-4 against the best prior row of the same two."""
    rows = [row for row in paper.accuracies() if row.table in (2, 3, 4)]
    places = dict.fromkeys((row.table, row.dataset, row.architecture) for row in rows if row.own)
    beaten, total = [], 0
    for table, dataset, architecture in places:
        quoted = [
            r for r in rows if not r.own and (r.table, r.dataset, r.architecture) == (table, dataset, architecture)
        ]
        if not quoted:
            continue
        total += 1
        best, prior = _best(_own(table, dataset, architecture)), _best(quoted)
        if best.accuracy_percent <= prior.accuracy_percent:
            beaten.append(
                f"{dataset}, {architecture}: {best.accuracy_percent:.2f} % is below {prior.method}'s "
                f"{prior.accuracy_percent:.2f} % (T = {prior.timesteps})"
            )
    result = f"above in {total - len(beaten)} of {total} places" + (f"; {'; '.join(beaten)}" if beaten else "")
    return exact(not beaten, result)


def _rounds_to(value: float, printed_value: float, decimals: int = paper.ENERGY_DECIMALS) -> bool:
    return abs(value - printed_value) <= 0.5 * 10**-decimals + 1e-9


@check
def printed_energy(tables: Tables) -> Finding:
    """12.5 pJ x FLOPs + 77 fJ x SOPs + 3.7 pJ x sign operations from the printed counts."""
    rows = paper.energies()
    result = ", ".join(f"{r.neuron} {r.from_counts():.3f} µJ (printed {r.energy_microjoule:.2f})" for r in rows)
    return exact(all(_rounds_to(row.from_counts(), row.energy_microjoule) for row in rows), result)


@check
def printed_extra(tables: Tables, claimed: float) -> Finding:
    """Ternary over binary energy, from the two printed energies."""
    energy = {row.neuron: row.energy_microjoule for row in paper.energies()}
    extra = 100 * (energy["ternary"] / energy["binary"] - 1)
    return exact(_rounds_to(extra, claimed), f"{extra:.3f} %")


@check
def printed_additions(tables: Tables) -> Finding:
    """The ranges of A that the rounded counts and sparsities of the two rows allow, and whether they overlap."""
    half = 0.005
    ranges = {}
    for row in paper.energies():
        low = (row.sops_million - half) / ((row.sparsity_percent + half) / 100 * row.timesteps)
        high = (row.sops_million + half) / ((row.sparsity_percent - half) / 100 * row.timesteps)
        ranges[row.neuron] = (low, high)
    result = ", ".join(f"{neuron} row: A = {low:.2f} to {high:.2f} M" for neuron, (low, high) in ranges.items())
    lows, highs = zip(*ranges.values(), strict=True)
    return exact(max(lows) <= min(highs), result)


@check
def printed_signs(tables: Tables, neurons: int, comparisons: dict[str, int]) -> Finding:
    """Sign operations = comparisons x s x T x neurons, against the printed counts."""
    words, holds = [], True
    for row in paper.energies():
        count = comparisons[row.neuron] * row.sparsity_percent / 100 * row.timesteps * neurons / 1e6
        words.append(f"{row.neuron} {count:.4f} M (printed {row.sign_million:.2f})")
        holds &= _rounds_to(count, row.sign_million)
    return exact(holds, ", ".join(words))
