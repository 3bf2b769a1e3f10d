"""The networks: sizes that the paper's figures rest on, initialisation, the static front, bad input."""

import pytest
import torch
from torch import nn

from ternary_spike.models.base import named_neurons
from ternary_spike.models.registry import ARCHITECTURES, parse_architecture
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.training.optimiser import decayed_and_free_parameters

RESNETS = [name for name, part in ARCHITECTURES.items() if part.load() is SpikingResNet]


@pytest.fixture(scope="module")
def resnet20():
    return SpikingResNet("resnet20", "ternary", 2)


def count(model, image):
    """Multiply-accumulates of each conv and linear layer for one image and timestep, and neurons of each layer."""
    macs, neurons, handles = {}, {}, []
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):

            def hook(module, inputs, output, name=name):
                sites = (
                    output.numel()
                    // output.shape[-3 if output.dim() > 2 else -1]
                    // (output.shape[0] if output.dim() == 5 else 1)
                )
                macs[name] = sites * module.weight.numel()

            handles.append(module.register_forward_hook(hook))
    for name, module in named_neurons(model).items():
        handles.append(
            module.register_forward_hook(lambda m, i, o, name=name: neurons.__setitem__(name, o[0, 0].numel()))
        )
    model.eval()
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()
    return macs, neurons


def test_resnet20_has_the_papers_size(resnet20):
    macs, neurons = count(resnet20, torch.randn(1, 3, 32, 32))
    assert sum(macs.values()) == 215_684_096
    assert macs["stem.0.conv"] == 1_769_472
    assert sum(neurons.values()) == 319_488
    assert len(neurons) == 19
    assert round(sum(p.numel() for p in resnet20.parameters()) / 1e6, 2) == 11.25


def test_other_architectures_have_their_shape():
    assert len(named_neurons(SpikingResNet("resnet19", "ternary", 1))) == 1 + 2 * 8
    assert len(named_neurons(SpikingResNet("resnet34", "ternary", 1, 1000, image_size=224))) == 1 + 2 * 16
    # torchvision's ResNet34 has 21,797,672 parameters; the classifier and every conv and BN are of the same size here
    model = SpikingResNet("resnet34", "ternary", 1, 1000, image_size=224)
    assert sum(p.numel() for p in model.parameters()) == 21_797_672
    assert sum(p.numel() for p in SpikingResNet("resnet18", "ternary", 1, 1000).parameters()) == 11_689_512


def test_width_scales_every_layer():
    assert parse_architecture("resnet20w16").width == 16
    model = SpikingResNet("resnet20w16", "ternary", 1)
    assert model.classifier.in_features == 128 and model.stem[0].conv.out_channels == 16


def test_initialisation(resnet20):
    torch.manual_seed(0)
    model = SpikingResNet("resnet20", "trainable", 2)
    conv = model.stages[3][1].conv1.weight  # 512 channels, 3x3
    assert conv.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    assert abs(conv.mean().item()) < 1e-4
    first = model.stem[0].conv.weight  # fan out, not fan in: 3 input channels, 64 output channels
    assert first.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05)
    assert model.classifier.weight.std().item() == pytest.approx(1 / 512, rel=0.05)
    assert model.classifier.bias.abs().max() == 0
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
    assert all(n.amplitude == 1 for n in named_neurons(model).values())


def test_weight_decay_falls_on_conv_and_linear_weights_only():
    model = SpikingResNet("resnet8", "trainable", 2)
    decayed, free = decayed_and_free_parameters(model)
    names = {id(p): n for n, p in model.named_parameters()}
    assert {names[id(p)] for p in decayed} == {
        n for n in names.values() if n.endswith("weight") and ("conv" in n or n == "classifier.weight")
    }
    assert len(decayed) + len(free) == len(names)
    assert {n.rsplit(".")[-1] for n in (names[id(p)] for p in free)} == {"weight", "bias", "amplitude"}
    assert "classifier.bias" in {names[id(p)] for p in free}


@pytest.mark.parametrize("stem_batch_norm", ["per_step", "over_time"])
def test_the_static_front_equals_the_repeated_image(stem_batch_norm):
    """An image [B, C, H, W] and the same image as T equal frames: outputs, gradients and running statistics agree."""
    torch.manual_seed(0)
    once, repeated = (
        SpikingResNet("resnet20w4", "trainable", 3, stem_batch_norm=stem_batch_norm, image_size=16).double()
        for _ in range(2)
    )
    repeated.load_state_dict(once.state_dict())
    for _ in range(2):
        image = torch.randn(4, 3, 16, 16, dtype=torch.float64)
        frames = image.unsqueeze(1).expand(-1, 3, -1, -1, -1)
        scores, scores_repeated = once(image), repeated(frames)
        torch.testing.assert_close(scores, scores_repeated, rtol=1e-9, atol=1e-11)
        for model, y in ((once, scores), (repeated, scores_repeated)):
            model.zero_grad()
            y.square().sum().backward()
    for (name, a), b in zip(once.named_parameters(), repeated.parameters(), strict=True):
        scale = max(p.grad.abs().max().item() for p in once.parameters())
        assert (a.grad - b.grad).abs().max() <= 1e-9 * scale, name
    for (name, a), b in zip(once.named_buffers(), repeated.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12, msg=name)
    once.eval(), repeated.eval()
    torch.testing.assert_close(once(image), repeated(frames), rtol=1e-9, atol=1e-11)


def test_stem_batch_norm_reaches_the_stem_only():
    for choice in ("per_step", "over_time"):
        model = SpikingResNet("resnet20w4", "ternary", 2, stem_batch_norm=choice)
        assert [u.bn.per_step for u in model.stem] == [choice == "per_step"] * 3
        assert not any(b.bn1.per_step or b.bn2.per_step for stage in model.stages for b in stage)


def test_frames_come_batch_first_and_order_matters():
    torch.manual_seed(0)
    model = SpikingResNet("resnet8w4", "ternary", 3, in_channels=2, image_size=16).eval()
    frames = torch.randn(5, 3, 2, 16, 16)
    scores = model(frames)
    assert scores.shape == (5, 10)
    torch.testing.assert_close(model(frames[2:3]), scores[2:3], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(frames.flip(1)), scores)


def test_named_neurons_are_in_the_order_of_computation():
    model = SpikingResNet("resnet20w4", "ternary", 1)
    called = []
    names = named_neurons(model)
    for name, module in names.items():
        module.register_forward_pre_hook(lambda m, i, name=name: called.append(name))
    model.eval()(torch.randn(1, 3, 32, 32))
    assert called == list(names)
    assert called[:4] == ["stem1", "stem2", "stem3", "stage1.block1.1"] and called[-1] == "stage4.block2.2"


def test_identity_shortcuts_carry_the_spikes_into_the_membrane():
    torch.manual_seed(0)
    model = SpikingResNet("resnet8w4", "ternary", 2, image_size=16)
    block = model.stages[0][0]
    assert block.shortcut is None and model.stages[1][0].shortcut is not None
    nn.init.zeros_(block.bn2.weight)  # the residual branch gives nothing: what enters the neuron is the shortcut
    spikes = torch.randint(-1, 2, (2, 3, 4, 8, 8)).float()
    assert torch.equal(block(spikes), block.neuron2(spikes))


@pytest.mark.parametrize("neuron", ["binary", "ternary", "trainable", "relu"])
@pytest.mark.parametrize("name", RESNETS)
def test_every_architecture_trains_with_every_neuron(name, neuron):
    torch.manual_seed(0)
    model = SpikingResNet(f"{name}w2", neuron, 2, num_classes=5, in_channels=1, image_size=16)
    scores = model(torch.randn(3, 1, 16, 16))
    assert scores.shape == (3, 5)
    nn.functional.cross_entropy(scores, torch.tensor([0, 1, 2])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.stem[0].conv.weight.grad.abs().max() > 0  # the gradient reaches the first layer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet21", "ternary", 2), "unknown architecture 'resnet21': choose one of resnet18"),
        (("resnet20w0", "ternary", 2), "unknown architecture 'resnet20w0'"),
        (("resnet20", "ternery", 2), "unknown neuron 'ternery'"),
        (("resnet20", "ternary", 0), "timesteps must be a whole number from 1, not 0"),
        (("resnet20", "ternary", torch.tensor(2)), "timesteps must be a whole number from 1, not a tensor"),
        (("resnet20", "ternary", 2, 10.0), "num_classes must be a whole number from 1, not 10.0"),
        (("resnet20", "ternary", 2, 10, True), "in_channels must be a whole number from 1, not True"),
        (("resnet20", "ternary", 2, 10, 3, "32"), "image_size must be a whole number from 1, not '32'"),
        (("resnet20", "ternary", 2, 10, 3, 1), "resnet20 cannot take images of 1x1 pixels"),
        (("resnet20", "ternary", 2, 10, 3, 0), "image_size must be a whole number from 1, not 0"),
        (("resnet20", "ternary", 2, 10, 3, 32, None, "per_image"), "stem_batch_norm must be 'per_step' or 'over_time'"),
    ],
)
def test_bad_specifications_raise_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        SpikingResNet(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [2, 3, 5, 7])
@pytest.mark.parametrize("name", RESNETS)
def test_small_images_that_are_accepted_can_be_computed(name, size):
    model = SpikingResNet(f"{name}w2", "ternary", 1, image_size=size).eval()
    assert model(torch.randn(2, 3, size, size)).isfinite().all()


def test_bad_inputs_raise(resnet20):
    with pytest.raises(ValueError, match="the input must be"):
        resnet20(torch.randn(3, 32, 32))
    with pytest.raises(ValueError, match="takes 3 channels, but the input has 1"):
        resnet20(torch.randn(1, 1, 32, 32))
    with pytest.raises(ValueError, match="has 2 timesteps, but the input has 4 frames"):
        resnet20(torch.randn(1, 4, 3, 32, 32))
