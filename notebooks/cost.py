# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
results = "../results/demo"

# %% [markdown]
# # What did it cost, and where do the numbers come from?
#
# **Asked:** which commit, machine and versions made each run, how long did it take, and what would the rest of the
# plan need?

# %%
from html import escape

from ternary_spike import report

results = report.Results(results)
runs = results.table("runs")
done = runs[runs["last_epoch_percent"].notna()]

# %% [markdown]
# ## Runs

# %%
report.table(
    runs,
    [
        report.run_link(),
        report.number("Seed", "seed", 0),
        report.state(),
        report.number("Epochs", "epochs", 0),
        report.number("Training, s", "wall_seconds", 1),
        report.number("Images/s", "images_per_second", 0),
        report.number("Peak memory, MB", "peak_memory_bytes", 0, scale=1e-6),
        report.number("Resumed", "resumed", 0),
    ],
    "Every planned run: what it took, or why there is nothing",
    "runs",
)

# %% [markdown]
# ## Provenance


# %%
def commit(row) -> str:
    """The commit's first digits, or that it is unknown; why, the run's page says."""
    return f"<code>{escape(row['commit'].partition(':')[0][:12])}</code>" if row["commit"] else "–"


report.table(
    done,
    [
        report.run_link(),
        report.number("Seed", "seed", 0),
        report.Column("Commit", commit),
        report.Column("Changed files", lambda row: {"True": "yes", "False": "no"}.get(str(row["dirty"]), "unknown")),
        report.text("torch", "torch"),
        report.text("Processor", "cpu"),
        report.text("Device", "device"),
        report.number("Threads", "threads", 0),
        report.text("Data", "data_label"),
        report.text("Started", "started"),
    ],
    "From which code, on which machine; each run's page has the whole record",
    "runs",
)

# %%
noted = done[(done["warnings"] != "") | (done["missing"] != "")]
report.table(
    noted,
    [
        report.run_link(),
        report.number("Seed", "seed", 0),
        report.text("Warnings", "warnings"),
        report.text("Missing files", "missing"),
    ],
    "Runs with a warning or without all of their files",
    "runs",
)

# %% [markdown]
# ## What was found

# %%
total, finished = done["wall_seconds"].sum(), len(done)
commits = sum(not name.startswith("unknown") for name in set(done["commit"]))
report.note(
    f"{finished} of {len(runs)} planned runs finished, in {total / 60:,.1f} minutes of training in all, from "
    f"{commits} known commit{'s' if commits != 1 else ''}."
    if finished
    else f"None of the {len(runs)} planned runs has finished."
)
