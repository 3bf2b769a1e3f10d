"""The optimisers are torch's own, decay acts where the recipe says, and a checkpoint holds all that they remember."""

import pytest
import torch

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.models.resnet import SpikingResNet
from ternary_spike.training.optimiser import Optimiser, decayed_and_free_parameters


def recipe(**settings) -> Recipe:
    return Recipe("x", 1, 4, 0.1, 0.9, **{"weight_decay": 1e-2} | settings)


def network() -> SpikingResNet:
    torch.manual_seed(0)
    return SpikingResNet("resnet6w4", "trainable", 1, in_channels=1, image_size=8)


def draw_gradients(model: SpikingResNet, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator)


def theirs(name: str, model: SpikingResNet, on: str) -> torch.optim.Optimizer:
    decayed, free = decayed_and_free_parameters(model)
    groups = [{"params": decayed}, {"params": free, "weight_decay": 1e-2 if on == "all" else 0.0}]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=1.0, momentum=0.9, weight_decay=1e-2)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](groups, lr=1.0, weight_decay=1e-2)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("on", ["weights", "all"])
def test_optimisers_are_torchs(name, on):
    """Three steps beside torch.optim's with the same groups, gradients clipped in all of them."""
    models = [network(), network()]
    ours = Optimiser(models[0], recipe(optimiser=name, weight_decay_on=on, gradient_clipping=3.0))
    other = theirs(name, models[1], on)
    for step, rate in enumerate((0.1, 0.05, 0.02)):
        for model in models:
            draw_gradients(model, step)
        norm = torch.nn.utils.clip_grad_norm_(models[1].parameters(), 3.0)
        assert norm > 3
        ours.step(rate)
        for group in other.param_groups:
            group["lr"] = rate
        other.step()
    for (name, p), q in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6, msg=name)


def test_weight_decay_spares_batch_norm_biases_and_amplitudes():
    """Without any gradient only what decays moves."""
    model = network()
    with torch.no_grad():
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
            p.add_(0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    Optimiser(model, recipe(weight_decay=0.5)).step(0.1)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {n for n in before if (".conv" in n or n.startswith("classifier")) and n.endswith("weight")}


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_loaded_optimiser_goes_on_to_the_bit(name):
    model = network()
    first = Optimiser(model, recipe(optimiser=name))
    draw_gradients(model, 0)
    first.step(0.1)
    kept = {key: tensor.clone() for key, tensor in first.tensors().items()}
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    draw_gradients(model, 1)
    first.step(0.1)
    again = network()
    again.load_state_dict(weights)
    second = Optimiser(again, recipe(optimiser=name))
    second.load(kept)
    draw_gradients(again, 1)
    second.step(0.1)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key


def test_what_has_no_gradient_stays_as_it_is():
    """A method may train a part of the network only."""
    model = network()
    draw_gradients(model, 0)
    model.classifier.weight.grad = None
    before = model.classifier.weight.detach().clone()
    Optimiser(model, recipe(optimiser="adamw")).step(0.1)
    assert torch.equal(model.classifier.weight, before)
