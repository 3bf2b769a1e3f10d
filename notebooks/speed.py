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
# # How fast is it, and does half precision cost accuracy?
#
# **Asked:** what do the neurons and a training step cost beside other libraries' neurons, beside the convolutions that
# nobody can leave out, and beside the time that memory takes to be read? Measured by `make bench`: all variants run
# once in each round, in random order; ratios are medians over rounds of the ratio within a round. Shown is this
# machine's measurement where there is one, else the one that is kept with the repository.

# %%
import sys

import pandas as pd

from ternary_spike import report
from ternary_spike.report import COLOURS, INK, as_text
from ternary_spike.system.files import read_json

results = report.Results(results)
measured = report.benchmark_files(results, kept)
if not measured:
    display(report.note("Nothing has been measured with this copy of the repository; `make bench` does."))
    sys.exit(0)  # what follows is left out of the page


def rows(name: str) -> pd.DataFrame:
    """A table of the benchmark; empty if that part was not measured."""
    path = measured.get(f"{name}.csv")
    return pd.read_csv(path, keep_default_na=False, na_values=[""]) if path else pd.DataFrame()


if "benchmark.json" in measured:
    setting = read_json(measured["benchmark.json"])
    rivals = [f"{name} {as_text(setting[name])}" for name in ("spikingjelly", "snntorch") if setting.get(name)]
    absent = "" if setting["bfloat16_instructions"] else "The processor has no bfloat16 instructions: left out."
    display(
        report.note(
            f"Measured on {as_text(setting['processor'])}, torch {as_text(setting['torch'])}, Python "
            f"{as_text(setting['python'])}{', ' + ', '.join(rivals) if rivals else ''}; {as_text(setting['time'])}; "
            f"{setting['rounds']} rounds of training steps, {setting.get('neuron_rounds', setting['rounds'])} of the "
            f"neuron; load of the machine {report.decimal(setting['load_average'], 1)} on {setting['cores']} cores.",
            absent,
        )
    )

# %% [markdown]
# ## The neuron
#
# Forward and backward pass of one layer with input [T, 32, 64, 32, 32]. Five memory passes (read the input and write
# the spikes; read the input and the incoming gradient, write the gradient) are the least that memory allows.


# %%
def colour(variant: str) -> str:
    """The colour of the neuron that a variant is; the text's for what others wrote."""
    return COLOURS.get(variant.partition(",")[0], INK)


def bars(found: pd.DataFrame, name: str, title: str) -> None:
    """Milliseconds of each variant, the shortest at the bottom."""
    found = found.sort_values("milliseconds")
    drawn, axes = report.subplots(height=0.7 + 0.24 * len(found), width=6.2)
    axes.barh(found["variant"], found["milliseconds"], color=[colour(variant) for variant in found["variant"]])
    for place, value in enumerate(found["milliseconds"]):
        axes.annotate(
            report.decimal(value, 1 if value < 100 else 0),
            (value, place),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    axes.margins(x=0.1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Milliseconds, forward and backward")
    display(report.figure(results, drawn, name, title, title))


neuron = rows("neuron")
for (device, dtype, timesteps), here in neuron.groupby(["device", "dtype", "timesteps"]) if len(neuron) else ():
    title = f"A neuron layer, T = {timesteps}, {dtype}, {device} ({setting['processor']})"
    bars(here, f"speed-neuron-{device}-{dtype}-T{timesteps}", title)

# %%
if len(neuron):
    display(
        report.table(
            neuron,
            [
                report.text("Variant", "variant"),
                report.number("Milliseconds", "milliseconds", 1),
                report.number("Times five memory passes", "times_five_memory_passes", 2),
                report.number("Speed over SpikingJelly's", "speed_over_spikingjelly", 1),
                report.number("Speed over a plain loop", "speed_over_plain", 1),
                report.number("Kept, bytes an element", "saved_bytes_per_element", 1),
                report.number("Peak, bytes an element", "peak_bytes_per_element", 1),
            ],
            "Time and memory of a neuron layer. Kept for the backward pass, the input included; peak beyond the input",
            "bench/neuron",
            group=lambda row: f"{row['device']}, {row['dtype']}, T = {row['timesteps']}",
        )
    )

# %% [markdown]
# ## A training step
#
# ResNet20 on pictures of 32 × 32, forward and backward pass. The convolutions alone are the same network with batch
# norm and neurons left out. With the neurons of others the picture is given once for each timestep, as their users do.

# %%
steps = rows("training_step")
for (device, dtype, timesteps), here in steps.groupby(["device", "dtype", "timesteps"]) if len(steps) else ():
    title = f"A training step of ResNet20, T = {timesteps}, {dtype}, {device} ({setting['processor']})"
    bars(here, f"speed-step-{device}-{dtype.replace(' ', '-')}-T{timesteps}", title)
if len(steps):
    display(
        report.table(
            steps,
            [
                report.text("Variant", "variant"),
                report.number("Images a second", "images_per_second", 1),
                report.number("Times the convolutions alone", "times_convolutions_alone", 3),
                report.number("Speed over the plain loop", "speed_over_plain", 2),
                report.number("Activations kept, MiB an image", "saved_mib_per_image", 2),
                report.number("Peak, MiB an image", "peak_mib_per_image", 2),
            ],
            "Time and memory of a training step. Kept for the backward pass, the input included; peak beyond the input",
            "bench/training_step",
            group=lambda row: f"{row['device']}, {row['dtype']}, T = {row['timesteps']}, batch {row['batch']}",
        )
    )

# %% [markdown]
# ## Beside what the device could do
#
# A whole training step, augmentation and optimiser included, beside the roofline: the least time that the network's
# convolutions and its memory traffic can take at the device's ceilings, measured in the same run by a large copy
# and a large matrix product. A convolution may be faster than such a product, so the share can exceed 100 %.


# %%
def case(row: pd.Series) -> str:
    """What a whole training step was measured with."""
    return f"{row['device']}, {row['dtype']}, {row['architecture']}, T = {row['timesteps']}, batch {row['batch']}"


roofline = rows("roofline")
if len(roofline):
    device = read_json(measured["roofline.json"])
    ceilings = "; ".join(
        f"{as_text(dtype)}: {report.decimal(found['copy_bytes_per_second'] / 1e9, 0)} GB/s copied, "
        f"{report.decimal(found['product_flops_per_second'] / 1e9, 0)} GFLOP/s multiplied"
        for dtype, found in device["ceilings"].items()
    )
    display(
        report.note(
            f"Measured on {as_text(device['processor'])}, torch {as_text(device['torch'])}; {as_text(device['time'])}; "
            f"{device['rounds']} rounds.",
            f"Ceilings: {ceilings}.",
            *map(as_text, device["notices"]),
        ),
        report.table(
            roofline,
            [
                report.text("Variant", "variant"),
                report.number("Images a second", "images_per_second", 1),
                report.number("Share of the roofline, %", "percent_of_roofline", 0),
                report.number("Times the convolutions alone", "times_convolutions_alone", 3),
                report.number("Speed over the plain loop", "speed_over_plain", 2),
            ],
            "A whole training step beside the roofline",
            "bench/roofline",
            group=lambda row: (
                f"{case(row)}: roofline {report.decimal(row['roofline_images_per_second'], 0)} images a second"
            ),
        ),
    )
    shares = rows("roofline_profile")
    shares = shares[shares["percent"] >= 1]
    # what the compiler calls its kernels ends in a long hash
    spans = r"## Call CompiledFxGraph (\w{8})\w* ##"
    shares = shares.assign(operation=shares["operation"].str.replace(spans, r"compiled neurons, kernel \1", regex=True))
    display(
        report.table(
            shares,
            [
                report.text("Operation", "operation"),
                report.number("Calls", "calls", 0),
                report.number("Milliseconds", "milliseconds", 1),
                report.number("Share, %", "percent", 1),
            ],
            "Where the time of an epoch goes with the compiled backend: what takes one per cent or more",
            "bench/roofline_profile",
            group=case,
        )
    )

# %% [markdown]
# ## An epoch, and the start
#
# An epoch of the CIFAR recipe, augmentation and checks included, beside its steps on batches that are there already,
# in elapsed time.

# %%
epoch = rows("epoch")
if len(epoch):
    display(
        report.table(
            epoch,
            [
                report.text("What", "variant"),
                report.number("Images a second", "images_per_second", 0),
                report.number("Times the steps alone", "times_steps_alone", 3),
            ],
            "An epoch beside its training steps, ResNet20 of width 16",
            "bench/epoch",
            group=lambda row: f"{row['device']}, T = {row['timesteps']}, batch {row['batch']}",
        )
    )

# %%
start = rows("start_up")
if len(start):
    display(
        report.table(
            start,
            [
                report.text("Backend", "backend"),
                report.number("T", "timesteps", 0),
                report.text("Case", "case"),
                report.number("Wall time, s", "wall_seconds", 1),
                report.number("CPU time, s", "cpu_seconds", 1),
            ],
            "From the first import to the end of the first training step, in a new process",
            "bench/start_up",
        )
    )

# %% [markdown]
# ## Threads
#
# A training step with one thread and with one for each core. Where n threads are less than n times as fast, trainings
# side by side with a thread each do more in the same time, which is what the workflow does with small networks.

# %%
threads = rows("threads")
if len(threads):
    display(
        report.table(
            threads,
            [
                report.text("Network", "architecture"),
                report.number("T", "timesteps", 0),
                report.number("Batch", "batch", 0),
                report.number("One thread, ms", "one_thread_milliseconds", 1),
                report.number("Threads", "threads", 0),
                report.number("With them, ms", "milliseconds", 1),
                report.number("Times as fast", "times_as_fast", 2),
            ],
            "Time of a training step on the processor, the fastest of many",
            "bench/threads",
        )
    )

# %% [markdown]
# ## Half precision
#
# Convolutions and linear layers in bfloat16, the membrane in float32. What that does to the accuracy, on the digits, in
# pairs of runs that share their seed: the difference is a mean over seeds with its 95 % interval (Student).

# %%
halved = rows("precision")
if len(halved):
    precision = report.paired(halved)
    display(
        report.table(
            precision,
            [
                report.neuron(),
                report.number("float32, %", "float32_percent", 2),
                report.number("bfloat16, %", "bfloat16_percent", 2),
                report.number("Difference, points", "difference_points", 2, sign=True),
                report.number("95 % interval, ±", "interval_points", 2),
                report.number("Seeds", "n", 0),
            ],
            "Last-epoch test accuracy on scikit-learn's digits, ResNet6 of width 8, T = 2",
            "bench/precision",
        )
    )

# %% [markdown]
# ## What was found

# %%
found = []
if len(neuron):
    ours = neuron[neuron["variant"].str.endswith(", compiled")]
    slowest = ours["times_five_memory_passes"].max()
    found.append(f"Compiled neurons take at most {report.decimal(slowest, 2)} times five memory passes")
    if (over := pd.to_numeric(ours["speed_over_spikingjelly"], errors="coerce")).notna().any():
        low, high = report.decimal(over.min(), 1), report.decimal(over.max(), 1)
        found[-1] += f" and are {low} to {high} times as fast as SpikingJelly's"
    found[-1] += "."
if len(steps):
    ratios = steps.loc[steps["variant"] == "ternary, compiled", "times_convolutions_alone"]
    low, high = (report.decimal(value, 3) for value in (ratios.min(), ratios.max()))
    found.append(f"A training step takes {low if low == high else f'{low} to {high}'} times its convolutions alone.")
if len(threads):
    low, high = (report.decimal(value, 2) for value in (threads["times_as_fast"].min(), threads["times_as_fast"].max()))
    found.append(f"{threads['threads'].max()} threads make a training step {low} to {high} times as fast as one.")
if len(halved):
    clear = precision[precision["difference_points"].abs() > precision["interval_points"]]["neuron"]
    found.append(
        f"bfloat16 changes the accuracy on the digits for {as_text(', '.join(clear))}."
        if len(clear)
        else "No change of the accuracy on the digits by bfloat16 can be told from chance."
    )
report.note(*found)
