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
# # What does a ternary neuron do?
#
# **Asked:** Fig. 1 of the paper draws the three neurons. Here they are computed: one input current, the three
# neurons' membrane potentials, and what they send on.

# %%
from ternary_spike import report
from ternary_spike.report import COLOURS

results = report.Results(results)
trace = results.trace()
claims = results.table("claims").set_index("id")

# %% [markdown]
# ## The equations
#
# The membrane potential $u$ is charged by the input $x$ and keeps a share $\tau = 0.25$ of what was left (Eq. 13):
#
# $$u^t = \tau \, u^{t-1} \left(1 - |b^{t-1}|\right) + x^t$$
#
# A binary neuron fires $b = 1$ where $u \geq V_{th}$; a ternary one also fires $b = -1$ where $u \leq -V_{th}$ (Eq.
# 8). Whoever fires starts again from 0. A trainable neuron sends $o = a \, b$ with an amplitude $a$ of its layer (Eq.
# 14); the reset sees $b$, not $a \, b$. The paper gives no $V_{th}$; the authors' code has 0.5, and so have we.

# %% [markdown]
# ## One input, three neurons

# %%
names = list(dict.fromkeys(trace["neuron"]))
threshold = trace["threshold"].iloc[0]
figure, grid = report.subplots(2, len(names), height=3.6, sharex=True, sharey="row", height_ratios=(2, 1.2))
for (above, below), name in zip(grid.T, names, strict=True):
    mine = trace[trace["neuron"] == name]
    above.plot(mine["timestep"], mine["current"], color=report.INK, lw=0.8, ls=":")
    above.plot(mine["timestep"], mine["membrane"], color=COLOURS[name], marker="o", markersize=2.5)
    for level in (threshold,) if name == "binary" else (threshold, -threshold):
        above.axhline(level, color=report.INK, lw=0.7, ls="--")
    amplitude = mine["amplitude"].iloc[0]
    above.set_title(name if amplitude == 1 else f"{name}, a = {amplitude:g}", color=COLOURS[name])
    fired = mine[mine["output"] != 0]
    below.vlines(fired["timestep"], 0, fired["output"], color=COLOURS[name], lw=2)
    below.axhline(0, color=report.INK, lw=0.7)
    below.set_xlabel("Timestep")
grid[0, 0].set_ylabel("Membrane potential u")
grid[1, 0].set_ylabel("Output o")
report.figure(
    results,
    figure,
    "neurons",
    "Three columns, one a neuron: above, the membrane potential through time and its thresholds; below, the spikes",
    "Dotted: the input current. Line: the membrane potential before the reset. Dashed: thresholds. Below: what is sent "
    "on. Negative currents, which the binary neuron cannot report, become negative spikes.",
)

# %%
report.table(
    trace.pivot(index=["timestep", "current"], columns="neuron", values=["membrane", "output"])
    .pipe(lambda frame: frame.set_axis([f"{kind} {name}" for kind, name in frame.columns], axis=1))
    .reset_index(),
    [
        report.number("Timestep", "timestep", 0),
        report.number("Input", "current", 3, sign=True),
        *(report.number(f"u, {name}", f"membrane {name}", 3, sign=True) for name in names),
        *(report.number(f"o, {name}", f"output {name}", 1, sign=True) for name in names),
    ],
    "The same, step by step",
)

# %% [markdown]
# ## What was found

# %%
counts = trace[trace["spike"] != 0].groupby("neuron")["spike"].agg(["size", "sum"])
sentences = []
for name in names:
    spikes, total = (int(counts.loc[name, key]) if name in counts.index else 0 for key in ("size", "sum"))
    sentences.append(f"{name} {spikes} spikes ({(spikes + total) // 2} positive, {(spikes - total) // 2} negative)")
report.note(
    f"On {trace['timestep'].max()} timesteps of one input: {', '.join(sentences)}.",
    report.judged(claims.loc["reset-equations"]),
)

# %%
report.claims(results, "neuron")
