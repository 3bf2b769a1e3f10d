"""Operation counts and energy, against the paper's Table 5 and against counting by hand."""

import pytest
import torch
from torch.nn import functional as F

from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.reparam import energy, synops
from ternary_spike.reparam.folding import fold
from ternary_spike.reparam.network import pool_settings
from tests.helpers.networks import random_network


@pytest.fixture(scope="module")
def resnet20():
    return fold(SpikingResNet("resnet20", "ternary", 2), torch.float32)


def test_resnet20_counts_are_the_papers(resnet20):
    layers = synops.layers(resnet20)
    assert sum(layer.macs for layer in layers) == 215_684_096
    assert [layer.macs for layer in layers if layer.source == "image"] == [1_769_472]
    count = synops.paper_count(resnet20)
    assert count.neurons == 319_488
    assert (count.batch_norm, count.pooling, count.bias) == (2 * 333_824, 96_256, 10)
    assert count.total == 216_767_498


@pytest.mark.parametrize(
    "flops, additions, sign, printed", [(3.54e6, 71.20e6, 0.11e6, 50.14), (3.54e6, 79.21e6, 0.23e6, 51.20)]
)
def test_table_5_energies_follow_from_its_printed_counts(flops, additions, sign, printed):
    assert round(energy.energy_microjoule(flops, additions, sign), 2) == printed


def test_table_5_ternary_row_follows_to_the_digit(resnet20):
    count, s, timesteps = synops.paper_count(resnet20), 0.1827, 2
    additions = s * timesteps * count.total
    sign = energy.comparisons_per_spike(True) * s * timesteps * count.neurons
    assert round(additions / 1e6, 2) == 79.21
    assert round(sign / 1e6, 2) == 0.23
    assert round(energy.energy_microjoule(1_769_472 * timesteps, additions, sign), 2) == 51.20


def independent_synops(network, x) -> dict[str, float]:
    """Additions by brute force: convolve the spikes' magnitudes with kernels of ones and add everything up."""
    values, total = {}, {}
    for op, inputs in network.walk(x, values):
        magnitude = inputs[-1].abs()
        if op.kind == "spikes":
            values[op.name] = torch.empty(0)
            u, _ = network.fire(op, inputs[0])
            values[op.name] = (u.abs() >= op.settings["threshold"]).to(u.dtype) * u.sign()
            if not op.settings["signed"]:
                values[op.name].clamp_(min=0)
            continue
        values[op.name] = network.apply(op, inputs)
        plain = op.inputs[-1] != "image" and magnitude.unique().numel() <= 2  # spikes, not averages of them
        if op.kind == "conv" and plain:
            weight = network.weights[f"{op.name}.weight"]
            ones = torch.ones_like(weight)
            settings = {k: op.settings[k] for k in ("stride", "padding")}
            total[op.name] = F.conv2d(magnitude.flatten(0, 1), ones, **settings).sum().item() / x.shape[0]
        if op.kind == "classifier":
            total[op.name] = magnitude.sum().item() * network.num_classes / x.shape[0]
        if op.kind == "add" and f"{op.name}.constant" in network.weights and plain:
            total[op.name] = magnitude.sum().item() / x.shape[0]
    return total


@pytest.mark.parametrize("architecture, size", [("resnet6", 15), ("resnet19w4", 18), ("resnet20w4", 30)])
@pytest.mark.parametrize("neuron", ["binary", "trainable"])
def test_synops_equal_an_independent_count_edges_included(architecture, size, neuron):
    model, x = random_network(1, architecture, neuron, size)
    network = fold(model)
    counted, _, samples = synops.count(network, [x[:3].double(), x[3:].double()])
    assert samples == len(x)
    expected = independent_synops(network, x.double())
    assert len(expected) >= 4
    for name, additions in expected.items():
        assert counted[name] == pytest.approx(additions, rel=1e-12), name


def test_a_spike_before_overlapping_pooling_is_counted_for_each_site_it_reaches():
    model, _ = random_network(2, "resnet18w4", "ternary", 32)
    network = fold(model)
    layer = next(layer for layer in synops.layers(network) if layer.name == "stage1.block1.add")
    assert layer.pooled
    pool = next(op for op in network.operations if op.kind == "pool")
    assert pool_settings(pool)["kernel_size"] == 3 and pool_settings(pool)["stride"] == 2
    # with a 3x3 window, stride 2 and one pixel of padding, even sites lie in one window a direction, odd ones in two
    # (16 sites a side: the last odd site's second window would start beyond the edge)
    assert layer.fan_out[4, 4] == 1 and layer.fan_out[5, 4] == 2 and layer.fan_out[5, 5] == 4
    assert layer.fan_out[15, 15] == 1


def test_measured_rates_and_methods():
    model, x = random_network(3, "resnet8", "trainable", 16)
    rows, totals = energy.measure(fold(model), [x.double()])
    rates = totals["rates"]
    neurons = [row for row in rows if row["kind"] == "neurons"]
    assert rates["mean over layers"] == pytest.approx(sum(r["input_rate"] for r in neurons) / len(neurons))
    weighted = sum(r["input_rate"] * r["input_neurons"] for r in neurons) / sum(r["input_neurons"] for r in neurons)
    assert rates["mean over neurons"] == pytest.approx(weighted)
    by_key = {(m["method"], m["encoder"]): m for m in totals["methods"]}
    assert len(by_key) == 8
    exact = by_key["exact count", "once"]
    assert exact["synops"] == pytest.approx(sum(row["synops"] for row in rows))
    assert exact["energy_microjoule"] == pytest.approx(sum(row["energy_microjoule"] for row in rows))
    assert by_key["exact count", "every timestep"]["flops"] == 2 * exact["flops"]


NETWORKS = [
    ("resnet6", 15),
    ("resnet6w3", 16),
    ("resnet8", 16),
    ("resnet18w4", 32),
    ("resnet19w2", 18),
    ("resnet20w2", 30),
]


@pytest.mark.parametrize("architecture, size", NETWORKS)
def test_mean_rates_are_means(architecture, size):
    network = fold(SpikingResNet(architecture, "ternary", 2, image_size=size))
    layers = network.spike_layers()
    generator = torch.Generator().manual_seed(0)
    for drawn in torch.rand(20, len(layers), generator=generator, dtype=torch.float64).tolist():
        for mean, rate in energy.mean_rates(network, dict(zip(layers, drawn, strict=True))).items():
            assert min(drawn) < rate < max(drawn), mean
    # each layer by itself adds its share, those of the shortcuts' and the last one among them, and nothing else does
    shares = [energy.mean_rates(network, {name: float(name == one) for name in layers}) for one in layers]
    for mean in shares[0]:
        assert all(share[mean] > 0 for share in shares)
        assert sum(share[mean] for share in shares) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("architecture, size", NETWORKS)
def test_where_every_neuron_fires_every_mean_rate_is_one(architecture, size):
    model, x = random_network(6, architecture, "ternary", size, neuron_options={"threshold": 1e-30})
    rows, totals = energy.measure(fold(model), [x.double()])
    assert {row["input_rate"] for row in rows if row["kind"] == "neurons"} == {1.0}
    assert set(totals["rates"].values()) == {1.0}
    # the additions that each layer's spikes cause are then the weights themselves, edges left out
    weighted = [row for row in rows if row["kind"] in ("conv", "classifier") and row["input"] != "image"]
    assert sum(row["synops"] for row in weighted) < 2 * sum(row["macs"] for row in weighted)


def test_a_layers_weight_is_what_its_spikes_would_add():
    """Counted by convolving a spike at every site with kernels of ones."""
    network = fold(SpikingResNet("resnet6w4", "binary", 1, image_size=6))
    weights = {}
    for layer in synops.layers(network):
        if layer.kind != "add" and layer.source != "image":
            weight = network.weights[f"{layer.name}.weight"]
            one = torch.ones(1, *network.shapes()[layer.source], dtype=torch.float64)
            if layer.kind == "classifier":
                added = weight.shape[0] * one.numel()
            else:
                stride, padding = layer_settings(network, layer.name)
                added = F.conv2d(one, torch.ones_like(weight), stride=stride, padding=padding).sum().item()
            weights[layer.source] = weights.get(layer.source, 0) + added
    rates = {name: 0.1 * (place + 1) for place, name in enumerate(network.spike_layers())}
    wanted = sum(rates[name] * weights[name] for name in rates) / sum(weights.values())
    assert energy.mean_rates(network, rates)["weighted by fan-out"] == pytest.approx(wanted, rel=1e-12)


def layer_settings(network, name: str) -> tuple:
    settings = next(op.settings for op in network.operations if op.name == name)
    return settings["stride"], settings["padding"]


def test_event_frames_have_no_encoder_counted_once():
    generator = torch.Generator().manual_seed(0)
    model, _ = random_network(4, "resnet6w4", "binary", 16, channels=2, timesteps=3)
    x = torch.randint(0, 3, (4, 3, 2, 16, 16), generator=generator).double()
    _, totals = energy.measure(fold(model), [x])
    assert {m["encoder"] for m in totals["methods"]} == {"every timestep"}
    assert totals["methods"][0]["flops"] == 3 * totals["encoder_macs"]


def test_energy_is_monotone_in_the_firing_rate():
    rates = [i / 20 for i in range(21)]
    energies = [energy.energy_microjoule(3.5e6, s * 2 * 216e6, 2 * s * 2 * 3.2e5) for s in rates]
    assert energies == sorted(energies) and len(set(energies)) == len(energies)
