"""Assembling the report: front page, claims ledger, a page a notebook, a page a run, and the files behind them.

The folder that comes out needs nothing beside it: every table, figure and run file that a number comes from is in
``files/`` (:mod:`ternary_spike.report.copied_files`).
"""

import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from ternary_spike import paper
from ternary_spike.planning.matching import RECORD as MATCH
from ternary_spike.planning.run_files import RUN_FILES, run_folder
from ternary_spike.report import figures, notebooks, palette, reference, rulegraph, show
from ternary_spike.report.benchmarks import benchmark_files
from ternary_spike.report.copied_files import LINKED, NOTEBOOKS, RUNS, copy_files
from ternary_spike.report.equal_conditions import compared_sets, in_one_sentence, main_place, rivals_figure
from ternary_spike.report.folds import fold_in_figures
from ternary_spike.report.results import Results
from ternary_spike.report.templating import environment
from ternary_spike.system.errors import UserError
from ternary_spike.system.files import write_text
from ternary_spike.tables.columns import OTHER_CODE, OTHER_SETTINGS
from ternary_spike.tables.verdicts import EXACT, FULL, NOT_TESTED, SCALE

HERE = Path(__file__).parent

#: notebooks in the order of the argument; others follow by name
ORDER = (
    "comparison", "controls", "reference", "rivals", "scale", "information", "neuron", "membrane", "amplitude", "rates",
    "folding", "table1", "table2", "table3", "table4", "table5", "cost", "speed",
)  # fmt: skip
GROUPS = (
    "theory", "neurons", "energy", "the paper against itself", "table 1", "table 2", "table 3", "table 4", "quotations",
)  # fmt: skip


def build(results: Path, out: Path, kept: Path | None = None) -> Path:
    """Write the whole report.

    Args:
        results: results/<preset> with tables/ and notebooks/ (whichever notebooks were executed).
        out: the report's folder; ``rulegraph.dot`` in it, if there is one, is drawn.
        kept: results/reference, copied for the notebook that shows them.

    Returns:
        index.html.

    Raises:
        UserError: if a table is missing or a folder cannot be written.
    """
    site = _Site(Results(results), Path(out), kept)
    try:
        copy_files(site.results, site.kept, site.measured, site.out / "files", site.bodies.values())
        site.write_assets()
    except OSError as error:
        raise UserError(f"cannot write the report to {out}: {error.strerror or error}; make room there") from None
    site.write_notebooks()
    site.write_runs()
    site.write_claims()
    site.write_files()
    return site.write_front()


class _Site:
    def __init__(self, results: Results, out: Path, kept: Path | None) -> None:
        self.results = results
        self.kept = [] if kept is None else reference.kept(kept)
        self.measured = {} if kept is None else benchmark_files(results, kept)
        self.out = out
        self.templates = environment()
        self.templates.filters["typed"] = shlex.join
        self.templates.filters["badge"] = lambda word: Markup(show.badge(word))
        self.summary = results.summary
        self.known = self.templates.globals["known"] = set(self.summary["id"])
        self.runs = results.table("runs")
        self.claims = results.table("claims")
        found = {path.stem: path for path in sorted((results.folder / "notebooks").glob("*.html"))}
        failed = [path.stem for path in (results.folder / "notebooks").glob("*.ipynb") if path.stem not in found]
        names = [*(name for name in ORDER if name in found), *(name for name in found if name not in ORDER)]
        self.bodies = {name: found[name].read_text(encoding="utf-8") for name in names}
        self.titles = {name: notebooks.title(body) for name, body in self.bodies.items()}
        self.failed = sorted(failed)

    # pages ------------------------------------------------------------------------------------------------------------

    def _write(self, page: str, template: str, title: str, **values) -> Path:
        root = "../" * page.count("/")
        html = self.templates.get_template(template).render(
            title=title,
            root=root,
            page=page,
            preset=self.results.preset,
            titles=self.titles,
            failed=self.failed,
            **values,
        )
        path = self.out / page
        write_text(path, html)
        return path

    def write_notebooks(self) -> None:
        """A page a notebook; those of notebooks that have failed or gone since then go."""
        for stale in set(ORDER) - set(self.bodies):
            (self.out / f"{stale}.html").unlink(missing_ok=True)
        for name, body in self.bodies.items():
            self._write(
                f"{name}.html",
                "notebook.html.j2",
                self.titles[name],
                name=name,
                archive=NOTEBOOKS,
                body=Markup(self._checked(body)),
            )

    def _checked(self, body: str) -> str:
        """A notebook's body without links to runs that have no page."""

        def kept(match: re.Match) -> str:
            return match[0] if match[1] in self.known else match[2]

        return re.sub(r'<a href="runs/([^"]+)\.html"[^>]*>(.*?)</a>', kept, body)

    def write_runs(self) -> None:
        """A page a run id: its seeds, their provenance and their files."""
        for _, row in self.summary.iterrows():
            seeds = []
            for _, seed in self.runs[self.runs["id"] == row["id"]].iterrows():
                folder = run_folder(self.results.folder, row["id"], seed["seed"])
                within = f"runs/{row['id']}/seed{seed['seed']}"
                files = [name for name in RUN_FILES if (folder / name).is_file()]
                record = self.results.run(row["id"], seed["seed"]) if pd.notna(seed["last_epoch_percent"]) else {}
                seeds.append({"seed": seed["seed"], "row": _filled(seed), "files": files, "in": within, "run": record})
            used = self.claims[self.claims["runs"].map(lambda ids, run=row["id"]: run in ids.split())]
            accuracy = {
                which: show.in_words(row[f"{which}_mean_percent"], row[f"{which}_std_percent"], 2, "%")
                for which in ("last_epoch", "best_epoch", "rate")
            }
            self._write(
                f"runs/{row['id']}.html",
                "run.html.j2",
                row["id"],
                row=_filled(row) | {"mark": palette.variable(row["neuron"])},
                seeds=seeds,
                archive=RUNS,
                linked=LINKED,
                accuracy=accuracy,
                claims=used.to_dict("records"),
                wall=_duration(row["wall_seconds"]),
                search=f"../files/runs/{row['id']}/{MATCH}" if (folder.parent / MATCH).is_file() else None,
            )
        for stale in (self.out / "runs").glob("*.html"):
            if stale.stem not in self.known:
                stale.unlink()

    def write_claims(self) -> None:
        """The ledger."""
        tested = self.claims["verdict"] != NOT_TESTED
        groups = {
            group: [
                self.claims[(self.claims["group"] == group) & chosen].to_dict("records") for chosen in (tested, ~tested)
            ]
            for group in GROUPS
        }
        self._write(
            "claims.html",
            "claims.html.j2",
            "The claims ledger",
            groups=groups,
            counts=self._counts(),
            known=self.titles,
        )

    def write_files(self) -> None:
        """A list of every file behind the report."""
        kinds = {}
        for path in sorted((self.out / "files").rglob("*")):
            if path.is_file():
                relative = path.relative_to(self.out / "files")
                kind = relative.parts[0] if len(relative.parts) > 1 else "preset"
                kinds.setdefault(kind, []).append((str(relative), path.stat().st_size))
        self._write("files.html", "files.html.j2", "Files", kinds=kinds)

    def write_front(self) -> Path:
        """The front page."""
        done = self.results.done
        absent = self.summary[self.summary["n"] == 0]
        reasons = absent.groupby("state", sort=False).size().sort_values(ascending=False)
        headline = self.claims[self.claims["headline"].astype(bool)]
        graph = self._rule_graph()
        return self._write(
            "index.html",
            "index.html.j2",
            "Ternary Spike, reproduced",
            paper_title=paper.TITLE,
            planned=len(self.runs),
            rows=self._own_rows(),
            finished=int(self.runs["last_epoch_percent"].notna().sum()),
            ids=len(self.summary),
            reasons=[(state, int(count)) for state, count in reasons.items()],
            others=[(run, state) for run, state in zip(done["id"], done["state"], strict=True) if _of_others(state)],
            reductions=list(dict.fromkeys(text for text in done["reduced"] if text)),
            datasets=list(dict.fromkeys(label for label in done["data_label"] if label)),
            comparison=Markup(self._comparison(done)),
            picture=Markup(figures.drawn_before(self.results, "accuracy-and-rate") or ""),
            headline=headline.to_dict("records"),
            counts=self._counts(),
            fold=fold_in_figures(self.results.table("equivalence")),
            energy=[row for row in headline.to_dict("records") if row["group"] == "energy"],
            equal=self._under_equal_conditions(),
            provenance=self._provenance(),
            graph=Markup(graph) if graph else None,
            total=len(self.claims),
        )

    # parts ------------------------------------------------------------------------------------------------------------

    def _comparison(self, done: pd.DataFrame) -> str:
        """The three neurons side by side, and nothing else: variants of controls are in the notebook."""
        rows = done[done["variant"] == ""]
        columns = [
            show.neuron(),
            show.spread("Last epoch, %", "last_epoch"),
            show.spread("Best epoch, %", "best_epoch"),
            show.number("Seeds", "n", 0),
            show.spread("Firing rate, %", "rate", digits=1),
            show.spread("Energy, µJ", "energy", "microjoule"),
            show.run_link("From"),
        ]
        caption = "Test accuracy, firing rate and energy per image, mean ± standard deviation over seeds; "
        caption += self.results.energies_at
        return show.table(rows, columns, caption, "summary", group=show.place).html

    def _under_equal_conditions(self) -> dict | None:
        """The comparison with prior methods: its sentence, picture and results; None if nothing says it."""
        for found in compared_sets(self.results, self.kept):
            if sentence := in_one_sentence(found):
                here = main_place(found)
                name = rivals_figure(self.results, found, "distance", here.iloc[0])
                return {
                    "sentence": sentence,
                    "picture": Markup(figures.drawn_before(self.results, name) or ""),
                    "set": found.preset,
                    "own": found is self.results,
                    "reduced": "; ".join(dict.fromkeys(text for text in here["reduced"] if text)),
                }
        return None

    def _own_rows(self) -> dict[str, int]:
        """How many of the paper's own rows of Tables 1-4 there are, ran in full, and ran in a reduced form."""
        own = pd.concat([self.results.table(f"table{number}").query("kind == 'paper'") for number in (1, 2, 3, 4)])
        ran = own[own["n"] > 0]
        full = int((ran["reduced"] == "").sum())
        return {"all": len(own), "full": full, "reduced": len(ran) - full}

    def _counts(self) -> list[tuple[str, int]]:
        counts = self.claims["verdict"].value_counts()
        return [(word, int(counts[word])) for word in (*FULL, *SCALE, *EXACT, NOT_TESTED) if word in counts]

    def _provenance(self) -> dict[str, str]:
        done = self.runs[self.runs["last_epoch_percent"].notna()]
        if done.empty:
            return {}
        listed = lambda column: ", ".join(dict.fromkeys(str(v) for v in done[column] if not show.missing(v)))  # noqa: E731
        commits = dict.fromkeys(
            commit + (" with changes" if str(dirty) == "True" else "")
            for commit, dirty in zip(done["commit"], done["dirty"], strict=True)
        )
        return {
            "Commit": ", ".join(commits),
            "Python": listed("python"),
            "torch": listed("torch"),
            "Hardware": f"{listed('cpu')}; {listed('device')}; {listed('cores')} cores",
            "Seeds": ", ".join(str(seed) for seed in sorted(set(done["seed"]))),
            "Wall time": f"{_duration(done['wall_seconds'].sum())} of training in {len(done)} runs",
            "When": f"{done['started'].min()} to {done['finished'].max()}",
        }

    def _rule_graph(self) -> str | None:
        path = self.out / "rulegraph.dot"
        if not path.exists():
            return None
        try:
            svg = rulegraph.draw(rulegraph.parse(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise UserError(
                f"{path} is not a rule graph: {error}; delete it and let the workflow write it again"
            ) from None
        return figures.inline(svg, "rulegraph", "The workflow's rules, each below those whose files it reads")

    def write_assets(self) -> None:
        """Style and the few lines of script."""
        folder = self.out / "assets"
        folder.mkdir(parents=True, exist_ok=True)
        style = (HERE / "assets" / "style.css").read_text(encoding="utf-8")
        (folder / "style.css").write_text(f"{palette.css()}\n{style}\n{_highlighting()}", encoding="utf-8")
        shutil.copyfile(HERE / "assets" / "sort.js", folder / "sort.js")


def _of_others(state: str) -> bool:
    """Whether a finished run was not made wholly by the present code and settings."""
    return OTHER_CODE in state or OTHER_SETTINGS in state


def _filled(row: pd.Series) -> dict:
    """A row for a template: missing values as empty text."""
    return {key: "" if show.missing(value) else value for key, value in row.items()}


def _duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if show.missing(seconds):
        return show.DASH
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86_400:.3g} days"


def _highlighting() -> str:
    """Code colours for light and dark, from pygments' accessible styles."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="xcode").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n.highlight {{ background: none; }}\n"
