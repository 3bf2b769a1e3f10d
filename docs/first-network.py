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

# %% [markdown]
# # A first network
#
# One neuron on a current, a network that learns handwritten digits in a minute, and what the paper does with it
# afterwards: fold the amplitudes away, count the additions that spikes cause, hand the network on as a file. It takes
# no GPU, no download and no workflow.
#
# The neurons need torch alone; the digits come with scikit-learn and the pictures are matplotlib's. `make setup` has
# all of it, and Jupyter with jupytext opens this page's source in `docs/` as a notebook.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

from ternary_spike import BinaryLIF, SpikingResNet, TernaryLIF, TrainableTernaryLIF

_ = torch.manual_seed(0)

# %% [markdown]
# ## One neuron on a current
#
# A leaky integrate-and-fire neuron adds its input current $x$ to what is left of its membrane potential $u$, of which
# a share $\tau = 0.25$ survives a timestep. It fires where $u$ reaches the threshold $V_{th} = 0.5$, and starts again
# from 0:
#
# $$u^t = \tau \, u^{t-1} \left(1 - |b^{t-1}|\right) + x^t$$
#
# The binary neuron knows $b = 1$ only. The ternary one also fires $b = -1$, where $u$ falls to $-V_{th}$, and the
# trainable one multiplies its spikes by an amplitude $a$ that its layer learns.
#
# A layer takes the whole sequence at once, time first. Here it is a single neuron: `[T] = [40]`.

# %%
t = torch.arange(40.0)
current = 0.45 * torch.sin(t / 4) + 0.25 * torch.sin(t / 1.7)

neurons = {
    "binary": BinaryLIF(),
    "ternary": TernaryLIF(),
    "trainable, a = 0.6": TrainableTernaryLIF(initial_amplitude=0.6),
}
seen, sent = {}, {}
for name, neuron in neurons.items():
    neuron.observer = lambda u, b, name=name: seen.update({name: u})  # who wants to see the potential asks for it
    with torch.no_grad():
        sent[name] = neuron(current)

# %%
COLOURS = {"binary": "#0072b2", "ternary": "#d55e00", "trainable, a = 0.6": "#007a5a"}
figure, grid = plt.subplots(2, 3, figsize=(8, 3.4), sharex=True, sharey="row", layout="constrained")
for (above, below), name in zip(grid.T, neurons, strict=True):
    above.plot(t, current, color="#555555", lw=0.8, ls=":", label="current")
    above.plot(t, seen[name], color=COLOURS[name], marker=".", label="potential")
    for level in (0.5,) if name == "binary" else (0.5, -0.5):
        above.axhline(level, color="#555555", lw=0.7, ls="--")
    above.set_title(name, color=COLOURS[name])
    fired = sent[name] != 0
    below.vlines(t[fired], 0, sent[name][fired], color=COLOURS[name])
    below.axhline(0, color="#555555", lw=0.7)
    below.set_xlabel("Timestep")
grid[0, 0].set_ylabel("Potential u")
grid[1, 0].set_ylabel("Output a b")
grid[0, 0].legend(fontsize="small")
plt.show()

# %% [markdown]
# The binary neuron is silent while the current is negative: it cannot report what it cannot spell. That is the
# paper's argument for a third value.
#
# Step by step, for a loop of your own, the potential is in your hands; no neuron has hidden state.

# %%
neuron = TernaryLIF()
v, by_hand = None, []
for x in current:
    spike, v = neuron.step(x, v)
    by_hand.append(spike)

torch.equal(torch.stack(by_hand), sent["ternary"])

# %% [markdown]
# ## A network on digits
#
# 1,797 real handwritten digits of 16x16 pixels; a quarter is kept for testing. `prepare` writes a dataset in the form
# that training reads, whichever it is.

# %%
from ternary_spike.data import registry
from ternary_spike.data.prepared import read_split

folder = Path(tempfile.mkdtemp())
registry.prepare("digits", None, None, None, folder)
train, test = (read_split(folder, name) for name in ("train", "test"))


def currents(images):
    """uint8 pictures as floating-point ones around 0."""
    return (images.float() / 255 - 0.3) / 0.35


x_test = currents(test.images)
tuple(train.images.shape), tuple(x_test.shape)

# %% [markdown]
# A small ResNet whose neurons all have a trainable amplitude. It sees each picture for two timesteps and gives the
# mean of its scores: what comes in and goes out is what torch's own networks take and give, so the training is a loop
# like any other.

# %%
network = SpikingResNet("resnet6", "trainable", timesteps=2, in_channels=1, image_size=16)
epochs = 10
optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)


def accuracy():
    """Percent of the test pictures whose class is found."""
    network.eval()
    with torch.no_grad():
        return 100 * (network(x_test).argmax(1) == test.labels).float().mean().item()


history = []
for _ in range(epochs):
    network.train()
    for index in torch.randperm(len(train)).split(64):
        loss = F.cross_entropy(network(currents(train.images[index])), train.labels[index])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    schedule.step()
    history.append(accuracy())

print(f"{history[-1]:.1f} % of {len(test)} test pictures")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained", width_ratios=(1, 1.6))
left.plot(range(1, epochs + 1), history, color=COLOURS["trainable, a = 0.6"], marker=".")
left.set_xlabel("Epoch")
left.set_ylabel("Test accuracy in percent")
found = network(x_test[:10]).argmax(1)
right.imshow(torch.cat(list(test.images[:10, 0].unflatten(0, (2, 5)).transpose(1, 2).flatten(2)), 0), cmap="Greys")
right.set_title(f"Read as {' '.join(map(str, found[:5].tolist()))}, then {' '.join(map(str, found[5:].tolist()))}")
right.axis("off")
plt.show()

# %% [markdown]
# ## Folding
#
# A spike of $\pm a$ would turn every addition behind it into a multiplication. But what follows is linear up to the
# next membrane, so $a$ moves into the weights (Eq. 17), and batch norm with it:
#
# $$K * (a \, b) = (a K) * b$$

# %%
from ternary_spike.reparam import fold, verify

folded = fold(network)
exact = verify(network, folded, [x_test.double()])["float64"]
print(f"{exact['differing_spikes']} of {exact['spikes']:,} spikes differ")

# %% [markdown]
# In float64 no spike of any layer differs. What is left are neurons that emit $-1$, $0$ or $1$, and plain operations:

# %%
amplitudes = {name: m.amplitude.item() for name, m in network.named_modules() if isinstance(m, TrainableTernaryLIF)}
print("trained amplitudes:", {name: round(a, 2) for name, a in amplitudes.items()})
print("operations:", ", ".join(op.name for op in folded.operations))

# %% [markdown]
# ## What spikes cost
#
# A synaptic operation is one addition of a weight, caused by one spike. They are counted on real pictures, spike by
# spike; energies are what the paper charges for each kind of operation:
#
# $$E = 12.5\,\mathrm{pJ} \cdot F + 77\,\mathrm{fJ} \cdot S + 3.7\,\mathrm{pJ} \cdot C$$
#
# with $F$ multiplications of the first layer (the paper's #FLOPs), $S$ additions (#SOPs) and $C$ comparisons (#Sign).

# %%
from ternary_spike.reparam.energy import measure

layers, totals = measure(folded, [x_test.double()])
receiving = [row for row in layers if row["synops"]]
counted = next(m for m in totals["methods"] if m["method"] == "exact count" and m["encoder"] == "once")

figure, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
axes.barh([row["layer"] for row in receiving], [row["synops"] / 1000 for row in receiving], color="#0072b2")
axes.invert_yaxis()
axes.set_xlabel("Thousands of additions for a picture")
plt.show()
print(
    f"{counted['synops']:,.0f} additions in place of {totals['macs'] * network.timesteps:,} multiply-accumulates, "
    f"{counted['energy_microjoule']:.2f} microjoule a picture"
)

# %% [markdown]
# ## Handing it on
#
# The folded network as ONNX, in float32, for a runtime without torch. A spike that lies within rounding of its
# threshold may be another one there; `compare` counts them instead of hiding them.

# %%
import onnxruntime

from ternary_spike.reparam import onnx_export

path = folder / "digits.onnx"
onnx_export.save(onnx_export.to_onnx(folded), path)
(scores,) = onnxruntime.InferenceSession(path).run(None, {"image": x_test.numpy()})
same = (torch.from_numpy(scores).argmax(1) == network(x_test).argmax(1)).sum().item()
print(f"{path.name}, {path.stat().st_size / 1024:.0f} KiB: {same} of {len(test)} pictures are given the same class")

# %% [markdown]
# ## Where to go from here
#
# - [Your own neuron, loss or network](extending.md), and training it by the recipe of the paper
# - [What there is by name](parts.md), with every option
# - [The prior methods](methods.md) that the paper compares itself with
# - [What the paper leaves open](method.md), folding and energy among it
