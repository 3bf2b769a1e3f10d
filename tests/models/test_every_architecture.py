"""Every registered network: it trains, folds exactly or says why, and has as many parameters as published."""

import pytest
import torch
from torch.nn import functional as F

from ternary_spike.models.base import named_neurons
from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.recording import recording
from ternary_spike.models.registry import ARCHITECTURES, make_network, require_image_size
from ternary_spike.reparam.energy import measure_itself
from ternary_spike.reparam.equivalence import verify
from ternary_spike.reparam.folding import fold
from tests.helpers.networks import tiny_network

#: trainable parameters, without those of neurons, of 3x32x32 pictures and 10 classes unless said otherwise: multiplied
#: out by hand from what publications and their code say
PARAMETERS = {
    ("vgg16", 10): 39_917_248,
    ("vgg16", 100): 40_285_888,
    ("vgg11_hybrid_ann", 10): 36_193_984,
    ("vgg11_hybrid", 100): 21_116_608,
    ("vgg11_ptl", 10): 34_457_354,
    ("vgg11_ltl", 10): 10_537_354,
    ("vgg16_ltl", 10): 16_031_562,
    ("vgg11_ltl_ann", 10): 10_544_906,  # and two numbers for each of its 3,776 channels and neurons
    ("vgg16_ltl_ann", 10): 16_042_058,
    ("vgg11_dsr", 10): 9_476_318,
    ("vgg11_ottt", 10): 9_217_728 + 2 * 2_752 + 5_130,  # weights; a bias and a gain a channel; the classifier
    ("cifarnet_tssl", 10): 44_999_040,
    ("cifarnet_tssl_small", 10): 21_156_384,
    ("cifarnet_glif", 10): 44_999_040 + 2 * (128 + 256 + 512 + 1024 + 512),
    ("cifarnet_tl", 10): 44_490_250,
    ("plifnet", 10): 36_718_336,
    ("sew_resnet18", 1000): 11_689_512,
    ("sew_resnet34", 1000): 21_797_672,
    ("sew_resnet18_iand", 1000): 11_689_512,
    ("sew_resnet18_cifar", 10): 11_173_962,
    ("widenet7b", 10): 1_192_202,
    ("widenet7b_glif", 10): 1_202_442,
    ("resnet18_cifar", 10): 11_173_962,
    ("resnet19_tdbn", 10): 12_697_994,
    ("resnet19_tet", 10): 12_630_858,
    ("resnet34_glif", 1000): 21_806_528,
    ("resnet18_dsr", 10): 11_176_926,
    # weights of convolutions; a bias and a gain a channel; a factor a block; the classifier
    ("resnet34_nf", 1000): 21_267_648 + 2 * 8_512 + 16 + 513_000,
    ("resnet20_diet", 10): 11_253_440,
    ("resnet20_diet", 100): 11_437_760,
    ("resnet20", 10): 11_247_946,
    ("resnet20", 100): 11_294_116,
}
PICTURES = {"vgg11_dsr": (2, 48), "widenet7b": (2, 128), "widenet7b_glif": (2, 48)}
NOT_FOLDABLE = {
    "vgg11_dsr": "pool6 pools to 7x7 places, whatever it is given",
    "resnet18_dsr": "stage1.block1 normalises a sum, which a folded network does not",
    "resnet34_nf": "stage1.block1 passes on a sum of currents, no spikes, which a folded network does not",
    "_and": "stage1.block1 joins spikes by and, which a folded network does not have",
    "_iand": "stage1.block1 joins spikes by iand, which a folded network does not have",
    "sew_": "stage1.block1 adds spikes to spikes: it emits whole numbers up to 2, which are no spikes",
    "widenet7b": "stage1.block1 adds spikes to spikes: it emits whole numbers up to 2, which are no spikes",
}


@pytest.mark.parametrize(("name", "classes"), PARAMETERS)
def test_it_has_the_published_size(name, classes):
    channels, side = PICTURES.get(name, (3, 32))
    with torch.device("meta"):  # where weights have no values and need no time
        model = make_network(name, "binary", 2, num_classes=classes, in_channels=channels, image_size=side)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name, classes]


def test_a_trained_time_constant_is_one_number_a_layer():
    with torch.device("meta"):
        model = make_network("plifnet", "plif", 8)
    assert sum(p.numel() for p in model.parameters()) == 36_718_336 + 8


@pytest.mark.parametrize(("name", "numbers"), [("vgg11_ptl", 34_435_466), ("cifarnet_tl", 44_483_338)])
def test_batch_norm_leaves_only_weights_and_biases(name, numbers):
    """The published counts of the folded networks, in which batch norm's gain and bias are gone."""
    with torch.device("meta"):
        model = make_network(name, "binary", 2)
    layers = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)}
    assert sum(p.numel() for name, p in model.named_parameters() if name.rpartition(".")[0] in layers) == numbers


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_trains_and_folds_or_says_why(name):
    # joined by AND, spikes become fewer from block to block; a low threshold keeps some of them
    options = {"neuron_options": {"threshold": 0.01}} if name.endswith("_and") else {}
    model, x = tiny_network(name, **options)
    model.train()
    F.cross_entropy(model(x), torch.arange(8) % 3).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert next(model.parameters()).grad.abs().max() > 0  # it reaches the first layer
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.01 * p.grad
    rates = {}
    with recording(model.eval(), lambda layer, _, b: rates.__setitem__(layer, (b != 0).double().mean().item())):
        each = model(x, each_timestep=True)
    assert list(rates) == list(named_neurons(model)) and all(0 < rate < 1 for rate in rates.values()), rates
    torch.testing.assert_close(each.mean(0), model(x))
    for part, reason in NOT_FOLDABLE.items():
        if part in name:
            with pytest.raises(NotFoldable, match=reason):
                fold(model)
            rows, totals = measure_itself(model, [x])  # and nothing is counted that would be no addition
            assert rows == [] and totals["methods"] == [] and reason in totals["not_counted"]
            return
    assert verify(model, fold(model), [x])["passed"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_smallest_pictures_are_computed_and_smaller_ones_refused_in_one_line(name):
    side, refused = 1, ""
    while True:
        try:
            require_image_size(f"{name}w2", side)
            break
        except ValueError as error:
            refused = str(error)
            side += 1
    if refused:
        assert refused == f"{name}w2 cannot take images of {side - 1}x{side - 1} pixels: nothing is left of them"
        with pytest.raises(ValueError, match=refused):
            make_network(f"{name}w2", "binary", 1, image_size=side - 1)
    model = make_network(f"{name}w2", "binary", 1, image_size=side).eval()
    assert model(torch.randn(2, 3, side, side)).shape == (2, 10)
