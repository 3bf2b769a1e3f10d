"""TIT: a network begins with the weights of one that was trained with fewer timesteps, and goes on by TET's loss."""

from pathlib import Path

import pytest
import torch

from ternary_spike import UserError
from ternary_spike.models.registry import make_network
from ternary_spike.system.files import read_tensors
from ternary_spike.training.loop import train
from ternary_spike.training.record import WEIGHTS
from ternary_spike.training.state import TrainingPlan
from tests.helpers.tiny import prepare_tiny, tiny_plan

CPU = torch.device("cpu")


def trained(plan: TrainingPlan, folder: Path) -> dict[str, torch.Tensor]:
    train(plan, folder / "checkpoints", folder, CPU, lambda _: None)
    return read_tensors(folder / WEIGHTS)[0]


def plan_of(data: Path, neuron: str, timesteps: int, source: Path | None = None, **recipe) -> TrainingPlan:
    """TET's training, or with a source TIT's."""
    method = {"method": "tit" if source else "tet", "source": source}
    plan = tiny_plan(data, neuron, method=method, **recipe)
    plan.model["timesteps"] = timesteps
    return plan


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return prepare_tiny(tmp_path_factory.mktemp("data"))


def test_without_an_epoch_it_is_the_source_with_amplitudes_and_more_timesteps(data, tmp_path):
    learnt = trained(plan_of(data, "trainable", 1, epochs=2), tmp_path / "one")
    taken = trained(plan_of(data, "trainable", 3, tmp_path / "one", epochs=0), tmp_path / "three")
    assert learnt.keys() == taken.keys() and all(torch.equal(learnt[name], taken[name]) for name in learnt)
    assert any(name.endswith("amplitude") and not (t == 1).all() for name, t in learnt.items())


def test_what_a_neuron_has_for_each_timestep_begins_anew(data, tmp_path):
    learnt = trained(plan_of(data, "glif", 1, epochs=2), tmp_path / "one")
    taken = trained(plan_of(data, "glif", 3, tmp_path / "one", epochs=0), tmp_path / "three")
    gains = {name for name in learnt if name.endswith("raw.gain")}
    assert len(gains) == 5 and {name for name in learnt if not torch.equal(learnt[name], taken[name])} == gains
    assert all(torch.equal(taken[name], torch.zeros_like(taken[name])) for name in gains)  # 0.5, as they are made


def test_from_where_a_network_begins_anyway_it_is_tet_to_the_bit(data, tmp_path):
    """The source is the same network before its training, with the same number of timesteps."""
    plan = plan_of(data, "ternary", 2, epochs=1)
    begun = trained(plan_of(data, "ternary", 2, epochs=0), tmp_path / "begun")
    torch.manual_seed(plan.seed)
    assert all(torch.equal(t, begun[name]) for name, t in make_network(**plan.model).state_dict().items())
    expected = trained(plan, tmp_path / "tet")
    found = trained(plan_of(data, "ternary", 2, tmp_path / "begun", epochs=1), tmp_path / "tit")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert any(not torch.equal(begun[name], found[name]) for name in begun)


def test_another_network_is_refused_in_one_line(data, tmp_path):
    trained(plan_of(data, "ternary", 1, epochs=0), tmp_path / "one")
    plan = plan_of(data, "ternary", 2, tmp_path / "one")
    plan.model["architecture"] = "resnet6w8"
    with pytest.raises(UserError, match="weights are taken over from source tiny-resnet6w4-T2-ternary, but classifier"):
        trained(plan, tmp_path / "two")
