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
# # Table 1: binary, ternary and trainable spikes on ImageNet
#
# **Asked:** the paper's ablation: with ResNet18 and ResNet34 at 2 and 4 timesteps, how much do ternary spikes add to
# binary ones, and a trainable amplitude to ternary ones? Single trials, as the table prints no deviation.

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
accuracy.whole(results, 1)

# %%
accuracy.picture(results, 1)

# %% [markdown]
# ## Differences

# %%
accuracy.differences(results, 1)

# %% [markdown]
# ## What was found

# %%
accuracy.found(results, 1)

# %%
report.claims(results, "table1")
