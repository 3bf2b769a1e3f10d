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
kept = "../results/reference"

# %% [markdown]
# # Table 4: CIFAR10-DVS
#
# **Asked:** do the four rows on event data come out, and are they above prior work?

# %%
from ternary_spike import report
from ternary_spike.report import accuracy

results = report.Results(results)

# %% [markdown]
# ## Results
#
# Literature rows are the paper's quotations. Our rows carry the verdict by the stated rule: best epoch against the
# paper's best epoch, agreement within 0.5 points or two standard errors. The difference is given with its standard
# error.

# %%
accuracy.whole(results, 4, kept)

# %%
accuracy.picture(results, 4)

# %% [markdown]
# ## Differences

# %%
accuracy.differences(results, 4)

# %% [markdown]
# ## Against prior work

# %%
accuracy.against_prior(4)

# %% [markdown]
# ## What was found

# %%
accuracy.found(results, 4)

# %%
report.claims(results, "table4")
