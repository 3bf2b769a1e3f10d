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
# # Table 2: CIFAR-10 and CIFAR-100
#
# **Asked:** does each of the sixteen own rows come out, and is it above prior work with the same network?

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
accuracy.whole(results, 2, kept)

# %%
accuracy.picture(results, 2)

# %% [markdown]
# ## Differences

# %%
accuracy.differences(results, 2)

# %% [markdown]
# ## Against prior work
#
# The table quotes no row of MPBN, by the same group. Another paper has it at 96.47 % on CIFAR-10, with ResNet19 and two
# timesteps: above every row here. That was read at second hand.

# %%
accuracy.against_prior(2)

# %% [markdown]
# ## What was found

# %%
accuracy.found(results, 2)

# %%
report.claims(results, "table2")
