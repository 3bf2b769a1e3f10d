"""What the notebooks of Tables 1-4 have in common: the table, its differences, and prior work."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

import pandas as pd

from ternary_spike import paper
from ternary_spike.paper.quoted import quotations
from ternary_spike.report import show
from ternary_spike.report.equal_conditions import compared_sets, on_digits
from ternary_spike.report.figures import Shown, figure, subplots
from ternary_spike.report.palette import COLOURS, INK, MARKERS, ordered, titled
from ternary_spike.report.reference import kept as kept_sets
from ternary_spike.report.results import Results
from ternary_spike.report.rivals import equal_conditions, plain_name
from ternary_spike.tables.columns import OTHER_CODE


def _place(row: pd.Series) -> str:
    return f"{row['dataset']}, {row['architecture']}, T = {row['timesteps']}"


def _method(row: pd.Series) -> str:
    name = escape(str(row["method"]))
    if row["kind"] == "literature":
        remark = quotations()[_key(row)].remark
        hidden = f'<br><span class="detail">{escape(remark)}</span>' if remark else ""
        return f'{name} <span class="detail">{escape(row["citation"])}</span>{hidden}'
    kind = "the paper's" if row["kind"] == "paper" else "control, ours only"
    return f'{show.marked(row["neuron"], name)} <span class="detail">{kind}</span>'


def _key(row: pd.Series) -> tuple:
    return int(row["table"]), *(row[key] for key in ("dataset", "method", "architecture")), int(row["timesteps"])


def _no_run(row: pd.Series) -> bool:
    """Whether a row is of prior work and no run of this preset stands for it."""
    return row["kind"] == "literature" and show.missing(row.get("id"))


def _ours(row: pd.Series, which: str) -> str:
    if _no_run(row):
        return ""
    return show.in_words(row.get(f"{which}_mean_percent"), row.get(f"{which}_std_percent"))


def _alike(row: pd.Series, equal: Mapping[str, pd.Series]) -> str:
    """Of a row of prior work, what its method reached where only the method differs, and its distance to ternary."""
    found = equal.get(plain_name(str(row["method"]))) if row["kind"] == "literature" else None
    if found is None:
        return ""
    reached = show.in_words(found["last_epoch_mean_percent"], found["last_epoch_interval_points"])
    distance = show.in_words(found["difference_points"], found["interval_points"])
    distance = "" if show.missing(found["difference_points"]) else f", less ternary {distance} points"
    where = f"{found['name']}, {show.place(found)}"
    return f'{reached}<br><span class="detail">{escape(where)}{distance}</span>'


def _equal_conditions(results: Results, kept: Path | str) -> tuple[list[show.Column], str]:
    """The column of what prior methods reached under equal conditions, and what the caption says of it; or nothing.

    Results on digits are left out: methods that need more epochs are at chance there, which says nothing beside a row.
    """
    sets = [each for each in compared_sets(results, kept_sets(kept)) if not on_digits(each)]
    equal = equal_conditions(sets)
    if not equal:
        return [], ""
    reductions = []
    for each in sets:
        texts = each.table("rivals").query("n > 0")["reduced"]
        reductions += [f"{each.preset}: {text}" for text in dict.fromkeys(texts[texts != ""])][:1]
    column = show.Column("Equal conditions, at reduced scale, %", lambda row: _alike(row, equal), long=True)
    words = (
        "; equal conditions: all methods on one network by one recipe, the paper's, which some are not made for, at "
    )
    words += (
        "reduced scale and on one dataset, whatever the row's, ± half of the 95 % interval; not to be compared with "
    )
    words += "what is printed"
    return [column], f"{words} ({'; '.join(reductions)})"


def whole(results: Results, number: int, kept: Path | str | None = None) -> Shown:
    """The table as the paper prints it, with our best and last epoch, difference and verdict beside its own rows.

    A row of prior work says what its quotation does not, and what its method reached under equal conditions.

    Args:
        results: the preset's.
        number: of the table.
        kept: the folder of kept results, for the methods that this preset has not run; None shows no such column.
    """
    more, words = ([], "") if kept is None else _equal_conditions(results, kept)
    columns = [
        show.Column("Method", _method, lambda row: str(row["method"]), long=True),
        show.text("Network", "architecture"),
        show.number("T", "timesteps", 0),
        show.Column(
            "Paper, %",
            lambda row: show.in_words(row["paper_percent"], row["paper_std_percent"]),
            lambda row: row["paper_percent"],
            numeric=True,
        ),
        show.Column("Ours, best epoch, %", lambda row: _ours(row, "best_epoch"), numeric=True),
        show.Column("Ours, last epoch, %", lambda row: _ours(row, "last_epoch"), numeric=True),
        show.Column("Seeds", lambda row: f"{row['n']:.0f}" if row.get("n", 0) > 0 else "", numeric=True),
        show.Column("Difference, points", _difference, numeric=True),
        show.Column("Verdict", _verdict, long=True),
        *more,
    ]
    caption = f"Table {number}: literature as quoted in the paper, the paper's rows, and ours{words}"
    rows = results.table(f"table{number}").assign(table=number)
    rows = rows.sort_values("dataset", key=lambda names: names.map(_order), kind="stable")
    return show.table(rows, columns, caption, f"table{number}", group=lambda row: row["dataset"])


def _order(dataset: str) -> int:
    """Datasets in the paper's order, so that a control stands with its own."""
    return list(paper.DATASET_OF_NAME).index(dataset) if dataset in paper.DATASET_OF_NAME else len(paper.DATASETS)


def _difference(row: pd.Series) -> str:
    if show.missing(row.get("difference_points")):
        return ""
    return f"{show.decimal(row['difference_points'], 2, sign=True)} ± {show.decimal(row['standard_error_points'], 2)}"


def _verdict(row: pd.Series) -> str:
    """The verdict of a row, or why there is none, and the run that it is of."""
    if _no_run(row):
        return ""
    parts = []
    if not show.missing(row.get("verdict")):
        parts.append(show.badge(row["verdict"]))
        if OTHER_CODE in str(row.get("state")):
            parts.append(escape(str(row["state"])))
    elif not show.missing(row.get("state")) and row["state"] != "done":
        parts.append(escape(str(row["state"])))
    elif not show.missing(row.get("basis")) and show.missing(row.get("reduced")):
        parts.append(escape(str(row["basis"])))
    if not show.missing(row.get("reduced")) and row.get("n", 0) > 0:
        parts.append(f'<span class="reduced">reduced: {escape(str(row["reduced"]))}</span>')
    if row.get("n", 0) > 0:
        parts.append(f'<a href="runs/{escape(str(row["id"]))}.html">{escape(str(row["id"]))}</a>')
    return "<br>".join(parts)


def differences(results: Results, number: int) -> Shown:
    """Differences between neurons, other things equal, in the paper and here."""
    found = results.table(f"table{number}")
    own = found[found["kind"] == "paper"]
    rows = []
    for place, group in own.groupby(["dataset", "architecture", "timesteps"], sort=False):
        by = {row["neuron"]: row for _, row in group.iterrows()}
        for better, base in (("ternary", "binary"), ("trainable", "ternary")):
            if better in by and base in by:
                first, second = by[better], by[base]
                ours = [row.get("best_epoch_mean_percent") for row in (first, second)]
                rows.append(
                    {
                        **dict(zip(("dataset", "architecture", "timesteps"), place, strict=True)),
                        "pair": f"{better} over {base}",
                        "paper": first["paper_percent"] - second["paper_percent"],
                        "ours": None if any(show.missing(value) for value in ours) else ours[0] - ours[1],
                    }
                )
    columns = [
        show.text("Data", "dataset"),
        show.text("Network", "architecture"),
        show.number("T", "timesteps", 0),
        show.text("Pair", "pair"),
        show.number("Paper, points", "paper", 2, sign=True),
        show.number("Ours (best epoch), points", "ours", 2, sign=True),
    ]
    return show.table(pd.DataFrame(rows), columns, "Differences between neurons, other things equal", f"table{number}")


def picture(results: Results, number: int) -> Shown:
    """The paper's own rows and ours on one axis, the best of prior work as a mark."""
    found = results.table(f"table{number}")
    own = found[found["kind"] == "paper"]
    places = list(dict.fromkeys(_place(row) for _, row in own.iterrows()))
    drawn, axes = subplots(height=0.7 + 0.42 * len(places), width=5.6)
    for line, place in enumerate(places):
        here = own[[_place(row) == place for _, row in own.iterrows()]]
        names = ordered(own["neuron"])
        for _, row in here.iterrows():
            name = row["neuron"]
            height = -line + 0.22 * (names.index(name) - (len(names) - 1) / 2)
            marks = [(row["paper_percent"], row["paper_std_percent"], "none")]
            if row.get("n", 0) > 0 and not row["reduced"]:
                marks.append((row["best_epoch_mean_percent"], row["best_epoch_std_percent"], COLOURS[name]))
            for mean, std, fill in marks:
                spread = None if show.missing(std) else std
                axes.errorbar(mean, height, xerr=spread, color=COLOURS[name], marker=MARKERS[name], mfc=fill, capsize=2)
        dataset, architecture = here.iloc[0][["dataset", "architecture"]]
        prior = [
            row.accuracy_percent
            for row in paper.accuracies()
            if row.table == number and not row.own and (row.dataset, row.architecture) == (dataset, architecture)
        ]
        if prior:
            axes.plot([max(prior)] * 2, [-line - 0.35, -line + 0.35], color=INK, lw=1.2)
    for name in ordered(own["neuron"]):
        axes.plot([], [], color=COLOURS[name], marker=MARKERS[name], mfc="none", ls="", label=titled(name))
    axes.plot([], [], color=INK, marker="|", ls="", label="best prior work, same network")
    drawn.legend(loc="outside upper left", ncols=4, handletextpad=0.2, columnspacing=1.2, fontsize=8)
    axes.set_yticks([-i for i in range(len(places))], places)
    axes.set_ylim(-len(places) + 0.4, 0.6)
    axes.set_xlabel("Top-1 accuracy, %")
    return figure(
        results,
        drawn,
        f"table{number}",
        f"Accuracies of the paper's own rows in Table {number}, those measured here, and the best of prior work",
        "Open marks: the paper. Filled marks: full runs of ours, if there are any (best epoch). Line: the best row of "
        "prior work with the same network, as the paper quotes it.",
    )


def against_prior(number: int) -> Shown:
    """The best own row of each network against the best row of prior work in the same table."""
    rows = []
    mine = [row for row in paper.accuracies() if row.table == number]
    for dataset, architecture in dict.fromkeys((row.dataset, row.architecture) for row in mine if row.own):
        here = [row for row in mine if (row.dataset, row.architecture) == (dataset, architecture)]
        best = max((row for row in here if row.own), key=lambda row: row.accuracy_percent)
        prior = max((row for row in here if not row.own), key=lambda row: row.accuracy_percent, default=None)
        entry = {"dataset": dataset, "architecture": architecture, "best": best.accuracy_percent, "T": best.timesteps}
        if prior:
            entry |= {"prior": prior.method, "prior_percent": prior.accuracy_percent, "prior_T": prior.timesteps}
            entry["margin"] = best.accuracy_percent - prior.accuracy_percent
        rows.append(entry)
    columns = [
        show.text("Data", "dataset"),
        show.text("Network", "architecture"),
        show.number("Paper's best, %", "best"),
        show.number("T", "T", 0),
        show.text("Best prior work", "prior"),
        show.number("Its accuracy, %", "prior_percent"),
        show.number("Its T", "prior_T", 0),
        show.number("Margin, points", "margin", 2, sign=True),
    ]
    return show.table(
        pd.DataFrame(rows), columns, "The paper against the prior work that it quotes, network by network"
    )


def found(results: Results, number: int) -> show.Prose:
    """How many of the table's rows ran, and how many of these agree with the paper."""
    own = results.table(f"table{number}").query("kind == 'paper'")
    ran = own[own["n"].fillna(0) > 0] if "n" in own else own.iloc[:0]
    full = ran[ran["reduced"] == ""] if len(ran) else ran
    sentences = [f"{len(full)} of the {len(own)} own rows of Table {number} were run in full."]
    if len(full):
        counts = full["verdict"].value_counts()
        sentences.append(
            "Of these, " + ", ".join(f"{count} {show.as_text(word)}" for word, count in counts.items()) + "."
        )
    if len(ran) > len(full):
        sentences.append(
            f"{len(ran) - len(full)} ran in a reduced form, which cannot agree or disagree with the paper."
        )
    if len(own) > len(ran):
        states = own[~own.index.isin(ran.index)]["state"].value_counts()
        sentences.append("; ".join(f"{count} rows: {show.as_text(state)}" for state, count in states.items()) + ".")
    return show.note(*sentences)
