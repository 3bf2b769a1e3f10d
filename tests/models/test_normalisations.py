"""Normalisations plug in: one that scales in another way is computed the same fused, unfused and folded."""

import pytest
import torch
from torch import nn

from ternary_spike.models.batch_norm import BatchNorm2d
from ternary_spike.models.normalisations import NORMALISATIONS, make_normalisation
from ternary_spike.models.normalise_and_fire import normalise_and_fire, normalise_and_fire_static
from ternary_spike.models.registry import make_network
from ternary_spike.neurons.registry import make_neuron
from ternary_spike.reparam.equivalence import verify
from ternary_spike.reparam.folding import fold
from tests.helpers.networks import recalibrate

OWN = f"{__name__}:Halved"
SIZES = {"num_classes": 3, "in_channels": 2, "image_size": 8}


class Halved(BatchNorm2d):
    """Batch norm with half of its factor, less where branches are added up."""

    FOLDS = True

    def __init__(self, channels, per_step=False, branches=1):
        super().__init__(channels, per_step, branches)
        self.factor = 0.5 / branches

    @property
    def gain(self):
        return self.factor * self.weight


class OfEachPicture(nn.GroupNorm):
    """Something else than batch norm."""

    def __init__(self, channels, per_step=False, branches=1):
        super().__init__(1, channels)

    def forward(self, x):
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Nothing:
    """No module."""

    def __init__(self, channels, **others):
        pass


def own_network(name: str, neuron: str = "trainable"):
    torch.manual_seed(0)
    return make_network("resnet6w4", neuron, 2, normalisation=name, **SIZES).double()


def test_every_registered_one_can_be_made_and_is_what_its_entry_says():
    for name, part in NORMALISATIONS.items():
        assert isinstance(make_normalisation(name, 4, branches=2, per_step=True), part.load())
        assert part.meaning and part.source


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("per_step", [False, True])
def test_fused_and_one_by_one_are_the_same(static, per_step):
    y = torch.randn(*(() if static else (3,)), 5, 4, 6, 6, dtype=torch.float64)
    found = []
    for watched in (False, True):
        torch.manual_seed(0)
        norm, neuron = make_normalisation(OWN, 4, 2, per_step).double(), make_neuron("trainable").double()
        norm.weight.data.uniform_(1, 3)
        if watched:  # a hook keeps the two from being one operation
            norm.register_forward_hook(lambda *_: None)
        x = y.clone().requires_grad_()
        spikes = normalise_and_fire_static(norm, neuron, x, 3) if static else normalise_and_fire(norm, neuron, x)
        (spikes * torch.linspace(-1, 2, spikes.numel(), dtype=torch.float64).view_as(spikes)).sum().backward()
        running = [norm.running_mean, norm.running_var, norm.num_batches_tracked.double()]
        found.append([spikes.detach(), x.grad, norm.weight.grad, norm.bias.grad, neuron.amplitude.grad, *running])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    # and the factor is in it: plain batch norm fires elsewhere
    plain = BatchNorm2d(4, per_step).double()
    plain.weight.data.copy_(norm.weight.data)
    other = normalise_and_fire_static(plain, neuron, y, 3) if static else normalise_and_fire(plain, neuron, y)
    assert (other != found[0][0]).any()


def test_branches_are_counted_where_they_are_added_up():
    factors = {name: norm.factor for name, norm in own_network(OWN).named_modules() if isinstance(norm, Halved)}
    of_sums = {name for name, factor in factors.items() if factor == 0.25}
    assert of_sums == {name for name in factors if name.endswith((".bn2", "shortcut.bn"))} and len(of_sums) == 3


def test_it_folds_exactly():
    model = own_network(OWN)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16, 2, 8, 8, dtype=torch.float64, generator=generator)
    recalibrate(model, x, generator)
    result = verify(model.float(), fold(model), [x.float()])
    assert result["passed"] and result["float64"]["differing_spikes"] == 0


def test_any_module_will_do_and_is_not_foldable():
    name = f"{__name__}:OfEachPicture"
    model = own_network(name).train()
    model(torch.randn(2, 2, 8, 8, dtype=torch.float64)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    with pytest.raises(ValueError, match=r"stem1.bn is OfEachPicture, which cannot be folded"):
        fold(model)


def test_without_a_normalisation_the_convolution_charges_the_neuron_itself():
    model = own_network("none")
    assert not any(isinstance(module, nn.modules.batchnorm._NormBase) for module in model.modules())
    unit, x = model.stem[0], torch.randn(2, 5, 2, 8, 8, dtype=torch.float64)
    assert torch.equal(unit(x), unit.neuron(unit.conv(x)))
    assert torch.equal(unit(x[0], timesteps=2), unit.neuron(unit.conv(x[:1].expand_as(x))))
    folded, x = fold(model), torch.randn(8, 2, 8, 8, dtype=torch.float64)
    assert verify(model, folded, [x])["passed"]
    assert torch.equal(folded.weights["stem1.conv.weight"], model.stem[0].conv.weight.detach())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "layer_norm",
            {},
            f"unknown normalisation 'layer_norm': choose one of {', '.join(NORMALISATIONS)}, or module:Name",
        ),
        ("batch_norm", {"groups": 2}, "unknown option groups=2 for normalisation 'batch_norm': it has none"),
        (f"{__name__}:Nothing", {}, "Nothing' is no torch.nn.Module"),
    ],
)
def test_what_cannot_be_is_one_line(name, options, words):
    with pytest.raises(ValueError) as error:
        make_normalisation(name, 4, **options)
    assert words in str(error.value)
