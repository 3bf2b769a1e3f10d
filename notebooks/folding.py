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
# # Does folding change the network?
#
# **Asked:** a trained amplitude makes a spike a real number, and the multiplication that spikes avoid comes back. The
# paper folds the amplitude into the next weights for inference (Eqs. 15–17) and calls the result output-invariant. Is
# it, for every spike of every layer, shortcuts and batch norm included?

# %%
from ternary_spike import report

results = report.Results(results)
equivalence = results.table("equivalence").merge(results.named, on="id")
execution = results.table("execution").merge(results.named, on="id")
onnx = results.table("onnx").merge(results.named, on="id")
claims = results.table("claims").set_index("id")


def refused(rows):
    """The column that says which network is not foldable and why, where there is one."""
    return [report.text("Not foldable", "not_foldable", long=True)] if (rows["not_foldable"] != "").any() else []


# %% [markdown]
# ## The equations
#
# A layer's spikes are $\mathbf{F} = a \cdot \mathbf{B}$ with $\mathbf{B}$ in $\{-1, 0, 1\}$. Convolution is linear,
# so
#
# $$\mathbf{G} = \mathbf{K} * (a \cdot \mathbf{B}) = (a \cdot \mathbf{K}) * \mathbf{B}
# = \tilde{\mathbf{K}} * \mathbf{B}.$$
#
# Batch norm in inference is a factor and a bias for each output channel of the same kernel. Average pooling and the
# classifier are linear too. On an identity shortcut there is no weight: there the amplitude stays as the constant
# that a spike adds to the membrane, an addition still.

# %% [markdown]
# ## Equivalence
#
# Each network and its folded form see the same test images. In float64 not one spike may differ and the logits must
# agree to the bound; in float32 rounding moves a membrane across the threshold now and then, and how often is shown.
# A neuron that does not say what it is once folded is not folded: its row says why.

# %%
report.table(
    equivalence,
    [
        report.neuron(),
        report.number("Seed", "seed", 0),
        report.number("Images", "samples", 0),
        report.number("Spikes compared", "float64_spikes", 0),
        report.number("Differ, float64", "float64_differing_spikes", 0),
        report.scientific("Logits, float64 (relative)", "float64_largest_relative_logit_difference"),
        report.number("Differ, float32", "float32_differing_spikes", 0),
        report.number("Same class, float32, %", "float32_class_agreement_percent", 2),
        report.number("Layers that keep an amplitude", "layers_with_amplitude", 0),
        report.run_link(),
        *refused(equivalence),
    ],
    "Original against folded network, on test images",
    "equivalence",
    group=report.place,
)

# %% [markdown]
# ## What remains after folding
#
# The folded network's neurons emit −1, 0 and 1 (the binary network's 0 and 1). The paper's conclusion calls them
# "standard binary spikes"; they are ternary.

# %% [markdown]
# ## By additions alone
#
# The folded network, executed spike by spike: each spike adds or subtracts a weight for every neuron that it reaches,
# and nothing behind the first convolution multiplies. Where the paper's "addition-only" does not hold as it stands is
# counted: the first convolution multiplies pixels; averages of spikes need copies of the weights, each divided
# beforehand; the membrane's decay is for τ = 1/4 a subtraction from the exponent; and biases, left behind by batch
# norm, are added spike or no spike. All numbers are for one image.

# %%
report.table(
    execution,
    [
        report.neuron(),
        report.number("Images", "samples", 0),
        report.number("Spikes", "spikes", 0),
        report.number("Differ, float64", "differing_spikes", 0),
        report.number("Additions by spikes", "spike_additions_per_image", 0),
        report.number("Other additions", "other_additions_per_image", 0),
        report.number("Comparisons", "comparisons_per_image", 0),
        report.number("Exponent shifts", "exponent_shifts_per_image", 0),
        report.number("Products, encoder", "encoder_multiplications_per_image", 0),
        report.number("Products, decay", "decay_multiplications_per_image", 0),
        *refused(execution),
    ],
    "Execution by additions against the dense network, one seed of each run",
    "execution",
    group=report.place,
)

# %% [markdown]
# ## In another runtime
#
# The folded network as ONNX, in float32, against the exact one.

# %%
report.table(
    onnx,
    [
        report.neuron(),
        report.number("Images", "samples", 0),
        report.number("Spikes compared", "spikes", 0),
        report.number("Differ, float32", "differing_spikes", 0),
        report.number("Same class, %", "class_agreement_percent", 2),
        report.run_link(),
        *refused(onnx),
    ],
    "onnxruntime against the exact network, one seed of each run",
    "onnx",
    group=report.place,
)

# %% [markdown]
# ## What was found

# %%
found = [claims.loc[name] for name in ("folding-output-invariant", "folding-normalises")]
report.note(*map(report.judged, found))

# %%
report.claims(results, "folding")
