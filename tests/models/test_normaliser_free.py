"""NF-ResNet34: its expected variances, a block against its equation, what it is before training, OTTT's gradients."""

import pytest
import torch
from torch.nn import functional as F

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.registry import make_method
from ternary_spike.models.layers import over_time
from ternary_spike.models.normaliser_free import NormaliserFreeBlock
from ternary_spike.models.registry import make_network
from ternary_spike.models.weight_standardisation import standardise
from ternary_spike.neurons.registry import make_neuron
from ternary_spike.training.step import TrainingStep
from tests.helpers.networks import open_branches

#: of the authors' code: 1, 0.04 more a block, 1.04 behind a block that changes the shape; their square roots
BETAS = [1, 1.0198, 1.0392]
BETAS += [1.0583, 1.0198, 1.0392, 1.0583]
BETAS += [1.0770, 1.0198, 1.0392, 1.0583, 1.0770, 1.0954]
BETAS += [1.1136, 1.0198, 1.0392]


def network(timesteps: int = 2, **options):
    torch.manual_seed(0)
    return make_network(
        "resnet34_nfw4", "soft_reset", timesteps, num_classes=4, in_channels=1, image_size=16, **options
    )


def test_the_expected_standard_deviations():
    model = network()
    assert [block.beta for block in model.blocks] == pytest.approx(BETAS, abs=5e-5)
    assert [name for name, block in zip(model.names, model.blocks, strict=True) if block.shortcut is not None] == [
        "stage2.block1",
        "stage3.block1",
        "stage4.block1",
    ]


@pytest.mark.parametrize(("channels", "stride"), [(3, 1), (5, 2)])
def test_a_block_computes_its_equation(channels, stride):
    torch.manual_seed(0)
    block = NormaliserFreeBlock(3, channels, stride, 1.1, *(make_neuron("binary", channels=c) for c in (3, channels)))
    x = 2 * torch.randn(2, 5, 3, 6, 6)
    convolutions = [block.conv1, block.conv2] + [block.shortcut] * (stride == 2)
    plain = [conv.weight.detach().clone() for conv in convolutions]
    for conv in convolutions:
        conv.bias.data.normal_()
        standardise(conv, 2.74)
    block.skip.data.fill_(0.7)

    def convolved(number, s):
        w = plain[number]
        deviation = w - w.mean((1, 2, 3), keepdim=True)
        w = deviation / (w.var((1, 2, 3), keepdim=True) * w[0].numel() + 1e-4).sqrt()
        conv = convolutions[number]
        return over_time(lambda s: F.conv2d(2.74 * s, w, conv.bias, conv.stride, conv.padding), s)

    s = block.neuron1(x / 1.1)
    branch = convolved(1, block.neuron2(convolved(0, s)))
    expected = (x if stride == 1 else convolved(2, s)) + 0.2 * 0.7 * branch
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
    assert 0 < s.mean() < 1 and branch.std() > 0


def test_before_training_blocks_pass_on_sums_and_scores_are_the_classifier_s_bias():
    model = network()
    assert torch.equal(model(torch.randn(3, 1, 16, 16)), model.classifier.bias.expand(3, 4))
    assert model.classifier.bias.abs().max() > 0
    x = torch.randn(2, 3, 4, 5, 5)
    assert torch.equal(model.blocks[0](x), x)


def test_the_stem_has_no_neurons_and_does_not_multiply_the_picture():
    model = network()
    w, x = model.stem[0].weight, torch.randn(3, 1, 16, 16)
    assert w.square().sum((1, 2, 3)).tolist() == pytest.approx([48 / 49] * 4, rel=1e-2)
    given = []
    model.blocks[0].register_forward_pre_hook(lambda _block, inputs: given.append(inputs[0]))
    expected = F.avg_pool2d(F.conv2d(x, w, stride=2, padding=3), 3, 2, 1)
    model(x), model(torch.stack([x, 2 * x], 1))
    torch.testing.assert_close(given[0], torch.stack([expected] * 2))
    torch.testing.assert_close(given[1], torch.stack([expected, 2 * expected]))


def gradients(name: str, timesteps: int, **options) -> dict[str, torch.Tensor]:
    model = network(timesteps).double()
    open_branches(model)
    for where, p in model.named_parameters():
        if where.endswith(("conv1.bias", "conv2.bias", "shortcut.bias", "stem.0.bias")):
            torch.nn.init.constant_(p, 0.6)  # so that layers fire
    step = TrainingStep(model, make_method(name, mse_share=0.0, **options), Recipe("x", 1, 4, 0.1, 0.9, 0.0))
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.randn(6, 1, 16, 16, generator=generator, dtype=torch.float64)
    step.method.gradients(step, x, torch.arange(6) % 4)
    return {where: p.grad for where, p in model.named_parameters()}


def test_ottt_is_back_propagation_at_one_timestep_and_has_traces_of_spikes_at_more():
    for timesteps in (1, 3):
        online = gradients("ottt", timesteps, classifier_trace=False)
        through_time = gradients("tet", timesteps)
        same = {name for name, g in online.items() if torch.allclose(g, through_time[name], rtol=1e-7, atol=1e-12)}
        assert all(g.abs().max() > 1e-9 for name, g in online.items() if name.startswith(("stem", "blocks.15")))
        if timesteps == 1:
            assert same == online.keys()
    weights = {name for name in online if name.endswith("original")}
    # of the last neurons' weights a trace is all there is to know of earlier timesteps
    assert same & weights == {"blocks.15.conv1.parametrizations.weight.original"}
    # what feeds the classifier has no neurons behind it, so that a trace is no part of the exact gradient; without one
    # nothing differs there
    assert {"classifier.weight", "classifier.bias", "blocks.15.skip", "blocks.15.conv2.bias"} <= same


def test_a_normalisation_of_currents_and_a_width_of_1_are_refused():
    with pytest.raises(ValueError, match="resnet34_nfw4 has no normalisation; leave it out"):
        network(normalisation="tdbn")
    with pytest.raises(ValueError, match="resnet34_nfw1 has 1x1 convolutions of a single channel"):
        make_network("resnet34_nfw1", "binary", 1)
