"""Residual blocks of other publications, each against its equations written out."""

import torch
from torch import nn

from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.layers import over_time
from ternary_spike.models.registry import make_network
from ternary_spike.models.residual_variants import BasicBlockWithDropout, Neurons, PreActivationBlock
from ternary_spike.neurons.registry import make_neuron
from ternary_spike.reparam.folding import fold
from tests.helpers.networks import tiny_network


def neuron(channels: int) -> nn.Module:
    return make_neuron("binary", channels=channels)


def spikes(channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 2, (2, 5, channels, 6, 6), generator=torch.Generator().manual_seed(0)).float()


def test_a_pre_activation_shortcut_carries_the_spikes_and_the_sum_is_normalised():
    torch.manual_seed(0)
    block, x = PreActivationBlock(3, 3, 1, neuron, BatchNorm2d), spikes()
    nn.init.normal_(block.conv2.bias)
    reference = nn.BatchNorm2d(3)
    y = block.neuron1(over_time(nn.BatchNorm2d(3), block.conv1(x)))
    assert torch.equal(block(x), block.neuron2(over_time(reference, block.conv2(y) + x)))
    assert (block.conv2.bias is not None) and block.shortcut is None


def test_a_pre_activation_block_that_changes_the_shape_has_a_plain_convolution_for_a_shortcut():
    block, x = PreActivationBlock(3, 4, 2, neuron, BatchNorm2d), spikes()
    assert type(block.shortcut).__name__ == "Conv2d" and block.shortcut.bias is not None
    assert block.shortcut.kernel_size == (1, 1) and block(x).shape == (2, 5, 4, 3, 3)


def test_dropout_within_a_block_lies_between_its_convolutions_in_training_alone():
    torch.manual_seed(0)
    block, x = BasicBlockWithDropout(3, 3, 1, 0.5, neuron), spikes()
    seen = []
    block.conv2.register_forward_pre_hook(lambda _conv, inputs: seen.append(inputs[0]))
    block(x), block.eval()(x)
    assert seen[0].unique().tolist() == [0, 2] and seen[1].unique().tolist() == [0, 1]


def test_neurons_without_weights_fire_at_what_they_are_given():
    x = torch.tensor([0.4, 0.5]).view(1, 1, 2, 1, 1)
    assert Neurons(2, neuron)(x).flatten().tolist() == [0, 1]


def test_a_normalised_identity_folds_to_a_constant_of_each_channel_and_a_bias():
    model, _ = tiny_network("resnet34_glif", "binary")
    block = dict(model.units())["stage1.block2"]
    bn, of_sum = block.shortcut.bn, block.bn2
    with torch.no_grad():
        for values in (bn.weight, bn.running_var):
            values.uniform_(0.5, 2)
        for values in (bn.bias, bn.running_mean):
            values.uniform_(-1, 1)
    folded = fold(model)
    gain = bn.weight / (bn.running_var + bn.eps).sqrt()
    torch.testing.assert_close(folded.weights["stage1.block2.add.constant"].flatten().float(), gain.detach())
    expected = bn.bias - bn.running_mean * gain
    expected = expected + of_sum.bias - of_sum.running_mean * of_sum.weight / (of_sum.running_var + of_sum.eps).sqrt()
    torch.testing.assert_close(folded.weights["stage1.block2.conv2.bias"].float(), expected.detach())


def test_the_stem_of_glif_has_a_padding_of_one():
    model = make_network("resnet34_glifw2", "binary", 1, image_size=224)
    assert model.layers["conv1"].conv(torch.zeros(1, 3, 224, 224)).shape[-1] == 110


def test_a_neuron_for_each_class_is_a_class_score():
    model, x = tiny_network("resnet18_dsr", "binary")
    with torch.no_grad():
        torch.testing.assert_close(model(x), model.features(x).mean(0).flatten(1))
    assert len(model.units()) == 1 + 8 + 3 and model.layers["fc1"].linear.out_features == 3
