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
# # Table 3: ImageNet against prior work
#
# **Asked:** do the four rows at 4 timesteps come out, and are they above prior work?

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
accuracy.whole(results, 3, kept)

# %%
accuracy.picture(results, 3)

# %% [markdown]
# ## Differences

# %%
accuracy.differences(results, 3)

# %% [markdown]
# ## Against prior work

# %%
accuracy.against_prior(3)

# %% [markdown]
# ## What was found

# %%
accuracy.found(results, 3)

# %%
report.claims(results, "table3")
